//! A call of a tool, as it is kept.

use std::time::Duration;

use uuid::Uuid;

use crate::model::{Timestamp, without_nul};

/// Longest message and code that are kept, in characters; the rest is cut off.
const LONGEST_MESSAGE: usize = 300;
const LONGEST_CODE: usize = 100;

/// A call of a tool: what is known of it. No arguments and no results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its place among all runs; larger ones were begun later.
    pub number: i64,
    /// Its id.
    pub id: Uuid,
    /// The subject who called.
    pub user_id: String,
    /// The server's id.
    pub server_id: Uuid,
    /// What the server was called then.
    pub server: String,
    /// The tool's name in its server.
    pub tool: String,
    /// When it was recorded, which is before it was sent.
    pub started_at: Timestamp,
    /// When it ended; nothing while it goes on.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// Why it failed, as a word.
    pub error_code: Option<String>,
    /// Why it failed, for people.
    pub message: Option<String>,
    /// How long it took.
    pub duration: Option<Duration>,
    /// How large its result was.
    pub result_bytes: Option<u64>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// The tool has done it.
    Succeeded,
    /// The tool says that it has not.
    ToolError,
    /// The server could not be asked, or gave no answer.
    Failed,
    /// Nobody waited for it any more. Whether it was done is not known.
    Cancelled,
    /// This program ended before, or lost sight of it. Whether it was done is not known.
    Unknown,
}

impl RunOutcome {
    const ALL: [Self; 5] = [Self::Succeeded, Self::ToolError, Self::Failed, Self::Cancelled, Self::Unknown];

    /// As it is kept.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::ToolError => "TOOL_ERROR",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// What is kept under this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// How a run ended, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// How.
    pub outcome: RunOutcome,
    /// Why it failed, as a word.
    pub error_code: Option<String>,
    /// Why it failed, for people; the first 300 characters are kept.
    pub message: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// How large its result was.
    pub result_bytes: Option<u64>,
}

impl RunEnd {
    /// An end about which there is nothing else to say.
    #[must_use]
    pub fn plain(outcome: RunOutcome, duration: Duration) -> Self {
        Self { outcome, error_code: None, message: None, duration, result_bytes: None }
    }

    /// In a form that both databases take. Servers choose some of the words.
    pub(super) fn storable(self) -> Self {
        let cut = |text: String, most| without_nul(&text.chars().take(most).collect::<String>());
        Self {
            error_code: self.error_code.map(|code| cut(code, LONGEST_CODE)),
            message: self.message.map(|message| cut(message, LONGEST_MESSAGE)),
            ..self
        }
    }
}

/// Which runs are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this subject.
    pub user: Option<String>,
    /// Only of servers of this name.
    pub server: Option<String>,
    /// Only of tools of this name.
    pub tool: Option<String>,
    /// Only those that ended like this.
    pub outcome: Option<RunOutcome>,
}

impl RunFilter {
    pub(super) fn storable(&self) -> Self {
        let clean = |text: &Option<String>| text.as_deref().map(without_nul);
        Self { user: clean(&self.user), server: clean(&self.server), tool: clean(&self.tool), outcome: self.outcome }
    }
}

/// Some runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<Run>,
    /// Whether there are older ones.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_as_they_are_written() {
        for outcome in RunOutcome::ALL {
            assert_eq!(RunOutcome::named(outcome.as_str()), Some(outcome));
        }
        assert_eq!(RunOutcome::named("DONE"), None);
    }

    #[test]
    fn what_servers_say_is_cut_and_cleaned() {
        for (message, expected) in [
            ("no such file", "no such file".to_owned()),
            ("a\0b", "a\u{fffd}b".to_owned()),
            (&"ü".repeat(301), "ü".repeat(300)),
        ] {
            let end = RunEnd { message: Some(message.to_owned()), ..RunEnd::plain(RunOutcome::Failed, Duration::ZERO) };
            assert_eq!(end.storable().message, Some(expected), "{message}");
        }
    }
}
