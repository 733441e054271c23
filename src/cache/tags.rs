//! What all caches of the process share: the ways to invalidate across caches and nodes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use thiserror::Error;

use super::{
    revocations::Revocations,
    shared::{SharedTier, Stamp},
    slots::{self, Slot},
};
use crate::{
    config::CacheConfig,
    store::{Redis, RedisParts},
};

/// The name of a group of values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(pub Arc<str>);

impl Tag {
    pub(super) fn slot(&self) -> Slot {
        slots::of_tag(&self.0)
    }
}

/// The tags of one or more caches: invalidating one removes its values from all of them. Clones share everything.
#[derive(Debug, Clone)]
pub struct Tags(Arc<Common>);

#[derive(Debug)]
struct Common {
    revocations: Arc<Revocations>,
    shared: Arc<SharedTier>,
    /// Caches whose keys are names that an operator can type, with the lifetime of their tombstones.
    named: Mutex<BTreeMap<&'static str, Option<Duration>>>,
}

/// A cache that is not there, or whose keys cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no such cache; those with names for keys are: {}", known.join(", "))]
pub struct UnknownCache {
    /// The caches whose keys can be named.
    pub known: Vec<&'static str>,
}

impl Default for Tags {
    fn default() -> Self {
        Self::new()
    }
}

impl Tags {
    /// Tags of this process only, of which none has been invalidated.
    #[must_use]
    pub fn new() -> Self {
        let revocations = Arc::new(Revocations::new());
        Self::with(SharedTier::none(Arc::clone(&revocations)), revocations)
    }

    /// Tags that all nodes share which use the same Redis. Must be called inside a tokio runtime.
    #[must_use]
    pub fn shared_by(redis: &Redis, config: &CacheConfig, parts: &RedisParts) -> Self {
        let revocations = Arc::new(Revocations::new());
        let shared = SharedTier::redis(redis, config, Arc::clone(&revocations), parts.clock.clone());
        let tags = Self::with(shared, revocations);
        let reconcile_every = Duration::from_millis(config.reconcile_ms);
        let follow = Arc::clone(tags.shared()).follow(parts.clock.clone(), reconcile_every);
        let stop = parts.stop.clone();
        parts.tasks.spawn(async move { stop.run_until_cancelled_owned(follow).await });
        tags
    }

    pub(super) fn with(shared: SharedTier, revocations: Arc<Revocations>) -> Self {
        Self(Arc::new(Common { revocations, shared: Arc::new(shared), named: Mutex::default() }))
    }

    /// Removes every value that has one of these tags from every cache that shares them. "Missing" answers carry no tags
    /// and stay.
    ///
    /// In this process that has happened when the call returns its future; elsewhere, as far as the other nodes can be
    /// reached, when the future is ready.
    pub fn invalidate<'t>(&'t self, tags: &[Tag]) -> impl Future<Output = ()> + Send + use<'t> {
        let revoked = self.revoke(tags.iter().map(Tag::slot).collect());
        async move {
            revoked.await;
        }
    }

    /// The same for this process only, for what the other nodes learn in another way.
    pub fn invalidate_here(&self, tags: &[Tag]) {
        for tag in tags {
            self.0.revocations.revoke(tag.slot());
        }
    }

    /// The caches whose keys can be named.
    #[must_use]
    pub fn named_caches(&self) -> Vec<&'static str> {
        self.0.named.lock().keys().copied().collect()
    }

    /// Removes one key, by its name, from one cache.
    ///
    /// # Errors
    /// A cache that is unknown, or whose keys have no names.
    pub async fn invalidate_key(&self, cache: &str, key: &str) -> Result<(), UnknownCache> {
        let named = self.0.named.lock().clone();
        let Some(tombstone) = named.get(cache) else {
            return Err(UnknownCache { known: named.into_keys().collect() });
        };
        self.revoke_key(cache, key, *tombstone).await;
        Ok(())
    }

    pub(super) fn revocations(&self) -> &Arc<Revocations> {
        &self.0.revocations
    }

    /// Makes a cache known to [`invalidate_key`](Self::invalidate_key).
    pub(super) fn name(&self, cache: &'static str, tombstone: Option<Duration>) {
        self.0.named.lock().insert(cache, tombstone);
    }

    pub(super) fn shared(&self) -> &Arc<SharedTier> {
        &self.0.shared
    }

    /// Revokes in this process at once, and elsewhere when the future is driven.
    pub(super) fn revoke(&self, slots: Vec<Slot>) -> impl Future<Output = Option<Stamp>> {
        self.0.shared.revoke(slots)
    }

    /// The same for a key, whose value is also replaced by a tombstone of this lifetime, if there is one.
    pub(super) fn revoke_key(&self, cache: &str, key: &str, tombstone: Option<Duration>) -> impl Future<Output = ()> {
        let revoked = self.revoke(vec![slots::of_key(cache, key)]);
        async move {
            if let (Some(stamp), Some(keep)) = (revoked.await, tombstone) {
                let name = self.0.shared.remote.name(cache, key);
                self.0.shared.bury(&name, stamp, keep).await;
            }
        }
    }
}
