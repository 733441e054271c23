//! Whether the database works: told by whoever meets a failure, and looked at again until it does.

use metrics::{counter, gauge};
use tokio::sync::{Notify, watch};

use super::DatabaseError;

/// What is known of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// It can be read and written, as far as is known.
    Up,
    /// It cannot be written, or not even read.
    Down(DatabaseError),
}

/// The state, shared by all stores of the node.
#[derive(Debug)]
pub(super) struct Health {
    state: watch::Sender<DatabaseState>,
    /// Somebody has met a failure: look at once.
    suspected: Notify,
}

impl Health {
    pub(super) fn new() -> Self {
        let starting = DatabaseError::Unavailable("it has not been opened yet".to_owned());
        gauge!("tidegate_database_up").set(0.0);
        Self { state: watch::Sender::new(DatabaseState::Down(starting)), suspected: Notify::new() }
    }

    pub(super) fn watch(&self) -> watch::Receiver<DatabaseState> {
        self.state.subscribe()
    }

    /// Takes note of a failure, for operators and for those who come next.
    pub(super) fn failed(&self, store: &'static str, error: &DatabaseError) {
        counter!("tidegate_database_errors_total", "store" => store, "kind" => error.label()).increment(1);
        if error.is_outage() {
            self.set(&DatabaseState::Down(error.clone()));
        }
        if error.is_outage() || *error == DatabaseError::TimedOut {
            self.suspected.notify_one();
        }
    }

    pub(super) fn set(&self, state: &DatabaseState) {
        let changed = |known: &mut DatabaseState| {
            let turned = matches!(known, DatabaseState::Up) != matches!(state, DatabaseState::Up);
            if turned {
                match state {
                    DatabaseState::Up => tracing::info!("the database works"),
                    DatabaseState::Down(error) => tracing::error!(%error, "the database does not work"),
                }
                gauge!("tidegate_database_up").set(if matches!(state, DatabaseState::Up) { 1.0 } else { 0.0 });
            }
            let differs = known != state;
            known.clone_from(state);
            differs
        };
        self.state.send_if_modified(changed);
    }

    /// Why there is no use in trying to read now, if there is none.
    pub(super) fn bars_reading(&self) -> Option<DatabaseError> {
        match &*self.state.borrow() {
            DatabaseState::Down(error @ DatabaseError::Unavailable(_)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Why there is no use in trying to write now, if there is none.
    pub(super) fn bars_writing(&self) -> Option<DatabaseError> {
        match &*self.state.borrow() {
            DatabaseState::Down(error) => Some(error.clone()),
            DatabaseState::Up => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        *self.state.borrow() == DatabaseState::Up
    }

    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }
}
