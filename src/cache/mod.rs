//! The value cache: answers kept in memory, one load per key, invalidation that nothing undoes.
//!
//! It owns the envelope's absolute times, the flights under way and the logical clock of invalidations. It must never
//! serve a removed value, derive a lifetime from anything but its envelope, or let one caller's cancellation or panic
//! reach another. The next tier (shared between nodes) is a variant in `tier.rs`; a new way to be invalidated goes to
//! `revocations.rs`. Proven by `promises.rs` (promises 1–5 of docs/cache.md) and `interleavings.rs` (promise 1, seeded).

mod entry;
mod flights;
mod lookups;
mod meters;
mod revocations;
mod settings;
mod tags;
mod tier;

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod promises;

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

pub use entry::{CacheValue, Hit, Loaded, Lookup, Ticket};
use entry::{Entry, Lifetime};
use flights::Flights;
pub use lookups::Answers;
use meters::Meters;
use revocations::Revocations;
pub use settings::CacheSettings;
pub use tags::{Tag, Tags};
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
pub trait CacheKey: Hash + Eq + Clone + Send + Sync + 'static {}
impl<K: Hash + Eq + Clone + Send + Sync + 'static> CacheKey for K {}

/// What a cache needs of its loaders' error: every caller of a flight gets a copy.
pub trait CacheError: Clone + From<LoadLost> + Send + Sync + 'static {}
impl<E: Clone + From<LoadLost> + Send + Sync + 'static> CacheError for E {}

/// A cache of `V` by `K`, whose loaders fail with `E`. Clones share everything.
#[derive(Debug)]
pub struct Cache<K, V, E>(Arc<Shared<K, V, E>>);

impl<K, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<K, V, E> {
    name: &'static str,
    tier: Tier<K, V>,
    revocations: Revocations,
    flights: Flights<K, V, E>,
    loads: Arc<Semaphore>,
    settings: CacheSettings,
    clock: Clock,
    chance: Chance,
    meters: Meters,
}

impl<K, V, E> fmt::Debug for Shared<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Cache<K, V, E> {
    /// An empty cache that shares `tags` with others. `name` labels its metrics.
    #[must_use]
    pub fn new(name: &'static str, settings: CacheSettings, tags: &Tags, clock: Clock, chance: Chance) -> Self {
        let loads = usize::try_from(settings.max_loads).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            name,
            tier: Tier::memory(name, settings.max_weight),
            revocations: Revocations::new(tags.clone()),
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
        let lookup = self.0.usable(key, now).filter(|entry| entry.is_fresh(now))?.lookup(now);
        self.0.meters.answered(&lookup);
        lookup.hit()
    }

    /// The value of `key` if one may still be served, fresh or stale. Never loads, and counts as no lookup.
    #[must_use]
    pub fn last_known(&self, key: &K) -> Option<Hit<V>> {
        let now = self.0.clock.now();
        self.0.usable(key, now)?.lookup(now).hit()
    }

    /// Takes the ticket for a fetch that is about to begin, for [`put`](Self::put) afterwards.
    #[must_use]
    pub fn begin(&self) -> Ticket {
        self.0.begin()
    }

    /// Keeps what a fetch that began at `ticket` found, unless the key was invalidated or written by a later one since.
    #[expect(clippy::unused_async, reason = "the tier that other nodes share is reached over the network")]
    pub async fn put(&self, ticket: Ticket, key: &K, loaded: Loaded<V>) {
        self.0.keep(ticket, key, loaded);
    }

    /// Removes a key. Once this returns, nothing that began before is kept for it or served to later callers.
    #[expect(clippy::unused_async, reason = "the tier that other nodes share is reached over the network")]
    pub async fn invalidate(&self, key: &K) {
        self.0.revocations.revoke_key(key);
        self.0.tier.remove(key);
        self.0.meters.invalidated();
    }

    /// Removes every value tagged `tag`, here and in every cache that shares its tags; see [`Tags::invalidate`].
    #[expect(clippy::unused_async, reason = "the tier that other nodes share is reached over the network")]
    pub async fn invalidate_tag(&self, tag: &Tag) {
        self.0.revocations.tags.invalidate(tag);
        self.0.meters.invalidated();
    }

    /// Removes everything.
    #[expect(clippy::unused_async, reason = "the tier that other nodes share is reached over the network")]
    pub async fn clear(&self) {
        self.0.revocations.revoke_everything();
        self.0.tier.clear();
        self.0.meters.invalidated();
    }
}

impl<K: CacheKey, V: CacheValue, E> Shared<K, V, E> {
    fn begin(&self) -> Ticket {
        Ticket { moment: self.revocations.tick(), begun_at: self.clock.now(), begun: self.clock.instant() }
    }

    /// The entry for `key` if it may be served at `now`, fresh or stale.
    fn usable(&self, key: &K, now: Timestamp) -> Option<Arc<Entry<V>>> {
        self.tier.get(key).filter(|entry| now < entry.stale_until && self.is_current(entry))
    }

    fn is_current(&self, entry: &Entry<V>) -> bool {
        !self.revocations.entry_revoked(&entry.tags, entry.moment)
    }

    /// Wraps `loaded` in its envelope and keeps it if it may be kept.
    fn keep(&self, ticket: Ticket, key: &K, loaded: Loaded<V>) -> Arc<Entry<V>> {
        let took = self.clock.instant().saturating_duration_since(ticket.begun);
        let (value, fresh_for, stale_for, tags) = match loaded {
            Loaded::Found { value, fresh_for, stale_for, tags } => (Some(value), fresh_for, stale_for, tags),
            Loaded::Missing => (None, self.settings.negative_for, Duration::ZERO, Vec::new()),
        };
        let life = Lifetime { fresh_for: self.chance.spread(fresh_for, self.settings.jitter), stale_for };
        let entry = Arc::new(Entry::new(ticket, took, value, life, self.revocations.tags.slots(&tags)));
        self.tier.keep(key, &entry, &self.revocations);
        self.meters.sized(self.tier.size());
        entry
    }
}
