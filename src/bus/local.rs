//! The bus within one process: publishers hand messages straight to the readers' channels.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::{
    Delivered, Delivery, History, Message, Position, Subscription, Topic,
    channel::{Channels, Inflow},
    history::{Histories, Ring, Since},
    message,
};
use crate::model::{Chance, Clock};

/// Readers and publishers share this process.
#[derive(Debug)]
pub(super) struct Local {
    channels: Arc<Channels>,
    histories: Histories,
}

impl Local {
    pub(super) fn new(clock: Clock, chance: Chance) -> Self {
        Self { channels: Arc::new(Channels::new()), histories: Histories::new(clock, chance) }
    }

    pub(super) fn publish<T: Message>(&self, topic: &Topic<T>, message: T) {
        match topic.history() {
            None => self.channels.send(topic, message, None),
            Some(history) => self.remember(topic, history, message),
        }
    }

    fn remember<T: Message>(&self, topic: &Topic<T>, history: History, message: T) {
        let Some(encoded) = message::encode(topic, &message) else {
            return self.channels.send(topic, message, None);
        };
        let ring = self.histories.of(topic.key());
        // Held while sending: readers must see the order of the offsets.
        let mut ring = ring.lock();
        let position = ring.push(encoded, history);
        self.channels.send(topic, message, Some(position));
    }

    pub(super) fn subscribe<T: Message>(&self, topic: &Topic<T>) -> Subscription<T> {
        let Some(ring) = self.ring(topic) else { return self.join(topic, || None) };
        // Held while joining: nothing is published between what is remembered and what is heard.
        let mut ring = ring.lock();
        match topic.delivery() {
            Delivery::Latest => self.join(topic, || ring.newest()),
            Delivery::Buffer(_) => self.join(topic, || None).starting_after(ring.end()),
        }
    }

    pub(super) fn resume<T: Message>(&self, topic: &Topic<T>, after: Position) -> Subscription<T> {
        let Some(ring) = self.ring(topic) else {
            return self.join(topic, || None).replaying(after, stream::iter([Delivered::Missed(None)]).boxed());
        };
        // Held while joining: what is published from now on arrives live, and nothing does twice.
        let mut ring = ring.lock();
        let Since { gap, messages } = ring.since(after);
        let is_latest = topic.delivery() == Delivery::Latest;
        let subscription = self.join(topic, || ring.newest().filter(|_| is_latest));
        drop(ring);
        self.channels.replayed.increment(messages.len() as u64);
        let messages = messages.into_iter().map(|(position, bytes)| message::replayed(position, &bytes));
        subscription.replaying(after, stream::iter(gap.notice()).chain(stream::iter(messages)).boxed())
    }

    pub(super) fn readers<T: Message>(&self, topic: &Topic<T>) -> usize {
        self.channels.readers(topic)
    }

    fn ring<T: Message>(&self, topic: &Topic<T>) -> Option<Arc<Mutex<Ring>>> {
        topic.history().map(|_| self.histories.of(topic.key()))
    }

    fn join<T: Message>(
        &self,
        topic: &Topic<T>,
        newest: impl FnOnce() -> Option<(Position, Bytes)>,
    ) -> Subscription<T> {
        let (source, seat) = self.channels.join(topic, |sender| {
            if let Some((position, bytes)) = newest() {
                sender.send(message::replayed(position, &bytes));
            }
            Inflow::direct()
        });
        Subscription::new(source, seat, self.channels.missed.clone())
    }
}
