//! Views of the log in the index, each with the place up to which it has read.

mod projector;
mod store;

use async_trait::async_trait;
use thiserror::Error;

pub use self::projector::{Projector, Rebuilt};
use super::{DomainEvent, EventsError};
use crate::store::{Database, DatabaseError, Transaction};

/// Why a projection does not get on. It tries again; nothing is lost.
#[derive(Debug, Error)]
pub enum ProjectionError {
    /// The log or the index failed.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// There is no projection of that name.
    #[error("there is no projection {name}; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
}

impl From<DatabaseError> for ProjectionError {
    fn from(error: DatabaseError) -> Self {
        Self::Events(EventsError::Database(error))
    }
}

/// What applying events leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Nothing that minds.
    None,
    /// Deleted rows that must not stay readable in the database's files.
    Scrub,
}

/// Rows that are made from events. They can be made again at any time.
///
/// Rows carry their generation: while another generation is built beside the active one, both are kept up to date, and
/// readers see the active one only (`SELECT generation FROM projections WHERE name = … AND active`).
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// The name, such as `memories`.
    fn name(&self) -> &'static str;

    /// Brings the rows of a generation up to date with these events, the next in order. Others than its own it ignores.
    async fn apply(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
        events: &[DomainEvent],
    ) -> Result<Leftovers, ProjectionError>;

    /// Deletes all rows of a generation.
    async fn clear(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
    ) -> Result<(), ProjectionError>;
}
