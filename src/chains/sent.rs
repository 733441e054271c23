//! What became of a transaction that somebody wanted to be sent, as the log of events keeps it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SendRefusal;
use crate::events::Aggregate;

/// What is known of a transaction's sending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentState {
    /// What came of the last try; nothing where that is not known.
    pub(super) outcome: Option<SentOutcome>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SentOutcome {
    /// An endpoint has taken it.
    Accepted(Arc<str>),
    /// The chain does not want it.
    Refused(SendRefusal, Arc<str>),
}

/// What can happen to a transaction on its way to its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(super) enum SentEvent {
    /// It is about to be sent. Always comes before the first byte leaves.
    #[serde(rename = "TransactionRecorded")]
    Recorded {
        /// The chain.
        chain: Arc<str>,
        /// What the chain will know it by.
        id: Arc<str>,
        /// Who pays for it.
        from: Arc<str>,
    },
    /// An endpoint has taken it.
    #[serde(rename = "TransactionAccepted")]
    Accepted {
        /// Which one.
        endpoint: Arc<str>,
    },
    /// The chain does not want it.
    #[serde(rename = "TransactionRefused")]
    Refused {
        /// Why.
        reason: SendRefusal,
        /// In the node's words.
        message: Arc<str>,
    },
}

impl Aggregate for SentState {
    type Event = SentEvent;
    const TYPE: &'static str = "transaction";
    const SNAPSHOT_VERSION: u32 = 1;

    fn apply(&mut self, event: &SentEvent) {
        self.outcome = match event {
            SentEvent::Recorded { .. } => None,
            SentEvent::Accepted { endpoint } => Some(SentOutcome::Accepted(Arc::clone(endpoint))),
            SentEvent::Refused { reason, message } => Some(SentOutcome::Refused(*reason, Arc::clone(message))),
        };
    }
}

/// The stream of a transaction's sending.
pub(super) fn stream(chain: &str, id: &str) -> String {
    format!("{}:{chain}:{id}", SentState::TYPE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is in logs must be read for ever: when this fails, the events need another form and an upcaster.
    #[test]
    fn events_keep_their_form() {
        for (event, form) in [
            (
                SentEvent::Recorded { chain: "ethereum".into(), id: "0x1".into(), from: "0x2".into() },
                json!({"type": "TransactionRecorded", "data": {"chain": "ethereum", "id": "0x1", "from": "0x2"}}),
            ),
            (
                SentEvent::Accepted { endpoint: "one".into() },
                json!({"type": "TransactionAccepted", "data": {"endpoint": "one"}}),
            ),
            (
                SentEvent::Refused { reason: SendRefusal::NonceTooLow, message: "nonce too low".into() },
                json!({"type": "TransactionRefused", "data": {"reason": "NONCE_TOO_LOW", "message": "nonce too low"}}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&event).unwrap(), form);
            assert_eq!(serde_json::from_value::<SentEvent>(form).unwrap(), event);
        }
    }
}
