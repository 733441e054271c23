//! The channels of this process: one for each topic that is being read here, with as many seats as it has readers.
//!
//! Whichever backend carries the messages, its readers sit here. The last reader that leaves closes the channel, and
//! with it whatever feeds it.

use std::{
    any::Any,
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Weak},
};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::{BroadcastStream, WatchStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Delivered, Delivery, Message, Position, Topic, subscription::Source, topic::TopicKey};

/// Most messages that wait for a reader. The channel reserves the room for them when it is made.
const MAX_BUFFER: usize = 65_536;

/// The channels that have readers.
pub(super) struct Channels {
    open: Mutex<HashMap<TopicKey, Channel>>,
    topics: Gauge,
    subscriptions: Gauge,
    pub(super) published: Counter,
    pub(super) missed: Counter,
    pub(super) replayed: Counter,
}

struct Channel {
    /// The `Sender<T>` of the message type that the key names.
    sender: Arc<dyn Any + Send + Sync>,
    readers: usize,
    inflow: Inflow,
}

/// Where a channel's messages come from; closing the channel ends it.
pub(super) struct Inflow {
    /// Whether messages arrive.
    live: watch::Receiver<bool>,
    _source: Option<DropGuard>,
}

/// The sending half of a channel; what feeds it sends in the order that readers are to see.
pub(super) enum Sender<T> {
    Latest(watch::Sender<Option<Delivered<T>>>),
    Buffer { queue: broadcast::Sender<Delivered<T>>, capacity: usize },
}

/// A reader's place on a topic; the last one given up closes the channel.
pub(super) struct Seat {
    // Weak, so that forgotten subscriptions end with the bus instead of keeping it.
    channels: Weak<Channels>,
    key: TopicKey,
    live: watch::Receiver<bool>,
}

impl Inflow {
    /// Publishers send right into the channel.
    pub(super) fn direct() -> Self {
        Self { live: watch::channel(true).1, _source: None }
    }

    /// A relay sends into the channel, until it is stopped.
    pub(super) fn relayed(live: watch::Receiver<bool>, stop: CancellationToken) -> Self {
        Self { live, _source: Some(stop.drop_guard()) }
    }
}

impl Channels {
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::default(),
            topics: gauge!("tidegate_bus_topics"),
            subscriptions: gauge!("tidegate_bus_subscriptions"),
            published: counter!("tidegate_bus_messages_total"),
            missed: counter!("tidegate_bus_missed_total"),
            replayed: counter!("tidegate_bus_replayed_total"),
        }
    }

    /// Hands a message to the topic's readers here, if there are any.
    pub(super) fn send<T: Message>(&self, topic: &Topic<T>, message: T, position: Option<Position>) {
        // Sent after the lock is released: waking readers and dropping the previous message run code that is not ours.
        let sender = self.open.lock().get(&topic.key()).map(Channel::sender::<T>);
        if let Some(sender) = sender {
            sender.send(Delivered::Message { message, position, replayed: false });
            self.published.increment(1);
        }
    }

    /// Takes a seat on the topic; `open` feeds its channel if that has to be opened, before anybody can send or
    /// read.
    pub(super) fn join<T: Message>(
        self: &Arc<Self>,
        topic: &Topic<T>,
        open: impl FnOnce(&Arc<Sender<T>>) -> Inflow,
    ) -> (Source<T>, Seat) {
        let key = topic.key();
        let mut channels = self.open.lock();
        let channel = match channels.entry(key.clone()) {
            Entry::Occupied(channel) => channel.into_mut(),
            Entry::Vacant(vacant) => {
                let sender = Arc::new(Sender::<T>::new(topic.delivery()));
                let inflow = open(&sender);
                self.topics.increment(1.0);
                vacant.insert(Channel { sender, readers: 0, inflow })
            }
        };
        let source = channel.sender::<T>().subscribe();
        let live = channel.inflow.live.clone();
        channel.readers += 1;
        drop(channels);
        self.subscriptions.increment(1.0);
        (source, Seat { channels: Arc::downgrade(self), key, live })
    }

    pub(super) fn readers<T: Message>(&self, topic: &Topic<T>) -> usize {
        self.open.lock().get(&topic.key()).map_or(0, |channel| channel.readers)
    }

    fn leave(&self, key: &TopicKey) {
        self.subscriptions.decrement(1.0);
        let mut channels = self.open.lock();
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
            Delivery::Buffer(capacity) => {
                let capacity = capacity.clamp(1, MAX_BUFFER);
                Self::Buffer { queue: broadcast::Sender::new(capacity), capacity }
            }
        }
    }

    pub(super) fn send(&self, delivered: Delivered<T>) {
        match self {
            Self::Latest(newest) => drop(newest.send_replace(Some(delivered))),
            // An error says that the last reader has just left.
            Self::Buffer { queue, .. } => drop(queue.send(delivered)),
        }
    }

    /// Whether readers of the newest message have had one.
    pub(super) fn has_sent(&self) -> bool {
        matches!(self, Self::Latest(newest) if newest.borrow().is_some())
    }

    /// How many messages may wait for each reader.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Latest(_) => 1,
            Self::Buffer { capacity, .. } => *capacity,
        }
    }

    /// Whether that many wait for some reader, or half of them.
    pub(super) fn is_half_full(&self) -> bool {
        matches!(self, Self::Buffer { queue, capacity } if queue.len() * 2 > *capacity)
    }

    fn subscribe(&self) -> Source<T> {
        match self {
            Self::Latest(newest) => Source::Latest(WatchStream::new(newest.subscribe())),
            Self::Buffer { queue, .. } => Source::Buffer(BroadcastStream::new(queue.subscribe())),
        }
    }
}

