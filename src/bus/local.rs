//! The bus within one process: a channel for each topic that is being read.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

use super::{Delivery, Message, Subscription, Topic, subscription::Source, topic::TopicKey};

/// Most messages that wait for a reader. The channel reserves the room for them when it is made.
const MAX_BUFFER: usize = 65_536;

/// The channels that have readers.
pub(super) struct Local {
    channels: Mutex<HashMap<TopicKey, Channel>>,
    published: Counter,
    missed: Counter,
    topics: Gauge,
    subscriptions: Gauge,
}

struct Channel {
    /// The `Sender<T>` of the message type that the key names.
    sender: Arc<dyn Any + Send + Sync>,
    readers: usize,
}

enum Sender<T> {
    Latest(watch::Sender<Option<T>>),
    Buffer(broadcast::Sender<T>),
}

/// A reader's place on a topic; the last one given up closes the channel.
pub(super) struct Seat {
    // Weak, so that forgotten subscriptions end with the bus instead of keeping it.
    bus: Weak<Local>,
    key: TopicKey,
}

impl Local {
    pub(super) fn new() -> Self {
        Self {
            channels: Mutex::default(),
            published: counter!("tidegate_bus_messages_total"),
            missed: counter!("tidegate_bus_missed_total"),
            topics: gauge!("tidegate_bus_topics"),
            subscriptions: gauge!("tidegate_bus_subscriptions"),
        }
    }

    pub(super) fn publish<T: Message>(&self, topic: &Topic<T>, message: T) -> usize {
        // Sent after the lock is released: waking readers and dropping the previous message run code that is not ours.
        let Some((sender, readers)) = self.sender::<T>(&topic.key()) else { return 0 };
        sender.send(message);
        self.published.increment(1);
        readers
    }

    pub(super) fn subscribe<T: Message>(self: &Arc<Self>, topic: &Topic<T>) -> Subscription<T> {
        let key = topic.key();
        let mut channels = self.channels.lock();
        let channel = channels.entry(key.clone()).or_insert_with(|| {
            self.topics.increment(1.0);
            Channel { sender: Arc::new(Sender::<T>::new(topic.delivery())), readers: 0 }
        });
        let source = channel.sender::<T>().subscribe();
        channel.readers += 1;
        drop(channels);
        self.subscriptions.increment(1.0);
        Subscription::new(source, Seat { bus: Arc::downgrade(self), key }, self.missed.clone())
    }

    pub(super) fn readers<T: Message>(&self, topic: &Topic<T>) -> usize {
        self.channels.lock().get(&topic.key()).map_or(0, |channel| channel.readers)
    }

    fn sender<T: Message>(&self, key: &TopicKey) -> Option<(Arc<Sender<T>>, usize)> {
        self.channels.lock().get(key).map(|channel| (channel.sender(), channel.readers))
    }

    fn leave(&self, key: &TopicKey) {
        self.subscriptions.decrement(1.0);
        let mut channels = self.channels.lock();
        let Some(channel) = channels.get_mut(key) else { return };
        channel.readers -= 1;
        if channel.readers > 0 {
            return;
        }
        let closed = channels.remove(key);
        drop(channels);
        self.topics.decrement(1.0);
        // Only now: the last message goes with the channel, and its drop may come back to the bus.
        drop(closed);
    }
}

impl Channel {
    fn sender<T: Message>(&self) -> Arc<Sender<T>> {
        Arc::clone(&self.sender).downcast().expect("the key holds the message type")
    }
}

impl<T: Message> Sender<T> {
    fn new(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Latest => Self::Latest(watch::Sender::new(None)),
            Delivery::Buffer(capacity) => Self::Buffer(broadcast::Sender::new(capacity.clamp(1, MAX_BUFFER))),
        }
    }

    fn send(&self, message: T) {
        match self {
            Self::Latest(newest) => drop(newest.send_replace(Some(message))),
            // An error says that the last reader has just left.
            Self::Buffer(queue) => drop(queue.send(message)),
        }
    }

    fn subscribe(&self) -> Source<T> {
        match self {
            Self::Latest(newest) => Source::Latest(WatchStream::new(newest.subscribe())),
            Self::Buffer(queue) => Source::Buffer(BroadcastStream::new(queue.subscribe())),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade() {
            bus.leave(&self.key);
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("topics", &self.channels.lock().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, StreamExt};

    use super::{super::Delivered, *};

    fn topic<T>(name: impl Into<Arc<str>>) -> Topic<T> {
        Topic::new(name, Delivery::Latest)
    }

    #[test]
    fn ten_thousand_topics_leave_nothing_behind() {
        let local = Arc::new(Local::new());
        let message = Arc::new("a message");
        let topics: Vec<Topic<Arc<&str>>> = (0..10_000).map(|number| topic(format!("price:{number}"))).collect();
        let readers: Vec<_> =
            topics.iter().flat_map(|topic| [local.subscribe(topic), local.subscribe(topic)]).collect();
        for topic in &topics {
            assert_eq!(local.publish(topic, Arc::clone(&message)), 2);
        }
        assert_eq!((local.channels.lock().len(), Arc::strong_count(&message)), (10_000, 10_001));
        drop(readers);
        assert_eq!((local.channels.lock().len(), Arc::strong_count(&message)), (0, 1));
        assert_eq!(local.publish(&topics[0], Arc::clone(&message)), 0);
        assert_eq!(local.channels.lock().len(), 0);
    }

    /// A message that notes when it goes while the bus is locked.
    #[derive(Clone)]
    struct Intruder {
        local: Arc<Local>,
        locked: Arc<AtomicUsize>,
        gone: Arc<AtomicUsize>,
    }

    impl Drop for Intruder {
        fn drop(&mut self) {
            self.gone.fetch_add(1, Ordering::Relaxed);
            if self.local.channels.try_lock().is_none() {
                self.locked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_message_may_come_back_to_the_bus_as_it_goes() {
        for delivery in [Delivery::Latest, Delivery::Buffer(1)] {
            let (local, locked, gone) = (Arc::new(Local::new()), Arc::default(), Arc::default());
            let topic = Topic::new("intruders", delivery);
            let reader = local.subscribe(&topic);
            for _ in 0..3 {
                let (local, locked, gone) = (Arc::clone(&local), Arc::clone(&locked), Arc::clone(&gone));
                Arc::clone(&local).publish(&topic, Intruder { local, locked, gone });
            }
            drop(reader);
            assert_eq!((gone.load(Ordering::Relaxed), locked.load(Ordering::Relaxed)), (3, 0), "{delivery:?}");
        }
    }

    #[test]
    fn readers_that_come_and_go_at_once_each_hear_what_they_publish() {
        let local = Arc::new(Local::new());
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let local = &local;
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let topic = Topic::new(format!("topic:{}", round % 3), Delivery::Buffer(1_024));
                        let mut reader = local.subscribe(&topic);
                        assert!(local.publish(&topic, (thread, round)) >= 1);
                        let heard = std::iter::from_fn(|| reader.next().now_or_never().flatten());
                        assert!(heard.into_iter().any(|message| message == Delivered::Message((thread, round))));
                    }
                });
            }
        });
        assert_eq!(local.channels.lock().len(), 0);
    }
}
