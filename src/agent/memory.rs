//! Something that the agent was told to remember. The words are sealed with a key of their own; once that is destroyed,
//! they are unreadable wherever the event is kept.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AgentError;
use crate::{
    events::Aggregate,
    model::{FieldError, Timestamp},
    secrets::{Key, Seal},
};

/// Most characters of a memory.
pub const MOST_CHARS: usize = 8_000;

/// A memory as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Its id.
    pub id: Uuid,
    /// What was to be remembered.
    pub content: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// What the log knows of a memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemoryState {
    pub(super) owner: Option<Arc<str>>,
    /// None once it was forgotten.
    pub(super) sealed: Option<SealedWords>,
}

/// What can happen to a memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(super) enum MemoryEvent {
    /// It was told.
    #[serde(rename_all = "camelCase")]
    MemoryAdded {
        /// Whose it is.
        owner: Arc<str>,
        #[serde(flatten)]
        words: SealedWords,
    },
    /// Its key is to be destroyed.
    #[serde(rename_all = "camelCase")]
    MemoryForgotten {
        /// Which key.
        key_id: Uuid,
    },
}

/// Words that need a key of the vault to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SealedWords {
    pub(super) key_id: Uuid,
    /// In base64.
    sealed: String,
}

impl SealedWords {
    /// Seals the words for this owner.
    pub(super) fn new(words: &str, owner: &str, (key_id, key): &(Uuid, Key)) -> Self {
        let sealed = Seal::new(key).seal(words.as_bytes(), owner.as_bytes());
        Self { key_id: *key_id, sealed: BASE64_STANDARD.encode(sealed) }
    }

    pub(super) fn open(&self, owner: &str, key: &Key) -> Result<String, AgentError> {
        let sealed = BASE64_STANDARD.decode(&self.sealed).map_err(|_| AgentError::Unreadable)?;
        let words = Seal::new(key).open(&sealed, owner.as_bytes()).map_err(|_| AgentError::Unreadable)?;
        String::from_utf8(words).map_err(|_| AgentError::Unreadable)
    }
}

impl Aggregate for MemoryState {
    type Event = MemoryEvent;
    const TYPE: &'static str = "memory";
    const SNAPSHOT_VERSION: u32 = 1;

    fn apply(&mut self, event: &MemoryEvent) {
        match event {
            MemoryEvent::MemoryAdded { owner, words } => {
                self.owner = Some(Arc::clone(owner));
                self.sealed = Some(words.clone());
            }
            MemoryEvent::MemoryForgotten { .. } => self.sealed = None,
        }
    }
}

/// What is wrong with words that are to be remembered.
pub(super) fn problems(content: &str) -> Vec<FieldError> {
    let problem = if content.trim().is_empty() {
        Some("there is nothing to remember".to_owned())
    } else if content.chars().count() > MOST_CHARS {
        Some(format!("more than {MOST_CHARS} characters"))
    } else if content.contains('\0') {
        Some("a NUL character cannot be kept".to_owned())
    } else {
        None
    };
    problem.map(|message| FieldError::new(&["content"], message)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_kept_is_taken() {
        for (content, good) in [
            ("the cat is called Tide", true),
            (" x ", true),
            ("𝕌nïcode 🌊", true),
            (&"é".repeat(MOST_CHARS), true),
            (&"é".repeat(MOST_CHARS + 1), false),
            ("", false),
            (" \n\t ", false),
            ("a\0b", false),
        ] {
            assert_eq!(problems(content).is_empty(), good, "{content:?}");
        }
    }

    #[test]
    fn words_are_read_with_their_key_by_their_owner_only() {
        let key = (Uuid::now_v7(), Key::generate());
        let words = SealedWords::new("secret words", "alice", &key);
        assert!(!serde_json::to_string(&words).unwrap().contains("secret"));
        assert_eq!(words.open("alice", &key.1).unwrap(), "secret words");
        assert!(words.open("bob", &key.1).is_err());
        assert!(words.open("alice", &Key::generate()).is_err());
    }
}
