//! What happened, as it is kept.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use super::{Aggregate, EventsError};
use crate::model::Timestamp;

/// Something that happened to one aggregate. Never changed once it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainEvent {
    /// Where it stands among all events.
    pub position: LogPosition,
    /// Its own name.
    pub id: Uuid,
    /// To what it happened, such as `emotion:alice`. No two aggregates share an id, whatever their types.
    pub aggregate_id: Arc<str>,
    /// What kind of thing that is, such as `emotion`.
    pub aggregate_type: Arc<str>,
    /// Which event of its aggregate: 1, 2, 3, without holes.
    pub event_version: u64,
    /// What happened, such as `EmotionUpdated`.
    pub event_type: Arc<str>,
    /// In which form `data` is written; the newest, as it was read through the upcasters.
    pub schema_version: u32,
    /// The particulars. Nothing personal that may have to be forgotten, unless sealed.
    pub data: Value,
    /// Who, when, and why.
    pub metadata: Metadata,
}

impl DomainEvent {
    /// The UUID of its aggregate, where those of this type have one: `type:uuid`.
    ///
    /// # Errors
    /// [`EventsError::Unreadable`]: its aggregate is named otherwise.
    pub fn uuid_in<A: Aggregate>(&self) -> Result<Uuid, EventsError> {
        let id = self.aggregate_id.strip_prefix(A::TYPE).and_then(|rest| rest.strip_prefix(':'));
        id.and_then(|id| id.parse().ok()).ok_or_else(|| EventsError::Unreadable {
            event_type: Arc::clone(&self.event_type),
            reason: format!("its aggregate is no {}", A::TYPE),
        })
    }
}

/// Who caused an event, when, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The subject whose request it was.
    pub user_id: Arc<str>,
    /// When it was decided, in microseconds.
    pub time: Timestamp,
    /// The request that it belongs to, as in `x-request-id`.
    pub correlation_id: Arc<str>,
    /// The event that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
}

/// A place in the log: everything up to and including one event.
///
/// On PostgreSQL the order is that of transactions, and within one that of numbers; on SQLite there is one transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The transaction's number.
    pub transaction: i64,
    /// The event's number.
    pub number: i64,
}

/// A text that names no place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a place in the log")]
pub struct InvalidPosition;

impl LogPosition {
    /// Before everything.
    pub const START: Self = Self { transaction: 0, number: 0 };
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.transaction, self.number)
    }
}

impl FromStr for LogPosition {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (transaction, number) = text.split_once('-').ok_or(InvalidPosition)?;
        let number_of = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0).ok_or(InvalidPosition);
        Ok(Self { transaction: number_of(transaction)?, number: number_of(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = LogPosition { transaction: 7, number: 42 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for bad in ["", "7", "7-", "-1-2", "7-x", "7-4-2"] {
            assert_eq!(bad.parse::<LogPosition>(), Err(InvalidPosition), "{bad:?}");
        }
        assert!(place > LogPosition { transaction: 6, number: 99 } && place > LogPosition::START);
    }
}
