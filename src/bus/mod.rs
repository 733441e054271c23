//! Ephemeral fan-out: what is published to a [`Topic`] reaches whoever reads it at that moment.
//!
//! Owns one channel per topic that somebody reads, and nothing else: a topic without readers costs nothing and
//! remembers nothing. It must never make a publisher wait, keep history, or know what a message means.
//! A further backend is a variant of `Backend` and a file beside `local.rs`. The promises are tested in `tests.rs`.

mod local;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;

pub use subscription::{Delivered, Subscription};
pub use topic::{Delivery, Topic};

use local::Local;

/// Whatever can be published. Every reader gets its own clone, so large messages belong in an `Arc`.
pub trait Message: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Message for T {}

/// Carries messages from publishers to readers. Clones are handles to the same bus.
#[derive(Debug, Clone)]
pub struct Bus(Backend);

#[derive(Debug, Clone)]
enum Backend {
    /// Readers and publishers share this process.
    Local(Arc<Local>),
}

impl Bus {
    /// A bus within this process.
    #[must_use]
    pub fn new() -> Self {
        Self(Backend::Local(Arc::new(Local::new())))
    }

    /// Hands the message to the topic's readers and says how many there are. Never waits: a reader that is behind
    /// loses messages as its topic's [`Delivery`] says.
    pub fn publish<T: Message>(&self, topic: &Topic<T>, message: T) -> usize {
        match &self.0 {
            Backend::Local(local) => local.publish(topic, message),
        }
    }

    /// Reads the topic from now on, until the subscription is dropped or the last handle of the bus is.
    #[must_use]
    pub fn subscribe<T: Message>(&self, topic: &Topic<T>) -> Subscription<T> {
        match &self.0 {
            Backend::Local(local) => local.subscribe(topic),
        }
    }

    /// How many subscriptions read the topic now.
    #[must_use]
    pub fn readers<T: Message>(&self, topic: &Topic<T>) -> usize {
        match &self.0 {
            Backend::Local(local) => local.readers(topic),
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}
