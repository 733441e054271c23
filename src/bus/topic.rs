//! What is published under one name, what becomes of readers that are slow, and what is kept for those that come back.

use std::{any::TypeId, fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Most messages that a topic remembers.
const MAX_REMEMBERED: usize = 65_536;
/// Longest that a topic remembers after its last message.
const MAX_KEEP_FOR: Duration = Duration::from_hours(1);

/// What a reader gets that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Only the newest message. A new reader gets the last one at once, if the topic was read when it was published or
    /// remembers it.
    Latest,
    /// At least this many messages wait for each reader (clamped to 1 to 65536); beyond that the oldest are lost, and
    /// the reader is told how many.
    Buffer(usize),
}

/// What a topic keeps for readers that come back; see [`Topic::remembering`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// How many messages (clamped to 1 to 65536).
    pub messages: usize,
    /// How long after the last of them (clamped to one millisecond to one hour).
    pub keep_for: Duration,
}

/// A place in a topic's history: everything up to and including one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Which history: a random number that changes when a history was lost and begins anew.
    pub epoch: u64,
    /// Which message of it; the first is 1, and there are no holes.
    pub offset: u64,
}

impl Position {
    /// Before the first message of whatever history there will be.
    pub(super) const START: Self = Self { epoch: 0, offset: 0 };

    /// Whether whoever is at `place` had the message at `position`, as far as both are known.
    pub(super) fn covers(place: Option<Self>, position: Option<Self>) -> bool {
        let had = |(place, position): (Self, Self)| place.epoch == position.epoch && place.offset >= position.offset;
        place.zip(position).is_some_and(had)
    }
}

/// The name of a stream of messages of type `T`.
///
/// Declare a topic in one function of the room that publishes it: topics that differ in name, message type or
/// delivery are different topics. Between nodes only the name travels, so one name must stand for one topic there.
pub struct Topic<T> {
    name: Arc<str>,
    delivery: Delivery,
    history: Option<History>,
    message: PhantomData<fn() -> T>,
}

/// What makes two topics the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TopicKey {
    name: Arc<str>,
    delivery: Delivery,
    message: TypeId,
}

impl<T> Topic<T> {
    /// A topic by its name, such as `price:bitcoin`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, delivery: Delivery) -> Self {
        Self { name: name.into(), delivery, history: None, message: PhantomData }
    }

    /// The same topic, keeping its last messages for whoever resumes.
    #[must_use]
    pub fn remembering(self, history: History) -> Self {
        let messages = history.messages.clamp(1, MAX_REMEMBERED);
        let keep_for = history.keep_for.clamp(Duration::from_millis(1), MAX_KEEP_FOR);
        Self { history: Some(History { messages, keep_for }), ..self }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What becomes of slow readers.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// What is kept, within its bounds; `None` for a topic that remembers nothing.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.history
    }
}

impl<T: 'static> Topic<T> {
    pub(super) fn key(&self) -> TopicKey {
        TopicKey { name: Arc::clone(&self.name), delivery: self.delivery, message: TypeId::of::<T>() }
    }
}

// Derived, these two would ask the same of `T`, of which a topic holds none.
impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), delivery: self.delivery, history: self.history, message: PhantomData }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, delivery, history, message: _ } = self;
        f.debug_struct("Topic")
            .field("name", name)
            .field("delivery", delivery)
            .field("history", history)
            .finish_non_exhaustive()
    }
}
