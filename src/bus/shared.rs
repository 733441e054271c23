//! The bus over Redis: publishers send through Redis, and each node relays to its own readers.
//!
//! Every reader on every node sees the order in which Redis took the messages. While Redis cannot be reached, a message
//! goes to the readers of its own node only.

use std::{fmt, sync::Arc, time::Duration};

use async_stream::stream;
use futures_util::{Stream, StreamExt};
use metrics::{Counter, counter};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Delivered, Message, Position, Reach, Subscription, Topic,
    archive::{Archive, Page, Shelf},
    channel::{Channels, Inflow, Sender},
    frame::Stamp,
    message,
    outbox::Outbox,
    relay::{Meters, Relay, Relays},
};
use crate::{
    model::{Chance, Clock},
    store::{Redis, RedisError},
};

/// How long a resuming reader waits for its subscription, and for each page of the history.
const RESUME_WITHIN: Duration = Duration::from_secs(2);
/// What is left of that without a subscription.
const LAST_LOOK: Duration = Duration::from_millis(250);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Readers and publishers share a Redis.
pub(super) struct Shared {
    channels: Arc<Channels>,
    redis: Redis,
    archive: Archive,
    relays: Relays,
    tasks: TaskTracker,
    stop: CancellationToken,
    reached_nodes: Counter,
    reached_here: Counter,
}

impl Shared {
    pub(super) fn new(redis: Redis, clock: Clock, chance: Chance, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let channels = Arc::new(Channels::new());
        let outbox = Arc::new(Outbox::new(redis.node()));
        let meters = Meters::new(channels.published.clone());
        let reached = |reach: &'static str| counter!("tidegate_bus_publishes_total", "reach" => reach);
        Self {
            archive: Archive::new(redis.clone(), chance.clone()),
            relays: Relays { outbox, clock, chance, meters },
            channels,
            redis,
            tasks,
            stop,
            reached_nodes: reached("nodes"),
            reached_here: reached("here"),
        }
    }

    pub(super) async fn publish<T: Message>(&self, topic: &Topic<T>, message: T) -> Reach {
        if let Some(encoded) = message::encode(topic, &message) {
            let posting = self.relays.outbox.post(self.relays.clock.now());
            let sent = self.send(topic, posting.stamp, &encoded).await;
            if sent.is_ok() || !posting.hand_over() {
                self.reached_nodes.increment(1);
                return Reach::Nodes;
            }
        }
        self.channels.send(topic, message, None);
        self.reached_here.increment(1);
        Reach::Here
    }

    async fn send<T: Message>(&self, topic: &Topic<T>, stamp: Stamp, encoded: &[u8]) -> Result<(), RedisError> {
        let place = self.archive.shelf(topic.name());
        let Some(history) = topic.history() else { return place.post(stamp, encoded).await };
        match place.append(history, stamp, encoded).await {
            // A server without memory for the history can still pass the message on.
            Err(RedisError::Refused(_)) => place.post(stamp, encoded).await,
            sent => sent,
        }
    }

    pub(super) fn subscribe<T: Message>(&self, topic: &Topic<T>) -> Subscription<T> {
        let (source, seat) = self.channels.join(topic, |sender| self.relay(topic, sender));
        Subscription::new(source, seat, self.channels.missed.clone())
    }

    pub(super) fn resume<T: Message>(&self, topic: &Topic<T>, after: Position) -> Subscription<T> {
        // First of all: what the replay does not hold any more arrives live.
        let subscription = self.subscribe(topic);
        let live = subscription.live();
        let replay = replay(topic.clone(), self.archive.shelf(topic.name()), live, after);
        let replayed = self.channels.replayed.clone();
        let replay = replay.inspect(move |delivered| {
            if let Delivered::Message { .. } = delivered {
                replayed.increment(1);
            }
        });
        subscription.replaying(after, replay.boxed())
    }

    pub(super) fn readers<T: Message>(&self, topic: &Topic<T>) -> usize {
        self.channels.readers(topic)
    }

    fn relay<T: Message>(&self, topic: &Topic<T>, sender: &Arc<Sender<T>>) -> Inflow {
        let (live, is_live) = watch::channel(false);
        let place = self.archive.shelf(topic.name());
        let listening = self.redis.listen(place.channel().to_owned());
        let relay = Relay::new(topic.clone(), (place, listening), Arc::clone(sender), live, self.relays.clone());
        let stop = self.stop.child_token();
        self.tasks.spawn(stop.clone().run_until_cancelled_owned(relay.run()));
        Inflow::relayed(is_live, stop)
    }
}

/// What a topic remembers after a place, page by page.
fn replay<T: Message>(
    topic: Topic<T>,
    shelf: Shelf,
    mut live: watch::Receiver<bool>,
    after: Position,
) -> impl Stream<Item = Delivered<T>> {
    stream! {
        if topic.history().is_none() {
            yield Delivered::Missed(None);
            return;
        }
        // Before that, something might be published that neither the history read now nor the subscription shows.
        let is_live = timeout(RESUME_WITHIN, live.wait_for(|live| *live)).await.is_ok();
        let patience = if is_live { RESUME_WITHIN } else { LAST_LOOK };
        let mut place = after;
        loop {
            let read = timeout(patience, read(&shelf, place)).await;
            let Ok(Ok(Page { gap, messages, is_full, .. })) = read else {
                yield Delivered::Missed(None);
                return;
            };
            if let Some(notice) = gap.notice() {
                yield notice;
            }
            for (position, frame) in messages {
                place = position;
                yield frame.map_or(Delivered::Missed(Some(1)), |frame| message::replayed(position, &frame.message));
            }
            if !is_full {
                return;
            }
        }
    }
}

/// A page, with patience.
async fn read(shelf: &Shelf, place: Position) -> Result<Page, RedisError> {
    loop {
        match shelf.since(place).await {
            Err(RedisError::TimedOut | RedisError::Unavailable | RedisError::Lost(_)) => sleep(RETRY_AFTER).await,
            answer => return answer,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("channels", &self.channels).field("redis", &self.redis).finish_non_exhaustive()
    }
}
