//! What this process remembers of its topics: a ring of encoded messages for each.
//!
//! A history is kept for its time after the last message, with or without readers, and its numbering for another hour,
//! so that a reader of a quiet topic is not told of a gap that is none. Topics are bounded in number: beyond that the
//! one published longest ago is forgotten.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{History, Position, gap::Gap, topic::TopicKey};
use crate::model::{Chance, Clock, Instant};

/// Most topics that are remembered.
const MAX_TOPICS: usize = 4_096;
/// Most bytes of messages that one topic keeps.
const MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// How long the numbering outlives the last message.
pub(super) const KEEP_NUMBERING: Duration = Duration::from_hours(1);
/// How often what has expired is dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The histories of all topics.
#[derive(Debug)]
pub(super) struct Histories {
    rings: Mutex<Rings>,
    clock: Clock,
    chance: Chance,
}

#[derive(Debug)]
struct Rings {
    by_topic: HashMap<TopicKey, Arc<Mutex<Ring>>>,
    next_sweep: Instant,
}

/// One topic's history. Lock it around publishing, so that its order is the order in which readers are sent to.
#[derive(Debug)]
pub(super) struct Ring {
    epoch: u64,
    /// The offset of the newest message; 0 before the first.
    newest: u64,
    /// The newest messages, without holes.
    kept: VecDeque<Bytes>,
    bytes: usize,
    keep_for: Duration,
    published: Instant,
    clock: Clock,
}

/// What came after a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// What is lost between the position and the first message below.
    pub(super) gap: Gap,
    pub(super) messages: Vec<(Position, Bytes)>,
}

impl Histories {
    pub(super) fn new(clock: Clock, chance: Chance) -> Self {
        let next_sweep = clock.instant() + SWEEP_EVERY;
        Self { rings: Mutex::new(Rings { by_topic: HashMap::new(), next_sweep }), clock, chance }
    }

    /// The topic's history; an empty one if there is none yet.
    pub(super) fn of(&self, key: TopicKey) -> Arc<Mutex<Ring>> {
        let now = self.clock.instant();
        let mut rings = self.rings.lock();
        rings.sweep(now);
        if let Some(ring) = rings.by_topic.get(&key) {
            return Arc::clone(ring);
        }
        if rings.by_topic.len() >= MAX_TOPICS {
            rings.forget_oldest();
        }
        let ring = Arc::new(Mutex::new(Ring::new(&self.chance, self.clock.clone())));
        rings.by_topic.insert(key, Arc::clone(&ring));
        ring
    }
}

impl Rings {
    fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        // One that is locked is being published to.
        self.by_topic.retain(|_, ring| ring.try_lock().is_none_or(|mut ring| ring.is_worth_keeping(now)));
    }

    fn forget_oldest(&mut self) {
        let published = |ring: &Arc<Mutex<Ring>>| ring.try_lock().map(|ring| ring.published);
        let ages = self.by_topic.iter().filter_map(|(key, ring)| Some((published(ring)?, key)));
        if let Some(oldest) = ages.min_by_key(|(published, _)| *published).map(|(_, key)| key.clone()) {
            self.by_topic.remove(&oldest);
        }
    }
}

impl Ring {
    fn new(chance: &Chance, clock: Clock) -> Self {
        let published = clock.instant();
        let epoch = epoch(chance);
        Self { epoch, newest: 0, kept: VecDeque::new(), bytes: 0, keep_for: Duration::ZERO, published, clock }
    }

    /// Appends a message and says where it is.
    pub(super) fn push(&mut self, message: Bytes, history: History) -> Position {
        self.expire(self.clock.instant());
        self.newest += 1;
        self.bytes += message.len();
        self.kept.push_back(message);
        while self.kept.len() > history.messages || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            self.bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.len());
        }
        self.keep_for = history.keep_for;
        self.published = self.clock.instant();
        self.end()
    }

    /// Where the next message comes after.
    pub(super) fn end(&self) -> Position {
        Position { epoch: self.epoch, offset: self.newest }
    }

    /// The newest message that is still remembered.
    pub(super) fn newest(&mut self) -> Option<(Position, Bytes)> {
        self.expire(self.clock.instant());
        let message = self.kept.back()?.clone();
        Some((self.end(), message))
    }

    /// What came after `place`; everything that is remembered, when that cannot be told.
    pub(super) fn since(&mut self, place: Position) -> Since {
        self.expire(self.clock.instant());
        let before_first = self.newest - self.kept.len() as u64;
        let epoch = self.epoch;
        let gap = Gap::between(place, self.end(), before_first);
        let from = if gap == Gap::Unknown { before_first } else { place.offset.max(before_first) };
        let had = usize::try_from(from - before_first).expect("no more than are kept");
        let missed = self.kept.range(had..).cloned();
        let messages = (from + 1..).zip(missed).map(|(offset, message)| (Position { epoch, offset }, message));
        let messages = messages.collect();
        Since { gap, messages }
    }

    fn expire(&mut self, now: Instant) {
        if now.duration_since(self.published) > self.keep_for {
            self.kept = VecDeque::new();
            self.bytes = 0;
        }
    }

    fn is_worth_keeping(&mut self, now: Instant) -> bool {
        self.expire(now);
        now.duration_since(self.published) <= self.keep_for + KEEP_NUMBERING
    }
}

/// A number for a new history, unlike all before it.
pub(super) fn epoch(chance: &Chance) -> u64 {
    chance.number().max(1)
}
