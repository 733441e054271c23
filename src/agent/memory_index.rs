//! Memories in the index, in plain words: what is listed and searched. What was forgotten leaves it, and its key the vault.

use std::collections::HashMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    AgentError, Memory,
    memory::{MemoryEvent, MemoryState},
    store::{self, Entry},
};
use crate::{
    events::{Aggregate, DomainEvent, Leftovers, Projection, ProjectionError, read},
    secrets::Key,
    store::{Database, Transaction},
    vault::Vault,
};

/// The projection's name.
pub(super) const NAME: &str = "memories";

/// Keeps the index of memories.
pub(super) struct MemoryIndex(pub(super) Vault);

#[async_trait]
impl Projection for MemoryIndex {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn apply(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
        events: &[DomainEvent],
    ) -> Result<Leftovers, ProjectionError> {
        let mine = events.iter().filter(|event| &*event.aggregate_type == MemoryState::TYPE);
        let mine =
            mine.map(|event| Ok((event, read::<MemoryState>(event)?))).collect::<Result<Vec<_>, ProjectionError>>()?;
        let keys = self.keys(&mine).await?;
        let mut leftovers = Leftovers::None;
        for (event, memory) in mine {
            let id = event.uuid_in::<MemoryState>()?;
            match memory {
                MemoryEvent::MemoryAdded { owner, words } => {
                    // One whose key is gone was forgotten later in the log.
                    let Some(key) = keys.get(&words.key_id) else { continue };
                    let content = words.open(&owner, key)?;
                    let memory = Memory { id, content, created_at: event.metadata.time };
                    let entry = Entry { owner: &owner, number: event.position.number, memory };
                    store::insert(index, transaction, generation, &entry).await?;
                }
                MemoryEvent::MemoryForgotten { key_id } => {
                    store::delete(index, transaction, generation, id).await?;
                    // Whoever wrote the event may have ended before it came to this.
                    self.0.destroy(key_id).await.map_err(AgentError::from)?;
                    leftovers = Leftovers::Scrub;
                }
            }
        }
        Ok(leftovers)
    }

    async fn clear(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
    ) -> Result<(), ProjectionError> {
        Ok(store::clear(index, transaction, generation).await?)
    }
}

impl MemoryIndex {
    async fn keys(&self, events: &[(&DomainEvent, MemoryEvent)]) -> Result<HashMap<Uuid, Key>, ProjectionError> {
        let needed = events.iter().filter_map(|(_, event)| match event {
            MemoryEvent::MemoryAdded { words, .. } => Some(words.key_id),
            MemoryEvent::MemoryForgotten { .. } => None,
        });
        let needed: Vec<Uuid> = needed.collect();
        Ok(self.0.find(&needed).await.map_err(AgentError::from)?)
    }
}
