//! Which parts of the server are ready to work. Parts report; `health.rs` shows.

use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;

/// The list of parts, shared by those who report and `/ready`.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<RwLock<Vec<State>>>);

/// One part's handle for reporting.
#[derive(Debug, Clone)]
pub struct Part {
    list: Readiness,
    index: usize,
}

/// What `/ready` says about a part.
#[derive(Debug, Clone, Serialize)]
pub(super) struct State {
    pub(super) name: &'static str,
    pub(super) ready: bool,
    /// A part that is not required may be down while the server is ready.
    pub(super) required: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) detail: String,
}

impl Readiness {
    /// A list without parts, which is ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that is not ready until it says so. The server waits for it if it is `required`.
    #[must_use]
    pub fn part(&self, name: &'static str, required: bool) -> Part {
        let mut states = self.0.write();
        states.push(State { name, ready: false, required, detail: String::new() });
        Part { list: self.clone(), index: states.len() - 1 }
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.0.read().clone()
    }
}

impl Part {
    /// The part works.
    pub fn ready(&self) {
        self.set(true, "");
    }

    /// The part does not work; `detail` says why, without secrets.
    pub fn not_ready(&self, detail: &str) {
        self.set(false, detail);
    }

    fn set(&self, ready: bool, detail: &str) {
        let state = &mut self.list.0.write()[self.index];
        state.ready = ready;
        detail.clone_into(&mut state.detail);
    }
}
