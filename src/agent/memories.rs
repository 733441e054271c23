//! What one subject told the agent to remember: add, list, search, forget. Nobody sees another's.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use uuid::Uuid;

use super::{
    AgentError, AgentParts, Memory,
    memory::{self, MemoryEvent, MemoryState, SealedWords},
    memory_index::NAME,
    store::{self, Placed},
};
use crate::{
    audit::Entry,
    events::{Begun, Command, LogPosition, read},
    model::{FieldError, Origin},
};

/// How long a change waits for lists and searches to show it. It has been made in any case.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
/// How long forgetting waits until nothing holds the words any more. Without that it has not been done.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(5);

/// Memories of all subjects. Clones share everything.
#[derive(Debug, Clone)]
pub struct Memories(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: AgentParts,
    most: u64,
}

/// Some memories, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPage {
    /// Each with its place, to go on after.
    pub memories: Vec<(MemoryPlace, Memory)>,
    /// Whether there are older ones.
    pub more: bool,
}

/// The place of a memory among those of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlace(pub i64);

impl Memories {
    /// At most `most` memories are kept for one subject.
    pub(super) fn new(parts: AgentParts, most: u64) -> Self {
        Self(Arc::new(Shared { parts, most }))
    }

    /// Remembers something for the subject of the command.
    pub async fn add(&self, command: Command, origin: &Origin, content: &str) -> Result<Memory, AgentError> {
        let problems = memory::problems(content);
        if !problems.is_empty() {
            return Err(AgentError::Invalid(problems));
        }
        let (memory, place) = self.0.parts.events.within(self.append(command, origin, content)).await?;
        self.show(place).await;
        Ok(memory)
    }

    async fn append(
        &self,
        command: Command,
        origin: &Origin,
        content: &str,
    ) -> Result<(Memory, LogPosition), AgentError> {
        let AgentParts { audit, vault, .. } = &self.0.parts;
        let owner = Arc::clone(&command.user_id);
        let mut work = match audit.begin(command, &[]).await? {
            Begun::Fresh(work) => work,
            Begun::Repeated(result) => {
                let id = serde_json::from_value(result["memory"].clone()).map_err(|_| AgentError::NotFound)?;
                let memory = self.get(&owner, id).await?.ok_or(AgentError::NotFound)?;
                return Ok((memory, LogPosition::START));
            }
        };
        self.check_room(&owner).await?;
        let id = Uuid::now_v7();
        // The key first: nothing is ever in the log that nobody could read.
        let words = SealedWords::new(content, &owner, &vault.create().await?);
        let mut memory = work.replay::<MemoryState>(&stream(id)).await?;
        work.append(&mut memory, &[MemoryEvent::MemoryAdded { owner, words }]).await?;
        let entry = Entry::done("memory.add", stream(id), json!({}));
        audit.record(&mut work, origin, entry).await?;
        let created_at = work.now();
        let place = work.commit(json!({ "memory": id })).await?;
        Ok((Memory { id, content: content.to_owned(), created_at }, place))
    }

    /// One memory of this subject.
    pub async fn get(&self, owner: &str, id: Uuid) -> Result<Option<Memory>, AgentError> {
        let AgentParts { events, vault, .. } = &self.0.parts;
        events
            .within(async {
                let told = events.stream(&stream(id), 0).await?;
                // One that was forgotten has a second event.
                let [added] = &told[..] else { return Ok(None) };
                let MemoryEvent::MemoryAdded { owner: of, words } = read::<MemoryState>(added)? else {
                    return Ok(None);
                };
                if &*of != owner {
                    return Ok(None);
                }
                let keys = vault.find(&[words.key_id]).await?;
                // Being forgotten at this moment.
                let Some(key) = keys.get(&words.key_id) else { return Ok(None) };
                Ok(Some(Memory { id, content: words.open(owner, key)?, created_at: added.metadata.time }))
            })
            .await
    }

