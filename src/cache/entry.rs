//! What a cache keeps about one key: the envelope with its absolute times, and how it answers a lookup.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::TimeDelta;

use super::{
    revocations::Moment,
    shared::{Content, Envelope, Stamp},
    slots::{self, Slot},
    tags::Tag,
};
use crate::model::{Instant, Timestamp};

/// A value that a cache can keep. Cloned on every hit, so large values sit behind an `Arc`.
pub trait CacheValue: Clone + Send + Sync + 'static {
    /// The memory that the value and its key keep alive beyond their own size, in bytes.
    fn weight(&self) -> u32;

    /// What the value follows, if anything: once that is invalidated there is a newer one, which the nodes share. A cache
    /// that has others to ask then asks them; one that is alone has the newer one itself.
    fn follows(&self) -> Option<Tag> {
        None
    }

    /// The version of [`encode`](Self::encode), another one whenever it changes: nodes of several versions share a Redis
    /// while one is rolled out. `None` for values that never leave the process.
    const SCHEMA: Option<u16> = None;

    /// The value as bytes.
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The value that [`encode`](Self::encode) made these bytes of; `None` for any others.
    #[must_use]
    fn decode(_bytes: &[u8]) -> Option<Self> {
        None
    }
}

/// What a loader or a writer found out about a key.
#[derive(Debug, Clone)]
pub enum Loaded<V> {
    /// The key has a value.
    Found {
        /// The value.
        value: V,
        /// How long the value is fresh, counted from the start of the load, before jitter.
        fresh_for: Duration,
        /// How much longer it may be served, marked stale, while no fresh one can be had.
        stale_for: Duration,
        /// The groups that the value belongs to; invalidating any of them removes it.
        tags: Vec<Tag>,
    },
    /// The key has no value; believed for `cache.missing_ms`.
    Missing,
}

impl<V> Loaded<V> {
    /// A value without tags.
    pub fn found(value: V, fresh_for: Duration, stale_for: Duration) -> Self {
        Self::Found { value, fresh_for, stale_for, tags: Vec::new() }
    }
}

/// What a cache answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<V> {
    /// The key has this value.
    Found(Hit<V>),
    /// The key is known to have no value.
    Missing,
}

impl<V> Lookup<V> {
    /// The value with its times, if there is one.
    pub fn hit(self) -> Option<Hit<V>> {
        match self {
            Self::Found(hit) => Some(hit),
            Self::Missing => None,
        }
    }
}

/// A value with the times of its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<V> {
    /// The value.
    pub value: V,
    /// When the load that brought it began.
    pub created_at: Timestamp,
    /// Until when it is fresh.
    pub fresh_until: Timestamp,
    /// Until when it may be served at all.
    pub stale_until: Timestamp,
    /// Whether it was past `fresh_until` when it was served.
    pub stale: bool,
}

/// The right to write what a fetch finds, taken before the fetch begins.
///
/// A write whose ticket is older than an invalidation, or than the value in place, is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    pub(super) moment: Moment,
    /// The point of the nodes' clock that was known, if any was.
    pub(super) stamp: Option<Stamp>,
    /// In whole milliseconds, as all times that travel.
    pub(super) begun_at: Timestamp,
    pub(super) begun: Instant,
}

/// One kept answer. Shared between the tier and the callers of its load; only `retry_at` changes.
#[derive(Debug)]
pub(super) struct Entry<V> {
    /// `None`: the key is known to have no value.
    pub(super) value: Option<V>,
    /// The ticket's moment; invalidations after it revoke the entry.
    pub(super) moment: Moment,
    /// When this process loaded it, or found it in the shared tier: at the start of the flight that did.
    pub(super) seen_at: Timestamp,
    origin: Origin,
    pub(super) created_at: Timestamp,
    pub(super) fresh_until: Timestamp,
    pub(super) stale_until: Timestamp,
    pub(super) load_took: Duration,
    /// Of its key, its cache and its tags; a revocation of any of them kills the entry.
    pub(super) slots: Box<[Slot]>,
    /// What the value follows.
    pub(super) follows: Option<Slot>,
    /// Before this time (ms since 1970) no further load is attempted, because one has just failed.
    retry_at_ms: AtomicI64,
}

