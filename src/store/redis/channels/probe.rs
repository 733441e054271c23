//! Whether a line hears: what is published to the line's own channel, over the link for commands, must come back on it.
//!
//! Answers to PING prove that there is a connection, not that what is published arrives on it. The tests below prove
//! the judgement, `tests/it/redis_channels.rs` the rest, with a server that confirms and never delivers.

use std::time::Duration;

use super::{super::lane::Lane, board::Board, loss::Loss};

/// How long publishing may take; the line serves nobody meanwhile.
pub(super) const DEADLINE: Duration = Duration::from_millis(250);
/// Probes in a row that may stay unheard.
const PATIENCE: u32 = 2;

pub(super) struct Probe {
    lane: Lane,
    verb: &'static str,
    hearing: Hearing,
}

/// What is known about the ears of one connection.
#[derive(Default)]
struct Hearing {
    /// Whether something was published that must come back.
    awaited: bool,
    /// The messages that had come at the last look.
    messages: u64,
    /// Probes in a row that did not come back.
    unheard: u32,
}

impl Probe {
    pub(super) fn new(lane: Lane, sharded: bool) -> Self {
        let verb = if sharded { "SPUBLISH" } else { "PUBLISH" };
        Self { lane, verb, hearing: Hearing::default() }
    }

    /// A new connection begins without suspicion.
    pub(super) fn begin(&mut self) {
        self.hearing = Hearing::default();
    }

    /// Looks whether anything came since the last look, and publishes anew.
    pub(super) async fn look(&mut self, board: &Board) -> Result<(), Loss> {
        self.hearing.look(board.messages())?;
        let mut publish = redis::cmd(self.verb);
        publish.arg(board.probe()).arg("");
        // The link has its own troubles; they say nothing about the line.
        self.hearing.published(self.lane.run(publish).await.ok());
        Ok(())
    }
}

impl Hearing {
    /// `messages` have come so far, probes and others.
    fn look(&mut self, messages: u64) -> Result<(), Loss> {
        let silent = std::mem::replace(&mut self.messages, messages) == messages;
        self.unheard = if silent && self.awaited { self.unheard + 1 } else { 0 };
        if self.unheard < PATIENCE { Ok(()) } else { Err(Loss::Deaf) }
    }

    /// A probe was published, and the server knew so many listeners.
    fn published(&mut self, listeners: Option<u64>) {
        self.awaited = listeners.is_some();
        // It knows of nobody, although it had confirmed the subscription. Something between us that answers in its place
        // may be wrong about that, so what arrives has the last word.
        if listeners == Some(0) {
            self.unheard += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of looks that find these counts of messages, each followed by a probe with these listeners.
    fn judge(looks: &[(u64, Option<u64>)]) -> Vec<bool> {
        let mut hearing = Hearing::default();
        let deaf = |&(messages, listeners)| {
            let deaf = hearing.look(messages).is_err();
            hearing.published(listeners);
            deaf
        };
        looks.iter().map(deaf).collect()
    }

    #[test]
    fn two_probes_in_a_row_unheard_are_deafness() {
        assert_eq!(judge(&[(0, Some(1)), (0, Some(1)), (0, Some(1))]), [false, false, true]);
        assert_eq!(judge(&[(0, Some(1)), (0, Some(1)), (1, Some(1)), (1, Some(1))]), [false; 4]);
    }

    #[test]
    fn a_probe_that_could_not_be_published_proves_nothing() {
        assert_eq!(judge(&[(0, None), (0, None), (0, None), (0, Some(1)), (0, None), (0, None)]), [false; 6]);
    }

    #[test]
    fn a_server_that_knows_no_listener_is_believed_sooner_unless_something_arrives() {
        assert_eq!(judge(&[(5, Some(0)), (5, Some(0))]), [false, true]);
        assert_eq!(judge(&[(5, Some(0)), (6, Some(0)), (7, Some(0))]), [false; 3]);
    }
}