impl Seat {
    /// Whether messages arrive at the channel.
    pub(super) fn live(&self) -> watch::Receiver<bool> {
        self.live.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(channels) = self.channels.upgrade() {
            channels.leave(&self.key);
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("topics", &self.open.lock().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::{FutureExt, StreamExt};
    use serde::{Deserialize, Serialize};

    use super::{super::Subscription, *};

    fn read<T: Message>(channels: &Arc<Channels>, topic: &Topic<T>) -> Subscription<T> {
        let (source, seat) = channels.join(topic, |_| Inflow::direct());
        Subscription::new(source, seat, channels.missed.clone())
    }

    #[test]
    fn ten_thousand_topics_leave_nothing_behind() {
        let channels = Arc::new(Channels::new());
        let message = Arc::new("a message".to_owned());
        let topics: Vec<Topic<Arc<String>>> =
            (0..10_000).map(|number| Topic::new(format!("price:{number}"), Delivery::Latest)).collect();
        let readers: Vec<_> =
            topics.iter().flat_map(|topic| [read(&channels, topic), read(&channels, topic)]).collect();
        for topic in &topics {
            channels.send(topic, Arc::clone(&message), None);
        }
        assert_eq!((channels.open.lock().len(), Arc::strong_count(&message)), (10_000, 10_001));
        drop(readers);
        assert_eq!((channels.open.lock().len(), Arc::strong_count(&message)), (0, 1));
        channels.send(&topics[0], Arc::clone(&message), None);
        assert_eq!((channels.open.lock().len(), Arc::strong_count(&message)), (0, 1));
    }

    static WATCHED: OnceLock<Arc<Channels>> = OnceLock::new();
    static LOCKED: AtomicUsize = AtomicUsize::new(0);
    static GONE: AtomicUsize = AtomicUsize::new(0);

    /// A message that notes when it goes while the channels are locked.
    #[derive(Clone, Serialize, Deserialize)]
    struct Intruder;

    impl Drop for Intruder {
        fn drop(&mut self) {
            GONE.fetch_add(1, Ordering::Relaxed);
            if WATCHED.get().expect("set before the first").open.try_lock().is_none() {
                LOCKED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_message_may_come_back_to_the_bus_as_it_goes() {
        let channels = WATCHED.get_or_init(|| Arc::new(Channels::new()));
        for (delivery, gone) in [(Delivery::Latest, 3), (Delivery::Buffer(1), 6)] {
            let topic = Topic::new("intruders", delivery);
            let reader = read(channels, &topic);
            for _ in 0..3 {
                channels.send(&topic, Intruder, None);
            }
            drop(reader);
            assert_eq!((GONE.load(Ordering::Relaxed), LOCKED.load(Ordering::Relaxed)), (gone, 0), "{delivery:?}");
        }
    }

    #[test]
    fn readers_that_come_and_go_at_once_each_hear_what_they_publish() {
        let channels = Arc::new(Channels::new());
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let channels = &channels;
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let topic = Topic::new(format!("topic:{}", round % 3), Delivery::Buffer(1_024));
                        let mut reader = read(channels, &topic);
                        channels.send(&topic, (thread, round), None);
                        let heard = std::iter::from_fn(|| reader.next().now_or_never().flatten());
                        let mine = Delivered::Message { message: (thread, round), position: None, replayed: false };
                        assert!(heard.into_iter().any(|message| message == mine));
                    }
                });
            }
        });
        assert_eq!(channels.open.lock().len(), 0);
    }
}