/// Where an entry was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    Elsewhere,
}

/// How long an answer may be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) fresh_for: Duration,
    pub(super) stale_for: Duration,
}

impl<V: CacheValue> Entry<V> {
    pub(super) fn new(
        ticket: Ticket,
        load_took: Duration,
        value: Option<V>,
        life: Lifetime,
        slots: Box<[Slot]>,
    ) -> Self {
        let fresh_until = later(ticket.begun_at, life.fresh_for);
        Self {
            follows: value.as_ref().and_then(V::follows).as_ref().map(Tag::slot),
            value,
            moment: ticket.moment,
            seen_at: ticket.begun_at,
            origin: Origin::Here,
            created_at: ticket.begun_at,
            fresh_until,
            stale_until: later(fresh_until, life.stale_for),
            load_took,
            slots,
            retry_at_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// What another node has loaded and the flight of `ticket` has found.
    pub(super) fn from_elsewhere(ticket: &Ticket, envelope: &Envelope, value: Option<V>, slots: Box<[Slot]>) -> Self {
        Self {
            follows: value.as_ref().and_then(V::follows).as_ref().map(Tag::slot),
            value,
            moment: ticket.moment,
            seen_at: ticket.begun_at,
            origin: Origin::Elsewhere,
            created_at: envelope.created_at,
            fresh_until: envelope.fresh_until,
            stale_until: envelope.stale_until,
            load_took: envelope.load_took,
            slots,
            retry_at_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// The entry as it travels. The slots of key and cache are not told: whoever finds it knows its key.
    pub(super) fn envelope(&self, stamp: Stamp, content: Content) -> Envelope {
        Envelope {
            stamp,
            created_at: self.created_at,
            fresh_until: self.fresh_until,
            stale_until: self.stale_until,
            load_took: self.load_took,
            tags: self.slots.iter().copied().filter(|slot| slots::is_tag(*slot)).collect(),
            content,
        }
    }

    /// Whether this was known later than `other`. Moments are exact, but say nothing about what was loaded elsewhere.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        match (self.origin, other.origin) {
            (Origin::Here, Origin::Here) => self.moment > other.moment,
            _ => self.created_at > other.created_at,
        }
    }

    /// Bytes, as counted against `cache.capacity_bytes`.
    pub(super) fn weight<K>(&self) -> u32 {
        // Three words a slot, a hash and the timer-wheel node of the map around it.
        const SLOT: usize = 128;
        let frame = size_of::<K>() + size_of::<Self>() + size_of_val(&*self.slots) + SLOT;
        let value = self.value.as_ref().map_or(0, CacheValue::weight);
        value.saturating_add(u32::try_from(frame).unwrap_or(u32::MAX))
    }

    /// How long the entry is worth its memory.
    pub(super) fn keep_for(&self) -> Duration {
        let lifetime = (self.stale_until - self.seen_at).to_std().unwrap_or_default();
        match self.origin {
            Origin::Here => lifetime.saturating_sub(self.load_took),
            Origin::Elsewhere => lifetime,
        }
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }

    /// What the entry answers.
    pub(super) fn lookup(&self, is_fresh: bool) -> Lookup<V> {
        match &self.value {
            None => Lookup::Missing,
            Some(value) => Lookup::Found(Hit {
                value: value.clone(),
                created_at: self.created_at,
                fresh_until: self.fresh_until,
                stale_until: self.stale_until,
                stale: !is_fresh,
            }),
        }
    }

    /// Puts off the next attempt to load, after one has failed.
    pub(super) fn retry_at(&self, at: Timestamp) {
        self.retry_at_ms.store(at.timestamp_millis(), Ordering::Relaxed);
    }

    pub(super) fn may_retry(&self, now: Timestamp) -> bool {
        now.timestamp_millis() >= self.retry_at_ms.load(Ordering::Relaxed)
    }
}

/// `from` plus `by` in whole milliseconds, stopping at the end of time.
pub(super) fn later(from: Timestamp, by: Duration) -> Timestamp {
    i64::try_from(by.as_millis())
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|delta| from.checked_add_signed(delta))
        .unwrap_or(Timestamp::MAX_UTC)
}
