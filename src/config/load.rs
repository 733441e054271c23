//! From flags, environment, file and defaults to one typed configuration, or to everything that is wrong with them.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use confique::{Config as Section, Layer};
use serde::Deserialize;

use super::{
    Complaint, Config, ConfigError, Origin, Problem, Setting, Source, declared,
    error::nearest,
    given::{Given, Refusal},
    listing::sections,
};

/// The file that is read when no other is named, if it exists.
const DEFAULT_FILE: &str = "tidegate.toml";

/// What every environment variable of ours begins with.
const PREFIX: &str = "TIDEGATE_";

/// Where settings come from; later fields win over earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What the command itself sets, as `sandbox` does for its stand-ins; everyone else wins over it.
    pub presets: Vec<(String, String)>,
    /// The file, which must exist.
    pub file: Option<PathBuf>,
    /// Environment variables. Empty ones count as unset.
    pub environment: Vec<(String, OsString)>,
    /// `--set KEY=VALUE` and flags that stand for one.
    pub overrides: Vec<(String, String)>,
}

/// A configuration, and how it came to be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What was set.
    pub config: Config,
    /// Every setting with its value and source.
    pub listing: Vec<Setting>,
    origins: HashMap<String, Origin>,
}

impl Sources {
    /// The sources of this process: its environment, and `file` or else `./tidegate.toml` if there is one.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<(String, String)>) -> Self {
        let default_file = || Path::new(DEFAULT_FILE).exists().then(|| DEFAULT_FILE.into());
        let variables = std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
        Self {
            presets: Vec::new(),
            file: file.or_else(default_file),
            environment: variables.filter(|(name, _)| name.starts_with(PREFIX)).collect(),
            overrides,
        }
    }
}

/// Reads, checks and merges all sources.
///
/// # Errors
/// Everything that is wrong with any of them: unreadable files, unknown keys, values of the wrong type, and values
/// that a section refuses.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    let mut gathering = Gathering { listing: declared(), given: HashMap::new(), complaints: Vec::new() };
    gathering.presets(sources.presets);
    gathering.file(sources.file.as_deref());
    gathering.environment(sources.environment);
    gathering.overrides(sources.overrides);
    gathering.finish()
}

impl Loaded {
    /// Refuses what only a production server minds.
    pub fn check_for_serving(&self) -> Result<(), ConfigError> {
        let problems = self.config.serve_problems().into_iter().map(|problem| complaint(problem, &self.origins));
        refuse(problems.collect())
    }
}

/// What is known while the sources are read. A later source replaces what an earlier one gave for the same key.
struct Gathering {
    listing: Vec<Setting>,
    given: HashMap<String, (Origin, Given)>,
    complaints: Vec<Complaint>,
}

impl Gathering {
    fn presets(&mut self, presets: Vec<(String, String)>) {
        for (key, value) in presets {
            self.take(key, Origin::Command, Given::Text(value));
        }
    }

    fn overrides(&mut self, overrides: Vec<(String, String)>) {
        for (key, value) in overrides {
            self.take(key, Origin::Flag, Given::Text(value));
        }
    }

    fn take(&mut self, key: String, origin: Origin, given: Given) {
        if self.listing.iter().any(|setting| setting.key == key) {
            self.given.insert(key, (origin, given));
        } else {
            let nearest = nearest(&key, self.listing.iter().map(|setting| setting.key.as_str()));
            self.complaints.push(Complaint::UnknownSetting { name: key, origin, nearest });
        }
    }

    fn environment(&mut self, variables: Vec<(String, OsString)>) {
        for (variable, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            let origin = Origin::Environment(variable.clone());
            let Some(setting) = self.listing.iter().find(|setting| setting.env == variable) else {
                let nearest = nearest(&variable, self.listing.iter().map(|setting| setting.env));
                let origin = Origin::Environment("the environment".to_owned());
                self.complaints.push(Complaint::UnknownSetting { name: variable, origin, nearest });
                continue;
            };
            let key = setting.key.clone();
            match value.into_string() {
                Ok(value) => self.take(key, origin, Given::Text(value)),
                Err(_) => self.complaints.push(Complaint::BadValue {
                    key,
                    value: "(not UTF-8)".to_owned(),
                    origin,
                    reason: "expected UTF-8 text".to_owned(),
                }),
            }
        }
    }

    fn file(&mut self, path: Option<&Path>) {
        let Some(path) = path else { return };
        match read_toml(path) {
            Ok(table) => {
                let sections: Vec<String> = sections().into_iter().map(|section| section.name).collect();
                self.table(path, "", table, &sections);
            }
            Err(complaint) => self.complaints.push(complaint),
        }
    }

