//! How feelings and memories show in the schema.

use async_graphql::{Enum, ID, Object};

use super::place::{change_cursor, memory_cursor, memory_id};
use crate::{
    agent::{self, EmotionChange, Feeling, MemoryPage, MemoryPlace},
    graphql::{
        directives::Inherit,
        paging::PageInfo,
        rows::Rows,
        scalars::{DateTime, int},
    },
};

/// A feeling, from the worst to the best.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "agent::Emotion")]
pub(crate) enum Emotion {
    /// -100 to -75 points.
    Angry,
    /// -74 to -40 points.
    Sad,
    /// -39 to -10 points.
    Uneasy,
    /// -9 to 9 points, and where it begins.
    Calm,
    /// 10 to 39 points.
    Content,
    /// 40 to 74 points.
    Happy,
    /// 75 to 100 points.
    Elated,
}

pub(crate) struct EmotionState(pub(crate) Feeling);

/// How the agent feels about its user.
#[Object(directive = Inherit::apply())]
impl EmotionState {
    /// The emotion that the points stand for.
    async fn emotion(&self) -> Emotion {
        self.0.emotion.into()
    }

    /// From -100 to 100.
    async fn points(&self) -> i32 {
        self.0.points
    }

    /// How many times feedback has come.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }

    /// When feedback came last; null when none has come yet.
    async fn updated_at(&self) -> Option<DateTime> {
        self.0.updated_at.map(DateTime)
    }
}

pub(crate) struct EmotionUpdate(pub(crate) EmotionChange);

/// Feedback that came, and what it did.
#[Object(directive = Inherit::apply())]
impl EmotionUpdate {
    /// Whose agent it is.
    async fn user_id(&self) -> ID {
        ID(self.0.user_id.to_string())
    }

    /// The emotion before.
    async fn old_emotion(&self) -> Emotion {
        self.0.updated.old_emotion.into()
    }

    /// The emotion after.
    async fn new_emotion(&self) -> Emotion {
        self.0.updated.new_emotion.into()
    }

    /// The points after, -100 to 100.
    async fn points(&self) -> i32 {
        self.0.updated.points
    }

    /// What came, -100 to 100.
    async fn feedback(&self) -> i32 {
        self.0.updated.feedback
    }

    /// Which feedback of this user it was: 1, 2, 3, without holes.
    async fn version(&self) -> i32 {
        int(self.0.version)
    }

    /// When it came.
    async fn at(&self) -> DateTime {
        DateTime(self.0.at)
    }

    /// Pass the last one as `after` to go on where a connection was lost. It is not to be taken apart.
    async fn cursor(&self) -> String {
        change_cursor(&self.0.user_id, self.0.version)
    }
}

pub(crate) struct Memory(pub(crate) agent::Memory);

/// Something that the agent was told to remember.
#[Object(directive = Inherit::apply())]
impl Memory {
    /// Its id.
    async fn id(&self) -> ID {
        memory_id(self.0.id)
    }

    /// What was to be remembered.
    async fn content(&self) -> &str {
        &self.0.content
    }

    /// Since when.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }
}

pub(crate) struct MemoryConnection(pub(crate) MemoryPage);

/// Some memories, newest first.
#[Object(directive = Inherit::apply())]
impl MemoryConnection {
    /// The memories, each with its place.
    async fn edges(&self) -> Rows<MemoryEdge> {
        self.0.memories.iter().cloned().map(|(place, memory)| MemoryEdge { place, memory }).collect()
    }

    /// The memories.
    async fn nodes(&self) -> Rows<Memory> {
        self.0.memories.iter().map(|(_, memory)| Memory(memory.clone())).collect()
    }

    /// Whether there are more, and after what.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.0.more,
            end_cursor: self.0.memories.last().map(|(place, _)| memory_cursor(*place)),
        }
    }
}

pub(crate) struct MemoryEdge {
    place: MemoryPlace,
    memory: agent::Memory,
}

/// A memory and its place.
#[Object(directive = Inherit::apply())]
impl MemoryEdge {
    /// Pass it as `after` to go on after this memory. It is not to be taken apart.
    async fn cursor(&self) -> String {
        memory_cursor(self.place)
    }

    /// The memory.
    async fn node(&self) -> Memory {
        Memory(self.memory.clone())
    }
}
