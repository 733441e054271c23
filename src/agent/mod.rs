//! What an agent feels and remembers, for each subject its own.
//!
//! Owns the rule by which feedback becomes an emotion, and memories with their keys. It must never show a subject what is
//! another's, and never write the words of a memory anywhere but into the index. A new kind of state is a file with its
//! aggregate and a service beside it. `tests/it/agent_*.rs` run the same bodies on SQLite and PostgreSQL.

mod emotion;
mod emotions;
mod error;
#[cfg(test)]
mod golden;
mod memories;
mod memory;
mod memory_index;
mod store;

use std::sync::Arc;

pub use emotion::{Emotion, EmotionState, EmotionUpdated};
pub use emotions::{EmotionChange, Emotions, Feeling};
pub use error::AgentError;
pub use memories::{Memories, MemoryPage, MemoryPlace};
pub use memory::{MOST_CHARS, Memory};

use crate::{
    audit::Audit,
    config::AgentConfig,
    events::{Events, Projection, Projector, Upcaster},
    store::Database,
    vault::Vault,
};

/// What the agent's state is kept with.
#[derive(Debug)]
pub struct AgentParts {
    /// The log.
    pub events: Events,
    /// Where every change is recorded.
    pub audit: Audit,
    /// What keeps the index up to date.
    pub projector: Projector,
    /// The index.
    pub index: Database,
    /// The keys of memories.
    pub vault: Vault,
}

/// The agent's state. Clones share everything.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Feelings.
    pub emotions: Emotions,
    /// Memories.
    pub memories: Memories,
}

impl Agent {
    /// The state that is kept with these.
    #[must_use]
    pub fn new(parts: AgentParts, config: &AgentConfig) -> Self {
        let emotions = Emotions::new(parts.events.clone(), parts.audit.clone());
        Self { emotions, memories: Memories::new(parts, config.max_memories) }
    }
}

/// How events of this room that were written in older forms are read; each form has a file in `tests/fixtures/events/`.
pub const UPCASTERS: &[Upcaster] = &[];

/// What the projector has to keep up to date for this room.
#[must_use]
pub fn projections(vault: &Vault) -> Vec<Arc<dyn Projection>> {
    vec![Arc::new(memory_index::MemoryIndex(vault.clone()))]
}
