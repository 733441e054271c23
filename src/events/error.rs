//! What can go wrong with what happened.

use std::sync::Arc;

use thiserror::Error;

use crate::store::DatabaseError;

/// Why something was not appended, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventsError {
    /// Somebody else was faster: the stream is not where the writer thought.
    #[error("{id} is at version {found}, and the change was made for version {expected}")]
    Conflict {
        /// The aggregate.
        id: Arc<str>,
        /// Where the writer thought it was.
        expected: u64,
        /// Where it is.
        found: u64,
    },
    /// The same key was used before for another command.
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// The database did not do it. After [`DatabaseError::TimedOut`] it may have.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An event is kept in a form that this program does not know.
    #[error("an event {event_type} cannot be read: {reason}")]
    Unreadable {
        /// Its type.
        event_type: Arc<str>,
        /// Why.
        reason: String,
    },
    /// An event cannot be put into the form of events: a mistake in its room.
    #[error("an event of {aggregate_type} cannot be written: {reason}")]
    Unwritable {
        /// The aggregate's type.
        aggregate_type: &'static str,
        /// Why.
        reason: String,
    },
    /// A stream lacks an event, which only happens when somebody has deleted it.
    #[error("{id} has no event {version}")]
    Hole {
        /// The aggregate.
        id: Arc<str>,
        /// What is missing.
        version: u64,
    },
}
