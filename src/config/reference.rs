//! The listing as people read it: on a terminal, and as the committed page `docs/configuration.md`.

use std::fmt::Write;

use super::{
    Kind, Setting, Source,
    listing::{SectionDoc, sections},
};

/// The listing as text that resembles a configuration file, each setting with its source and description.
#[must_use]
pub fn as_text(listing: &[Setting]) -> String {
    let mut text = String::new();
    for (section, settings) in by_section(listing) {
        let _ = writeln!(text, "[{}]  {}", section.name, section.doc);
        for setting in settings {
            let value =
                setting.value.as_deref().map_or("(unset)", |value| if value.is_empty() { "(empty)" } else { value });
            let _ = writeln!(text, "  {} = {value}  ({})", setting.name(), source(setting));
            let _ = writeln!(text, "      {}", setting.doc);
        }
        text.push('\n');
    }
    text
}

/// The listing as a Markdown page. Values that are not defaults are named beside the description.
#[must_use]
pub fn as_markdown(listing: &[Setting]) -> String {
    let mut page = String::from(INTRODUCTION);
    for (section, settings) in by_section(listing) {
        let _ = write!(page, "\n## `[{}]`\n\n{}\n", section.name, section.doc);
        if !settings.is_empty() {
            page.push_str("\n| Setting | Takes | Default | What it does |\n|---|---|---|---|\n");
        }
        for setting in settings {
            let default = setting.default.as_deref().map_or_else(|| "unset".to_owned(), code);
            let takes = takes(&setting.kind).replace('|', "\\|");
            let doc = setting.doc.replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {takes} | {default} | {doc}{} |", setting.name(), now(setting));
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

This page is generated: `tidegate config --format markdown --defaults > docs/configuration.md`.

A setting comes from, strongest first: `--set section.name=value`, the environment variable
`TIDEGATE_SECTION_NAME`, the file named by `--config` or else `./tidegate.toml`, its default. In the environment and
on the command line, lists are separated by commas, and lists and tables may also be written as in the file. An empty
environment variable counts as unset. Unknown settings are refused, and the start says everything that is wrong at
once. `tidegate config` shows what is set and where it came from.
";

fn by_section(listing: &[Setting]) -> impl Iterator<Item = (SectionDoc, Vec<&Setting>)> {
    sections().into_iter().map(|section| {
        let settings = listing.iter().filter(|setting| setting.section() == section.name).collect();
        (section, settings)
    })
}

fn takes(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret text".to_owned(),
        Kind::Integer => "whole number".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| code(word)).collect::<Vec<_>>().join(" or "),
        Kind::List(inner) => format!("list of {}", takes(inner)),
        Kind::Table(inner) => format!("table of {}", takes(inner)),
    }
}

fn now(setting: &Setting) -> String {
    if setting.source == Source::Default {
        return String::new();
    }
    let value = setting.value.as_deref().map_or_else(|| "unset".to_owned(), code);
    format!(" **Now** {value} ({}).", source(setting))
}

fn source(setting: &Setting) -> &'static str {
    match setting.source {
        Source::Default => "default",
        Source::Command => "command",
        Source::File => "file",
        Source::Environment => "environment",
        Source::Flag => "flag",
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { format!("`{}`", text.replace('|', "\\|")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::declared;

    #[test]
    fn every_setting_appears_in_both_forms() {
        let listing = declared();
        let (text, page) = (as_text(&listing), as_markdown(&listing));
        for setting in &listing {
            assert!(text.contains(&format!("  {} = ", setting.name())), "{}", setting.key);
            assert!(page.contains(&format!("| `{}` | ", setting.name())), "{}", setting.key);
        }
    }

    #[test]
    fn what_is_not_a_default_is_marked() {
        let mut listing = declared();
        listing[0].value = Some("a|b".into());
        listing[0].source = Source::Flag;
        let page = as_markdown(&listing);
        assert!(page.contains(" **Now** `a\\|b` (flag)."), "{page}");
    }
}