    fn table(&mut self, path: &Path, prefix: &str, table: toml::Table, sections: &[String]) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let is_section = sections.contains(&key);
            match value {
                toml::Value::Table(inner) if is_section => self.table(path, &key, inner, sections),
                _ if is_section => self.complaints.push(Complaint::BadValue {
                    reason: format!("expected a section, as in [{key}]"),
                    key,
                    value: "(a value)".to_owned(),
                    origin: Origin::File(path.to_owned()),
                }),
                value => self.take(key, Origin::File(path.to_owned()), Given::Toml(value)),
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        let mut layer = <Config as Section>::Layer::empty();
        for setting in &mut self.listing {
            let Some((origin, given)) = self.given.get(&setting.key) else { continue };
            setting.source = origin.source();
            // The one way to unset on the command line what a file has set.
            if setting.optional && matches!(given, Given::Text(text) if text.is_empty()) {
                setting.value = None;
                continue;
            }
            let shown = setting.shown(given);
            match read(&setting.key, given.clone()) {
                Ok(value) => layer = layer.with_fallback(value),
                Err(refusal) => self.complaints.push(Complaint::BadValue {
                    key: setting.key.clone(),
                    value: shown.clone(),
                    origin: origin.clone(),
                    reason: refusal.to_string(),
                }),
            }
            setting.value = Some(shown);
        }
        // Refused values fall back to their defaults here, so that the sections' own checks can still find the rest.
        let merged = layer.with_fallback(<Config as Section>::Layer::default_values());
        let config = Config::from_layer(merged).expect("every setting is optional or has a default");
        let origins = self.given.into_iter().map(|(key, (origin, _))| (key, origin)).collect();
        self.complaints.extend(config.problems().into_iter().map(|problem| complaint(problem, &origins)));
        refuse(self.complaints)?;
        Ok(Loaded { config, listing: self.listing, origins })
    }
}

impl Origin {
    fn source(&self) -> Source {
        match self {
            Self::Default => Source::Default,
            Self::Command => Source::Command,
            Self::File(_) => Source::File,
            Self::Environment(_) => Source::Environment,
            Self::Flag => Source::Flag,
        }
    }
}

/// A layer in which only the setting at `key` has a value.
fn read(key: &str, given: Given) -> Result<<Config as Section>::Layer, Refusal> {
    <Config as Section>::Layer::deserialize(given.at(key))
}

fn complaint(problem: Problem, origins: &HashMap<String, Origin>) -> Complaint {
    Complaint::BadValue {
        key: problem.key.to_owned(),
        value: problem.value,
        origin: origins.get(problem.key).cloned().unwrap_or(Origin::Default),
        reason: format!("expected {}", problem.expected),
    }
}

fn refuse(complaints: Vec<Complaint>) -> Result<(), ConfigError> {
    if complaints.is_empty() { Ok(()) } else { Err(ConfigError { complaints }) }
}

