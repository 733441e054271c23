//! The value cache: answers kept in memory and shared with other nodes, one load per key, invalidation that nothing
//! undoes.
//!
//! It owns the absolute times of entries, the flights under way and the logical clock of revocations; `shared/` owns what
//! travels between nodes. It must never serve a removed value, derive a lifetime from anything but the entry, make a
//! caller wait for Redis beyond a deadline, or let one caller's cancellation or panic reach another. A new way to be
//! invalidated is a kind of slot in `slots.rs`. Proven by `promises.rs` (promises 1–5 of docs/cache.md),
//! `interleavings.rs` (promise 1, seeded) and `two_nodes.rs` (promises 1, 2 and 6 over two nodes, seeded).

mod crossing;
mod entry;
mod flights;
mod lookups;
mod meters;
mod revocations;
mod settings;
mod shared;
mod slots;
mod tags;
mod tier;

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod two_nodes;

use std::{borrow::Cow, fmt, hash::Hash, sync::Arc, time::Duration};

use chrono::SubsecRound;
pub use entry::{CacheValue, Hit, Loaded, Lookup, Ticket};
use entry::{Entry, Lifetime};
use flights::Flights;
pub use lookups::Answers;
use meters::Meters;
use revocations::Moment;
pub use settings::CacheSettings;
use slots::Slot;
pub use tags::{Tag, Tags, UnknownCache};
use thiserror::Error;
use tier::Tier;
use tokio::sync::Semaphore;

use crate::model::{Chance, Clock, Timestamp};

/// A load that ended without its loader's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LoadLost {
    /// The loader panicked, or the process is shutting down.
    #[error("the load was interrupted")]
    Interrupted,
    /// The loader took longer than `cache.load_timeout_ms`.
    #[error("the load took too long")]
    TimedOut,
    /// The loader did not mention the key in its reply.
    #[error("the load did not answer for this key")]
    Unanswered,
    /// `cache.max_loads` loads were under way already.
    #[error("too many loads are under way")]
    Saturated,
}

/// What a cache needs of a key.
pub trait CacheKey: Hash + Eq + Clone + Send + Sync + 'static {
    /// Whether [`shared_name`](Self::shared_name) is a name that an operator knows and can type.
    const NAMED: bool = false;

    /// What the key is called between nodes and versions; different keys of a cache have different names.
    fn shared_name(&self) -> Cow<'_, str>;
}

impl CacheKey for Arc<str> {
    const NAMED: bool = true;

    fn shared_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

/// What a cache needs of its loaders' error: every caller of a flight gets a copy.
pub trait CacheError: Clone + From<LoadLost> + Send + Sync + 'static {}
impl<E: Clone + From<LoadLost> + Send + Sync + 'static> CacheError for E {}

/// A cache of `V` by `K`, whose loaders fail with `E`. Clones share everything.
#[derive(Debug)]
pub struct Cache<K, V, E>(Arc<Core<K, V, E>>);

impl<K, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Core<K, V, E> {
    name: &'static str,
    /// The slot that stands for the whole cache.
    slot: Slot,
    tier: Tier<K, V>,
    tags: Tags,
    flights: Flights<K, V, E>,
    loads: Arc<Semaphore>,
    settings: CacheSettings,
    clock: Clock,
    chance: Chance,
    meters: Meters,
}

impl<K, V, E> fmt::Debug for Core<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Cache<K, V, E> {
    /// An empty cache that shares `tags` with others. `name` labels its metrics.
    #[must_use]
    pub fn new(name: &'static str, settings: CacheSettings, tags: &Tags, clock: Clock, chance: Chance) -> Self {
        let loads = usize::try_from(settings.max_loads).unwrap_or(Semaphore::MAX_PERMITS);
        if K::NAMED {
            tags.name(name, tombstone::<V>(&settings));
        }
        Self(Arc::new(Core {
            name,
            slot: slots::of_cache(name),
            tier: Tier::memory(name, settings.max_weight),
            tags: tags.clone(),
            flights: Flights::new(),
            loads: Arc::new(Semaphore::new(loads.min(Semaphore::MAX_PERMITS))),
            settings,
            clock,
            chance,
            meters: Meters::new(name),
        }))
    }

    /// The value of `key` if a fresh one is at hand. Never loads.
    #[must_use]
    pub fn peek(&self, key: &K) -> Option<Hit<V>> {
        let now = self.0.clock.now();
        let lookup = self.0.usable(key, now).filter(|entry| self.0.is_fresh(entry, now))?.lookup(true);
        self.0.meters.answered(&lookup);
        lookup.hit()
    }

    /// The value of `key` if one may still be served, fresh or stale. Never loads, and counts as no lookup.
    #[must_use]
    pub fn last_known(&self, key: &K) -> Option<Hit<V>> {
        let now = self.0.clock.now();
        let entry = self.0.usable(key, now)?;
        entry.lookup(self.0.is_fresh(&entry, now)).hit()
    }

    /// Takes the ticket for a fetch that is about to begin, for [`put`](Self::put) afterwards.
    #[must_use]
    pub fn begin(&self) -> Ticket {
        self.0.begin()
    }

