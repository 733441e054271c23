//! Every setting there is, with its value and where that came from.

use confique::{
    Config as Section,
    meta::{Expr, Field, FieldKind, LeafKind, Meta},
};
use serde::Serialize;

use super::{
    Config,
    given::Given,
    probe::{Kind, kind_of},
};

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name, as in `http.listen`.
    pub key: String,
    /// Its environment variable, as in `TIDEGATE_HTTP_LISTEN`.
    pub env: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// Its value as `--set` would take it; `[redacted]` for a secret, none when unset.
    pub value: Option<String>,
    /// What its value is when nobody sets it.
    pub default: Option<String>,
    /// Where the value came from.
    pub source: Source,
    /// What it does.
    pub doc: String,
    /// Whether it may be unset.
    #[serde(skip)]
    pub(super) optional: bool,
}

/// Where a setting's value came from; later ones win over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The command that runs, as `sandbox` does for its stand-ins.
    Command,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// `--set` or a flag of its own.
    Flag,
}

/// A group of settings, as in `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionDoc {
    pub(super) name: String,
    pub(super) doc: String,
}

impl Setting {
    /// The section that the setting stands in, as in `http` or `http.ws`.
    #[must_use]
    pub fn section(&self) -> &str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit_once('.').map_or(&self.key, |(_, name)| name)
    }

    /// The value as it may be shown.
    pub(super) fn shown(&self, given: &Given) -> String {
        if self.kind.is_secret() { REDACTED.to_owned() } else { given.to_string() }
    }
}

/// Every setting at its default.
#[must_use]
pub fn declared() -> Vec<Setting> {
    let mut settings = Vec::new();
    walk(&Config::META, "", &mut |key, doc, kind| match kind {
        FieldKind::Leaf { env, kind } => settings.push(setting(key, env.unwrap_or_default(), doc, kind)),
        FieldKind::Nested { .. } => {}
    });
    settings
}

/// Every section and sub-section.
pub(super) fn sections() -> Vec<SectionDoc> {
    let mut sections = Vec::new();
    walk(&Config::META, "", &mut |key, doc, kind| {
        if matches!(kind, FieldKind::Nested { .. }) {
            sections.push(SectionDoc { name: key.to_owned(), doc: doc.to_owned() });
        }
    });
    sections
}

fn setting(key: &str, env: &'static str, doc: &str, leaf: LeafKind) -> Setting {
    let kind = kind_of::<<Config as Section>::Layer>(key);
    let (default, optional) = match leaf {
        LeafKind::Required { default } => (default.as_ref().map(given), false),
        LeafKind::Optional => (None, true),
    };
    let mut setting = Setting {
        key: key.to_owned(),
        env,
        kind,
        value: None,
        default: None,
        source: Source::Default,
        doc: doc.to_owned(),
        optional,
    };
    setting.default = default.map(|default| setting.shown(&default));
    setting.value.clone_from(&setting.default);
    setting
}

fn given(default: &Expr) -> Given {
    Given::Toml(toml::Value::try_from(default).expect("every default that can be declared is a TOML value"))
}

/// Calls `visit` with every field's dotted key, doc comment and kind, a section's settings before its sub-sections.
fn walk(meta: &Meta, prefix: &str, visit: &mut impl FnMut(&str, &str, FieldKind)) {
    let nested = |field: &&Field| matches!(field.kind, FieldKind::Nested { .. });
    let (sections, leaves): (Vec<&Field>, Vec<&Field>) = meta.fields.iter().partition(nested);
    for field in leaves.into_iter().chain(sections) {
        let key = if prefix.is_empty() { field.name.to_owned() } else { format!("{prefix}.{}", field.name) };
        visit(&key, &paragraph(field.doc), field.kind);
        if let FieldKind::Nested { meta } = field.kind {
            walk(meta, &key, visit);
        }
    }
}

/// A doc comment's lines as one line.
fn paragraph(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::given::Refusal;

    #[test]
    fn every_setting_has_the_environment_key_of_its_path() {
        for setting in declared() {
            let expected = format!("TIDEGATE_{}", setting.key.replace('.', "_").to_uppercase());
            assert_eq!(setting.env, expected, "{}", setting.key);
        }
    }

    #[test]
    fn every_setting_and_section_says_what_it_does() {
        for setting in declared() {
            assert!(setting.doc.len() > 10, "{} has no doc comment", setting.key);
        }
        for section in sections() {
            assert!(section.doc.len() > 3, "[{}] has no doc comment", section.name);
        }
    }

    #[test]
    fn no_two_settings_share_a_key_or_a_variable() {
        let settings = declared();
        let keys: HashSet<_> = settings.iter().map(|setting| &setting.key).collect();
        let variables: HashSet<_> = settings.iter().map(|setting| setting.env).collect();
        assert_eq!((keys.len(), variables.len()), (settings.len(), settings.len()));
    }

    #[test]
    fn every_setting_is_optional_or_has_a_default_that_its_own_text_form_gives_back() {
        use serde::Deserialize;
        for setting in declared().into_iter().filter(|setting| !setting.optional && !setting.kind.is_secret()) {
            let text = setting.default.unwrap_or_else(|| panic!("{} has no default", setting.key));
            let read = <Config as Section>::Layer::deserialize(Given::Text(text).at(&setting.key));
            assert_eq!(read.err(), None::<Refusal>, "{}", setting.key);
        }
    }

    #[test]
    fn kinds_come_from_types() {
        let kind = |key: &str| declared().into_iter().find(|setting| setting.key == key).unwrap().kind;
        assert_eq!(kind("auth.secret"), Kind::Secret);
        assert_eq!(kind("http.graphiql"), Kind::Boolean);
        assert_eq!(kind("http.ws.max_queue_bytes"), Kind::Integer);
        assert_eq!(kind("http.trusted_proxies"), Kind::List(Box::new(Kind::Text)));
        assert_eq!(kind("telemetry.log_format"), Kind::Choice(vec!["pretty", "json"]));
    }
}