fn read_toml(path: &Path) -> Result<toml::Table, Complaint> {
    let text = fs::read_to_string(path)
        .map_err(|error| Complaint::UnreadableFile { path: path.to_owned(), reason: error.to_string() })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        // Not the error's own text: that quotes the line, which may hold a secret.
        Complaint::NotToml {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            reason: error.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn pairs<V: for<'a> From<&'a str>>(pairs: &[(&str, &str)]) -> Vec<(String, V)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), V::from(value))).collect()
    }

    fn refusals(sources: Sources) -> Vec<String> {
        load(sources).unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn later_sources_win_and_are_named() {
        let file = file("[http]\nmax_body_bytes = 2000\nmax_connections = 2\nrequest_timeout_ms = 2000\n");
        let loaded = load(Sources {
            presets: pairs(&[("http.graphiql", "true"), ("http.max_connections", "1")]),
            file: Some(file.path().to_owned()),
            environment: pairs(&[
                ("TIDEGATE_HTTP_REQUEST_TIMEOUT_MS", "3000"),
                ("TIDEGATE_HTTP_MAX_BODY_BYTES", "3000"),
            ]),
            overrides: pairs(&[("http.max_body_bytes", "4000")]),
        })
        .unwrap();
        let http = &loaded.config.http;
        assert!(http.graphiql);
        assert_eq!((http.max_connections, http.request_timeout_ms, http.max_body_bytes), (2, 3_000, 4_000));
        let source = |key: &str| {
            let setting = loaded.listing.iter().find(|setting| setting.key == key).unwrap();
            (setting.source, setting.value.clone().unwrap())
        };
        assert_eq!(source("http.graphiql"), (Source::Command, "true".into()));
        assert_eq!(source("http.max_connections"), (Source::File, "2".into()));
        assert_eq!(source("http.request_timeout_ms"), (Source::Environment, "3000".into()));
        assert_eq!(source("http.max_body_bytes"), (Source::Flag, "4000".into()));
        assert_eq!(source("http.listen"), (Source::Default, "127.0.0.1:8080".into()));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let file = file("[http]\nlisten = 8080\nlissten = \"x\"\nws = 3\n[htp]\na = 1\n");
        let path = file.path().display();
        let got = refusals(Sources {
            presets: Vec::new(),
            file: Some(file.path().to_owned()),
            environment: pairs(&[("TIDEGATE_AUTH_SECRETS", "x"), ("TIDEGATE_HTTP_GRAPHIQL", "maybe")]),
            overrides: pairs(&[("auth.clock_skew_seconds", "9000"), ("nonsense", "1"), ("auth.secret", "hunter2")]),
        });
        let mut expected = [
            format!("unknown setting http.lissten (in {path}), did you mean http.listen?"),
            format!("http.ws = (a value) (in {path}): expected a section, as in [http.ws]"),
            format!("unknown setting htp (in {path})"),
            "unknown setting TIDEGATE_AUTH_SECRETS (from the environment), did you mean TIDEGATE_AUTH_SECRET?".into(),
            "unknown setting nonsense (on the command line)".into(),
            format!("http.listen = 8080 (in {path}): expected an address and port, as in 127.0.0.1:8080"),
            "http.graphiql = maybe (from TIDEGATE_HTTP_GRAPHIQL): expected true or false".into(),
            "auth.secret = [redacted] (on the command line): expected at least 32 bytes".into(),
            "auth.clock_skew_seconds = 9000 (on the command line): expected 0 to 300 seconds".into(),
        ];
        let mut got = got;
        got.sort();
        expected.sort();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_without_quoting_it() {
        let file = file("[auth]\nsecret = \"hunter2\n");
        let got = refusals(Sources { file: Some(file.path().to_owned()), ..Sources::default() });
        assert_eq!(got.len(), 1);
        assert!(got[0].contains("line 2: ") && !got[0].contains("hunter2"), "{got:?}");
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let got = refusals(Sources { file: Some("/nonexistent/tidegate.toml".into()), ..Sources::default() });
        assert!(got[0].starts_with("cannot read /nonexistent/tidegate.toml: "), "{got:?}");
    }

    #[test]
    fn secrets_are_redacted_wherever_they_are_listed() {
        let overrides = pairs(&[("auth.secret", "0123456789abcdef0123456789abcdef")]);
        let loaded = load(Sources { overrides, ..Sources::default() }).unwrap();
        let listing = serde_json::to_string(&loaded.listing).unwrap();
        assert!(listing.contains("[redacted]") && !listing.contains("0123456789abcdef"));
        assert_eq!(loaded.config.auth.secret.expose(), "0123456789abcdef0123456789abcdef");
        let key = r#"auth = ["0123456789abcdef0123456789abcdef"]"#;
        let file = file(&format!("[auth]\nsecret = {{ {key} }}\n"));
        let got = refusals(Sources { file: Some(file.path().to_owned()), ..Sources::default() });
        assert!(!got.concat().contains("0123456789abcdef"), "{got:?}");
    }

    #[test]
    fn empty_variables_count_as_unset_and_empty_flags_unset_what_may_be_unset() {
        let file = file("[auth]\nissuer = \"https://issuer.example\"\n");
        let sources = |overrides| Sources {
            file: Some(file.path().to_owned()),
            environment: pairs(&[("TIDEGATE_HTTP_LISTEN", ""), ("TIDEGATE_AUTH_ISSUER", "")]),
            overrides,
            ..Sources::default()
        };
        let kept = load(sources(Vec::new())).unwrap().config.auth.issuer;
        let unset = load(sources(pairs(&[("auth.issuer", "")]))).unwrap().config.auth.issuer;
        assert_eq!((kept.as_deref(), unset), (Some("https://issuer.example"), None));
    }

    #[test]
    fn only_serving_refuses_the_development_secret() {
        let loaded = load(Sources::default()).unwrap();
        let refused = loaded.check_for_serving().unwrap_err().to_string();
        assert!(
            refused.starts_with("auth.secret = [redacted] (the default): expected a secret of your own"),
            "{refused}"
        );
        let overrides = pairs(&[("auth.secret", "0123456789abcdef0123456789abcdef")]);
        assert_eq!(load(Sources { overrides, ..Sources::default() }).unwrap().check_for_serving(), Ok(()));
    }
}
