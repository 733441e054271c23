//! What can go wrong with feelings and memories.

use thiserror::Error;

use crate::{
    events::{EventsError, ProjectionError},
    model::FieldError,
    store::DatabaseError,
    vault::VaultError,
};

/// Why a change was not made, or a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AgentError {
    /// What was sent cannot be taken: everything that is wrong with it.
    #[error("the input cannot be taken: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There is no such memory of this subject.
    #[error("there is no such memory")]
    NotFound,
    /// Its key is destroyed, and the index still holds its words.
    #[error("the memory is being forgotten, and its words are not everywhere gone yet: repeat the request")]
    NotForgottenYet,
    /// The log did not do it.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The key of a memory cannot be had.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The words of a memory do not fit their key.
    #[error("the words of a memory cannot be read")]
    Unreadable,
}

impl From<DatabaseError> for AgentError {
    fn from(error: DatabaseError) -> Self {
        Self::Events(EventsError::Database(error))
    }
}

impl From<AgentError> for ProjectionError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Events(error) => Self::Events(error),
            AgentError::Vault(VaultError::Database(error)) => error.into(),
            other => {
                Self::Events(EventsError::Unreadable { event_type: "MemoryAdded".into(), reason: other.to_string() })
            }
        }
    }
}
