//! From a topic's channel in Redis to its readers here: one task per topic that is being read on this node.
//!
//! Pub/sub may lose messages; offsets tell. A topic with history is read up after every silence and at every hole, each
//! message once and in order, so that the readers of this node see neither. What cannot be repaired they are told. It must
//! never wait for a reader longer than a moment. `tests/it/bus_redis.rs` proves it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use metrics::{Counter, Histogram, counter, histogram};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};
use tracing::warn;

use super::{
    Delivered, Delivery, Message, Position, Topic,
    archive::{Page, Shelf},
    channel::Sender,
    frame::Frame,
    gap::Gap,
    message,
    outbox::Outbox,
};
use crate::{
    model::{Chance, Clock, Instant},
    store::{Heard, Listening, RedisError},
};

/// Time between two attempts to read the history.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// When a history that cannot be read is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// A moment for the readers to take what they have, and how many of them a slow one is given each time.
const BREATH: Duration = Duration::from_millis(2);
const BREATHS: u32 = 10;

/// What every relay of a node needs.
#[derive(Clone)]
pub(super) struct Relays {
    pub(super) outbox: Arc<Outbox>,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) meters: Meters,
}

#[derive(Clone)]
pub(super) struct Meters {
    delivered: Counter,
    repaired: Counter,
    lost: Counter,
    unreadable: Counter,
    lag: Histogram,
}

/// One topic's relay.
pub(super) struct Relay<T> {
    topic: Topic<T>,
    shelf: Shelf,
    listening: Listening,
    sender: Arc<Sender<T>>,
    live: watch::Sender<bool>,
    relays: Relays,
    standing: Standing,
    /// Readers have had everything up to here. Unknown before the history was first seen, and after it was given up.
    place: Option<Position>,
    has_been_live: bool,
    has_complained: bool,
    /// Messages handed on since readers were last given a moment.
    unpaced: usize,
}

/// Where the relay is between silence and the present.
#[derive(Debug, Clone, Copy)]
enum Standing {
    /// Hears nothing.
    Deaf,
    /// Hears, and must read the history before it goes on.
    Behind { since: Instant, next: Instant },
    /// Hands on what it hears.
    Level,
}

/// What a position says about its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Readers had it.
    Known,
    Next,
    /// Messages before it are missing.
    Jump,
}

impl Meters {
    pub(super) fn new(delivered: Counter) -> Self {
        let gaps = |outcome: &'static str| counter!("tidegate_bus_gaps_total", "outcome" => outcome);
        Self {
            delivered,
            repaired: gaps("repaired"),
            lost: gaps("lost"),
            unreadable: counter!("tidegate_bus_unreadable_total"),
            lag: histogram!("tidegate_bus_lag_seconds"),
        }
    }
}

impl<T: Message> Relay<T> {
    pub(super) fn new(
        topic: Topic<T>,
        (shelf, listening): (Shelf, Listening),
        sender: Arc<Sender<T>>,
        live: watch::Sender<bool>,
        relays: Relays,
    ) -> Self {
        let standing = Standing::Deaf;
        Self {
            topic,
            shelf,
            listening,
            sender,
            live,
            relays,
            standing,
            place: None,
            has_been_live: false,
            has_complained: false,
            unpaced: 0,
        }
    }

    /// Relays until dropped.
    pub(super) async fn run(mut self) {
        if self.remembers() {
            // Before the subscription is confirmed, so that what is published until then is not lost. Tried again after.
            let _ = self.look().await;
        }
        loop {
            match self.standing {
                Standing::Behind { since, next } => tokio::select! {
                    biased;
                    () = sleep_until(next) => self.catch_up(since).await,
                    heard = self.listening.heard() => self.hear(heard),
                },
                Standing::Deaf | Standing::Level => {
                    let heard = self.listening.heard().await;
                    self.hear(heard);
                }
            }
        }
    }