    /// The newest memories of a subject after (that is, older than) a place; those that hold all words of `query`, if
    /// there is one.
    pub async fn page(
        &self,
        owner: &str,
        query: Option<&str>,
        after: Option<MemoryPlace>,
        first: usize,
    ) -> Result<MemoryPage, AgentError> {
        let index = &self.0.parts.index;
        let before = after.map_or(i64::MAX, |place| place.0);
        let most = i64::try_from(first).unwrap_or(i64::MAX).saturating_add(1);
        let mut found: Vec<Placed> = match query.map(words_of) {
            None => index.within(store::list(index, owner, before, most)).await?,
            Some(words) if words.is_empty() => {
                return Err(AgentError::Invalid(vec![FieldError::new(&["query"], "there is no word to search for")]));
            }
            Some(words) => index.within(store::search(index, owner, &words, before, most)).await?,
        };
        let more = found.len() > first;
        found.truncate(first);
        let memories = found.into_iter().map(|(number, memory)| (MemoryPlace(number), memory)).collect();
        Ok(MemoryPage { memories, more })
    }

    /// Makes a memory of the command's subject unreadable, wherever there is a copy of it. Where that takes longer than a
    /// caller can wait for, it goes on in any case; whoever repeats it waits again.
    pub async fn forget(&self, command: Command, origin: &Origin, id: Uuid) -> Result<(), AgentError> {
        let place = self.0.parts.events.within(self.destroy(command, origin, id)).await?;
        let is_forgotten = self.0.parts.projector.settles(NAME, place, FORGOTTEN_WITHIN).await;
        if is_forgotten { Ok(()) } else { Err(AgentError::NotForgottenYet) }
    }

    async fn destroy(&self, command: Command, origin: &Origin, id: Uuid) -> Result<LogPosition, AgentError> {
        let AgentParts { audit, .. } = &self.0.parts;
        let owner = Arc::clone(&command.user_id);
        let Begun::Fresh(mut work) = audit.begin(command, &[stream(id)]).await? else {
            return self.finish_forgetting(id).await;
        };
        let mut memory = work.replay::<MemoryState>(&stream(id)).await?;
        if memory.state.owner.as_deref() != Some(&*owner) {
            return Err(AgentError::NotFound);
        }
        let Some(key_id) = memory.state.sealed.as_ref().map(|words| words.key_id) else {
            drop(work);
            return self.finish_forgetting(id).await;
        };
        work.append(&mut memory, &[MemoryEvent::MemoryForgotten { key_id }]).await?;
        let entry = Entry::done("memory.forget", stream(id), json!({}));
        audit.record(&mut work, origin, entry).await?;
        work.commit(json!({ "memory": id })).await?;
        self.finish_forgetting(id).await
    }

    /// Destroys the key of a memory that the log knows to be forgotten: an earlier try may have ended before it came to
    /// that. The index does it once more, should this process end here.
    async fn finish_forgetting(&self, id: Uuid) -> Result<LogPosition, AgentError> {
        let AgentParts { events, vault, .. } = &self.0.parts;
        let forgotten = events.stream(&stream(id), 1).await?.pop().ok_or(AgentError::NotFound)?;
        if let MemoryEvent::MemoryForgotten { key_id } = read::<MemoryState>(&forgotten)? {
            vault.destroy(key_id).await?;
        }
        Ok(forgotten.position)
    }

    async fn check_room(&self, owner: &str) -> Result<(), AgentError> {
        let Shared { parts: AgentParts { index, .. }, most } = &*self.0;
        let count = store::count(index, owner).await?;
        if u64::try_from(count).unwrap_or_default() < *most {
            return Ok(());
        }
        let message = format!("{most} memories are kept already, as many as may be: forget some first");
        Err(AgentError::Invalid(vec![FieldError::new(&["content"], message)]))
    }

    /// Waits for lists and searches to show a new memory.
    async fn show(&self, place: LogPosition) {
        if !self.0.parts.projector.shows(NAME, place, SHOWN_WITHIN).await {
            tracing::debug!("a new memory is not in the index yet");
        }
    }
}

fn stream(id: Uuid) -> String {
    format!("memory:{id}")
}

/// The words of a query, without anything that a search language could understand.
fn words_of(query: &str) -> Vec<&str> {
    query.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_and_nothing_else() {
        for (query, words) in [
            ("cat tide", vec!["cat", "tide"]),
            ("\"cat\" OR NEAR(tide*)", vec!["cat", "OR", "NEAR", "tide"]),
            ("über-Größe", vec!["über", "Größe"]),
            (" !!! ", vec![]),
        ] {
            assert_eq!(words_of(query), words, "{query:?}");
        }
    }
}
