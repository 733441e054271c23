//! Why a configuration is refused: everything that is wrong with it at once, not only the first thing.

use std::{fmt, path::PathBuf};

use crate::model::edits;

/// A configuration that the start refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Everything that is wrong, at least one thing.
    pub complaints: Vec<Complaint>,
}

/// One thing that is wrong. Its text is one line and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    UnreadableFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{} line {line}: {reason}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// There is no such setting.
    #[error("unknown setting {name} ({origin}){}", suggestion(nearest.as_deref()))]
    UnknownSetting {
        /// The name as given.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// The known name that resembles it most, if one does.
        nearest: Option<String>,
    },
    /// The value cannot be used.
    #[error("{key} = {value} ({origin}): {reason}")]
    BadValue {
        /// The setting.
        key: String,
        /// The value as given; `[redacted]` for a secret.
        value: String,
        /// Where it was given.
        origin: Origin,
        /// What was expected.
        reason: String,
    },
}

/// Where a value was given, in the operator's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// By the command that runs.
    Command,
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
    /// On the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Command => f.write_str("set by the command"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Environment(variable) => write!(f, "from {variable}"),
            Self::Flag => f.write_str("on the command line"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            complaint.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The candidate that most resembles `name`, if it could be a slip of the same word.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let (distance, candidate) = candidates.map(|candidate| (edits(name, candidate), candidate)).min()?;
    (distance <= 2 + name.len() / 5).then(|| candidate.to_owned())
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(", did you mean {nearest}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_setting_that_was_meant() {
        let known = ["http.listen", "http.graphiql", "auth.secret"];
        let find = |name| nearest(name, known.into_iter());
        assert_eq!(find("http.lisen").as_deref(), Some("http.listen"));
        assert_eq!(find("auht.secret").as_deref(), Some("auth.secret"));
        assert_eq!(find("something.else.entirely"), None);
    }
}