    fn remembers(&self) -> bool {
        self.topic.history().is_some()
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Live if self.remembers() => self.fall_behind(),
            Heard::Live => {
                if self.has_been_live {
                    self.lose(Gap::Unknown);
                }
                self.be_level();
            }
            Heard::Message(bytes) => self.take(&bytes),
            Heard::Lost => {
                self.standing = Standing::Deaf;
                self.live.send_replace(false);
            }
        }
    }

    fn fall_behind(&mut self) {
        let now = self.relays.clock.instant();
        self.standing = Standing::Behind { since: now, next: now };
    }

    fn be_level(&mut self) {
        self.standing = Standing::Level;
        self.has_been_live = true;
        self.live.send_replace(true);
    }

    fn take(&mut self, bytes: &Bytes) {
        let Some(frame) = Frame::parse(bytes) else { return self.take_unreadable() };
        let late = self.relays.clock.now().timestamp_micros().saturating_sub(frame.stamp.sent_at);
        self.relays.meters.lag.record(Duration::from_micros(late.try_into().unwrap_or(0)));
        let Some(position) = frame.position.filter(|_| self.remembers()) else {
            return self.hand_on(frame.position, Some(&frame), false);
        };
        if let Standing::Behind { .. } = self.standing {
            // It will be read from the history.
            return;
        }
        match order(self.place, position) {
            Order::Known => {}
            Order::Jump if self.must_be_complete() => self.fall_behind(),
            Order::Jump | Order::Next => {
                self.place = Some(position);
                self.hand_on(Some(position), Some(&frame), false);
            }
        }
    }

    fn take_unreadable(&mut self) {
        if self.remembers() && self.must_be_complete() {
            // It has a place there, if it is one of ours.
            self.fall_behind();
        } else {
            self.hand_on(None, None, false);
        }
    }

    /// Whether readers are promised every message.
    fn must_be_complete(&self) -> bool {
        matches!(self.topic.delivery(), Delivery::Buffer(_))
    }

    /// Reads what was missed, or tries again later, or gives it up.
    async fn catch_up(&mut self, since: Instant) {
        let read = match self.place {
            Some(place) if self.must_be_complete() => self.repair(place).await,
            _ => self.look().await,
        };
        let now = self.relays.clock.instant();
        match read {
            Ok(()) => self.be_level(),
            Err(RedisError::TimedOut | RedisError::Unavailable | RedisError::Lost(_))
                if now.duration_since(since) < GIVE_UP_AFTER =>
            {
                let next = now + self.relays.chance.spread(RETRY_AFTER, 0.5);
                self.standing = Standing::Behind { since, next };
            }
            Err(error) => {
                warn!(topic = self.topic.name(), %error, "the history of a topic cannot be read");
                self.lose(Gap::Unknown);
                self.place = None;
                self.be_level();
            }
        }
    }

    /// Finds out where the history is, and shows the newest message to readers of the newest.
    async fn look(&mut self) -> Result<(), RedisError> {
        let Page { mut messages, newest, .. } = self.shelf.newest().await?;
        if let Some((position, frame)) = messages.pop()
            && order(self.place, position) != Order::Known
        {
            let is_first = self.place.is_none();
            // What was handed over without Redis is newer than what Redis remembers from before.
            let is_old = is_first && self.sender.has_sent();
            if !is_old && !self.must_be_complete() {
                self.hand_on(Some(position), frame.as_ref(), is_first);
            }
        }
        self.place = Some(newest);
        Ok(())
    }

    /// Hands on what was published after `place`.
    async fn repair(&mut self, mut place: Position) -> Result<(), RedisError> {
        loop {
            let Page { gap, messages, newest, is_full } = self.shelf.since(place).await?;
            match gap {
                Gap::None if messages.is_empty() => {}
                Gap::None => self.relays.meters.repaired.increment(1),
                Gap::Of(_) | Gap::Unknown => self.lose(gap),
            }
            for (position, frame) in messages {
                self.pace().await;
                self.hand_on(Some(position), frame.as_ref(), false);
                place = position;
                self.place = Some(place);
            }
            if !is_full {
                self.place = Some(newest);
                return Ok(());
            }
        }
    }

    /// Hands on no faster than readers can take it who are not slow.
    async fn pace(&mut self) {
        self.unpaced += 1;
        if self.unpaced < self.sender.capacity() / 4 {
            return;
        }
        self.unpaced = 0;
        for _ in 0..BREATHS {
            if !self.sender.is_half_full() {
                return;
            }
            sleep(BREATH).await;
        }
    }

    fn hand_on(&mut self, position: Option<Position>, frame: Option<&Frame>, replayed: bool) {
        let Some(message) = frame.and_then(|frame| message::decode::<T>(&frame.message)) else {
            return self.complain();
        };
        // Those of this node that Redis seemed to have lost were handed over already.
        if frame.is_some_and(|frame| self.relays.outbox.admits(frame.stamp)) {
            self.relays.meters.delivered.increment(1);
            self.sender.send(Delivered::Message { message, position, replayed });
        }
    }

    fn complain(&mut self) {
        self.relays.meters.unreadable.increment(1);
        if !self.has_complained {
            self.has_complained = true;
            warn!(topic = self.topic.name(), "a message cannot be read, perhaps from another version");
        }
        self.tell(Gap::Of(1));
    }

    fn lose(&self, gap: Gap) {
        self.relays.meters.lost.increment(1);
        self.tell(gap);
    }

    fn tell(&self, gap: Gap) {
        if let Some(notice) = gap.notice().filter(|_| self.must_be_complete()) {
            self.sender.send(notice);
        }
    }
}

fn order(place: Option<Position>, position: Position) -> Order {
    match place {
        None => Order::Next,
        Some(place) if place.epoch == position.epoch => match position.offset.checked_sub(place.offset) {
            None | Some(0) => Order::Known,
            Some(1) => Order::Next,
            Some(_) => Order::Jump,
        },
        // A history that begins while it is listened to is complete.
        Some(_) if position.offset == 1 => Order::Next,
        Some(_) => Order::Jump,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_tell_what_is_missing() {
        let at = |epoch, offset| Position { epoch, offset };
        for (place, position, expected) in [
            (None, at(1, 9), Order::Next),
            (Some(at(1, 8)), at(1, 9), Order::Next),
            (Some(at(1, 9)), at(1, 9), Order::Known),
            (Some(at(1, 9)), at(1, 1), Order::Known),
            (Some(at(1, 7)), at(1, 9), Order::Jump),
            (Some(at(1, 9)), at(2, 1), Order::Next),
            (Some(at(1, 9)), at(2, 2), Order::Jump),
            (Some(Position::START), at(2, 1), Order::Next),
            (Some(Position::START), at(2, 3), Order::Jump),
        ] {
            assert_eq!(order(place, position), expected, "{place:?} {position:?}");
        }
    }
}
