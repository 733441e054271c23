//! Fan-out: what is published to a [`Topic`] reaches whoever reads it at that moment, and for a while those who come back.
//!
//! Owns one channel per topic that somebody reads, and the history of the topics that ask for one; any other topic costs
//! nothing without readers. It must never make a publisher wait for a reader, or know what a message means.
//! A further backend is a variant of `Backend` and a file beside `local.rs`. The promises are tested in `tests.rs`.

mod archive;
mod channel;
mod frame;
mod gap;
mod history;
mod local;
mod message;
mod outbox;
mod relay;
mod shared;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;

pub use message::Message;
pub use subscription::{Delivered, Subscription};
pub use topic::{Delivery, History, Position, Topic};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{local::Local, shared::Shared};
use crate::{
    model::{Chance, Clock},
    store::Redis,
};

/// Carries messages from publishers to readers. Clones are handles to the same bus.
#[derive(Debug, Clone)]
pub struct Bus(Backend);

#[derive(Debug, Clone)]
enum Backend {
    /// Readers and publishers share this process.
    Local(Arc<Local>),
    /// They share a Redis.
    Shared(Arc<Shared>),
}

/// How far a message was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the readers on every node.
    Nodes,
    /// To the readers on this node only: there are no others, or they cannot be reached.
    Here,
}

impl Bus {
    /// A bus within this process.
    #[must_use]
    pub fn new(clock: Clock, chance: Chance) -> Self {
        Self(Backend::Local(Arc::new(Local::new(clock, chance))))
    }

    /// A bus between all nodes that share this Redis. `tasks` keeps what works in the background, and `stop` ends it.
    #[must_use]
    pub fn shared(redis: Redis, clock: Clock, chance: Chance, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self(Backend::Shared(Arc::new(Shared::new(redis, clock, chance, tasks, stop))))
    }

    /// Hands the message to the topic's readers, and to its history if it has one, and says how far it was carried.
    ///
    /// Never fails, and never waits for a reader: one that is behind loses messages as its topic's [`Delivery`] says.
    /// Waits for Redis up to a quarter of a second; without an answer the message goes to the readers on this node,
    /// without a position.
    pub async fn publish<T: Message>(&self, topic: &Topic<T>, message: T) -> Reach {
        match &self.0 {
            Backend::Local(local) => {
                local.publish(topic, message);
                Reach::Here
            }
            Backend::Shared(shared) => shared.publish(topic, message).await,
        }
    }

    /// Reads the topic from now on, until the subscription is dropped or the last handle of the bus is. Must be called
    /// inside a tokio runtime.
    ///
    /// Through Redis, "now" is when the subscription is confirmed; see [`Subscription::ready`].
    #[must_use]
    pub fn subscribe<T: Message>(&self, topic: &Topic<T>) -> Subscription<T> {
        match &self.0 {
            Backend::Local(local) => local.subscribe(topic),
            Backend::Shared(shared) => shared.subscribe(topic),
        }
    }

    /// Reads the topic from after `after` on: first what was missed since, in order and each message once, then what
    /// comes live. When that cannot be told, [`Delivered::Missed`] comes first, and then what is still remembered. Must be
    /// called inside a tokio runtime.
    #[must_use]
    pub fn resume<T: Message>(&self, topic: &Topic<T>, after: Position) -> Subscription<T> {
        match &self.0 {
            Backend::Local(local) => local.resume(topic, after),
            Backend::Shared(shared) => shared.resume(topic, after),
        }
    }

    /// How many subscriptions read the topic on this node now.
    #[must_use]
    pub fn readers<T: Message>(&self, topic: &Topic<T>) -> usize {
        match &self.0 {
            Backend::Local(local) => local.readers(topic),
            Backend::Shared(shared) => shared.readers(topic),
        }
    }
}
