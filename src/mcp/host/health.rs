//! Whether a server is well: several looks in a row decide, both ways.

use std::sync::Arc;

use crate::{
    config::McpConfig,
    mcp::{Era, ServerRecord, sdk::PeerFacts},
    model::Timestamp,
    resilience::CallError,
};

/// Whether a server is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostStatus {
    /// Nobody has looked yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not, or cannot be reached.
    Down,
    /// An operator has switched it off.
    Disabled,
}

/// How a server is, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostHealth {
    /// Whether it is well.
    pub status: HostStatus,
    /// When it was last looked at, or called.
    pub checked_at: Option<Timestamp>,
    /// When it last answered.
    pub contact_at: Option<Timestamp>,
    /// What was wrong the last time that something was, and not since then.
    pub error: Option<Arc<str>>,
    /// Of the protocol, such as `2025-11-25`.
    pub protocol: Option<Arc<str>>,
    /// Of which era it is.
    pub era: Option<Era>,
    /// Sessions with it.
    pub sessions: usize,
    /// The last lines that its process has written to its standard error.
    pub stderr: Vec<String>,
}

impl HostHealth {
    /// Of a server that an operator has switched off.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            status: HostStatus::Disabled,
            checked_at: None,
            contact_at: None,
            error: None,
            protocol: None,
            era: None,
            sessions: 0,
            stderr: Vec::new(),
        }
    }
}

/// What is known of a server's health.
#[derive(Debug)]
pub(super) struct Health {
    status: HostStatus,
    failures: u32,
    successes: u32,
    until_down: u32,
    until_up: u32,
    checked_at: Option<Timestamp>,
    contact_at: Option<Timestamp>,
    error: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    era: Option<Era>,
}

impl Health {
    pub(super) fn new(config: &McpConfig, record: &ServerRecord) -> Self {
        Self {
            status: HostStatus::Unknown,
            failures: 0,
            successes: 0,
            until_down: config.failures_until_down,
            until_up: config.successes_until_up,
            checked_at: record.checked.as_ref().map(|checked| checked.at),
            contact_at: None,
            error: None,
            protocol: None,
            era: None,
        }
    }

    /// Takes in how a contact went, and says whether the status has changed.
    pub(super) fn note(&mut self, contact: Result<(), &CallError>, now: Timestamp) -> bool {
        self.checked_at = Some(now);
        let before = self.status;
        match contact {
            Ok(()) => {
                (self.failures, self.successes, self.error) = (0, self.successes.saturating_add(1), None);
                self.contact_at = Some(now);
                let is_enough = self.status != HostStatus::Down || self.successes >= self.until_up;
                if is_enough {
                    self.status = HostStatus::Up;
                }
            }
            Err(error) => {
                (self.failures, self.successes) = (self.failures.saturating_add(1), 0);
                self.error = Some(words(error));
                let is_enough = self.status != HostStatus::Up || self.failures >= self.until_down;
                if is_enough {
                    self.status = HostStatus::Down;
                }
            }
        }
        before != self.status
    }

    /// Takes in what is wrong with a server that nevertheless answers, or was not asked. The status stays.
    pub(super) fn complain(&mut self, what: &str) {
        self.error = Some(what.into());
    }

    pub(super) fn error(&self) -> Option<Arc<str>> {
        self.error.clone()
    }

    pub(super) fn learn(&mut self, facts: &PeerFacts) {
        (self.protocol, self.era) = (Some(Arc::clone(&facts.protocol)), Some(facts.era));
    }

    /// Whether the last contact leaves open how it is: looks are worth more than usual.
    pub(super) fn is_open(&self) -> bool {
        self.status == HostStatus::Down || self.failures > 0
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn view(&self, sessions: usize, stderr: Vec<String>) -> HostHealth {
        HostHealth {
            status: self.status,
            checked_at: self.checked_at,
            contact_at: self.contact_at,
            error: self.error.clone(),
            protocol: self.protocol.clone(),
            era: self.era,
            sessions,
            stderr,
        }
    }
}

/// An error as operators read it.
fn words(error: &CallError) -> Arc<str> {
    match error {
        CallError::Upstream { status: None, detail } => Arc::clone(detail),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        HostStatus::{Down, Up},
        *,
    };
    use crate::model::Clock;

    #[test]
    fn it_takes_several_looks_in_a_row_to_change_a_status() {
        let now = Clock::system().now();
        let mut health = Health {
            status: HostStatus::Unknown,
            failures: 0,
            successes: 0,
            until_down: 3,
            until_up: 2,
            checked_at: None,
            contact_at: None,
            error: None,
            protocol: None,
            era: None,
        };
        for (step, (well, changes, status)) in [
            (true, true, Up),
            (false, false, Up),
            (false, false, Up),
            (true, false, Up),
            (false, false, Up),
            (false, false, Up),
            (false, true, Down),
            (true, false, Down),
            (false, false, Down),
            (true, false, Down),
            (true, true, Up),
        ]
        .into_iter()
        .enumerate()
        {
            let contact = if well { Ok(()) } else { Err(&CallError::Timeout) };
            assert_eq!((health.note(contact, now), health.status), (changes, status), "step {step}");
            assert_eq!(health.error.is_some(), !well, "step {step}");
        }
    }
}