    /// Keeps what a fetch that began at `ticket` found, unless the key was invalidated or written by a later one since.
    /// When the returned future is ready, other nodes find it too, as far as they can be reached.
    pub async fn put(&self, ticket: Ticket, key: &K, loaded: Loaded<V>) {
        let entry = self.0.keep(ticket, key, loaded);
        self.0.publish(&ticket, vec![(key.clone(), entry)]).await;
    }

    /// The same for several keys that one fetch has found.
    pub async fn put_many(&self, ticket: Ticket, loaded: impl IntoIterator<Item = (K, Loaded<V>)>) {
        let keep = |(key, loaded): (K, _)| {
            let entry = self.0.keep(ticket, &key, loaded);
            (key, entry)
        };
        let kept = loaded.into_iter().map(keep).collect();
        self.0.publish(&ticket, kept).await;
    }

    /// Keeps what another node has found and told this one, as [`put`](Self::put) does, for this process only.
    pub fn put_here(&self, ticket: Ticket, key: &K, loaded: Loaded<V>) {
        self.0.keep(ticket, key, loaded);
    }

    /// Removes a key. Once this returns, nothing that began before is kept for it or served to later callers.
    pub async fn invalidate(&self, key: &K) {
        let name = key.shared_name();
        let revoked = self.0.tags.revoke_key(self.0.name, &name, tombstone::<V>(&self.0.settings));
        self.0.tier.remove(key);
        self.0.meters.invalidated();
        revoked.await;
    }

    /// Removes every value tagged `tag`, here and in every cache that shares its tags; see [`Tags::invalidate`].
    pub async fn invalidate_tag(&self, tag: &Tag) {
        self.0.meters.invalidated();
        self.0.tags.revoke(vec![tag.slot()]).await;
    }

    /// Removes everything.
    pub async fn clear(&self) {
        let revoked = self.0.tags.revoke(vec![self.0.slot]);
        self.0.tier.clear();
        self.0.meters.invalidated();
        revoked.await;
    }
}

impl<K: CacheKey, V: CacheValue, E> Core<K, V, E> {
    fn begin(&self) -> Ticket {
        Ticket {
            moment: self.tags.revocations().tick(),
            stamp: self.tags.shared().mirror.stamp(),
            begun_at: self.clock.now().trunc_subsecs(3),
            begun: self.clock.instant(),
        }
    }

    /// The entry for `key` if it may be served at `now`, fresh or stale.
    fn usable(&self, key: &K, now: Timestamp) -> Option<Arc<Entry<V>>> {
        self.tier.get(key).filter(|entry| now < entry.stale_until && self.is_current(entry))
    }

    fn is_current(&self, entry: &Entry<V>) -> bool {
        !self.tags.revocations().revoked(&entry.slots, entry.moment)
    }

    /// Whether what began at `moment` may no longer be kept or joined for `key`, whatever its tags.
    fn key_revoked(&self, key: &K, moment: Moment) -> bool {
        self.tags.revocations().revoked(&self.own_slots(key), moment)
    }

    /// What every entry of the key carries, whatever its tags.
    fn own_slots(&self, key: &K) -> [Slot; 2] {
        [slots::of_key(self.name, &key.shared_name()), self.slot]
    }

    /// Whether an entry counts as fresh: its own time is not over, and no revocation can have been missed since long.
    fn is_fresh(&self, entry: &Entry<V>, now: Timestamp) -> bool {
        entry.is_fresh(now) && self.tags.shared().mirror.vouches(entry.seen_at, now) && !self.is_superseded(entry)
    }

    /// Whether the nodes share a newer value, as what this one follows was invalidated since.
    fn is_superseded(&self, entry: &Entry<V>) -> bool {
        let Some(followed) = entry.follows else { return false };
        self.tags.revocations().revoked(&[followed], entry.moment) && self.is_shared()
    }

    /// Wraps `loaded` in its envelope and keeps it if it may be kept.
    fn keep(&self, ticket: Ticket, key: &K, loaded: Loaded<V>) -> Arc<Entry<V>> {
        let took = self.clock.instant().saturating_duration_since(ticket.begun);
        let (value, fresh_for, stale_for, tags) = match loaded {
            Loaded::Found { value, fresh_for, stale_for, tags } => (Some(value), fresh_for, stale_for, tags),
            Loaded::Missing => (None, self.settings.negative_for, Duration::ZERO, Vec::new()),
        };
        let slots = self.own_slots(key).into_iter().chain(tags.iter().map(Tag::slot)).collect();
        let life = Lifetime { fresh_for: self.chance.spread(fresh_for, self.settings.jitter), stale_for };
        let entry = Arc::new(Entry::new(ticket, took, value, life, slots));
        self.tier.keep(key, &entry, self.tags.revocations());
        self.meters.sized(self.tier.size());
        entry
    }
}

/// How long a tombstone stays: until every load that began before it must have ended. `None` where nothing travels.
fn tombstone<V: CacheValue>(settings: &CacheSettings) -> Option<Duration> {
    (settings.shared && V::SCHEMA.is_some()).then_some(settings.load_timeout * 2)
}
