//! What is published under one name, and what becomes of readers that are slow.

use std::{any::TypeId, fmt, marker::PhantomData, sync::Arc};

/// What a reader gets that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Only the newest message. A new reader gets the last one at once, if the topic was read when it was published.
    Latest,
    /// At least this many messages wait for each reader (clamped to 1 to 65536); beyond that the oldest are lost, and
    /// the reader is told how many.
    Buffer(usize),
}

/// The name of a stream of messages of type `T`.
///
/// Declare a topic in one function of the room that publishes it: topics that differ in name, message type or
/// delivery are different topics.
pub struct Topic<T> {
    name: Arc<str>,
    delivery: Delivery,
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
        Self { name: name.into(), delivery, message: PhantomData }
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
}

impl<T: 'static> Topic<T> {
    pub(super) fn key(&self) -> TopicKey {
        TopicKey { name: Arc::clone(&self.name), delivery: self.delivery, message: TypeId::of::<T>() }
    }
}

// Derived, these two would ask the same of `T`, of which a topic holds none.
impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), delivery: self.delivery, message: PhantomData }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).field("delivery", &self.delivery).finish_non_exhaustive()
    }
}
