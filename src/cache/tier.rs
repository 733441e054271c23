//! Where answers are kept in this process; `shared/` is where nodes keep them for each other.
//!
//! Writing and removing go through the same per-key lock, so that a write that began before a removal either is
//! removed by it or sees it and gives up. Expiry here only frees memory; the envelope alone decides what is served.

use std::{hash::Hash, sync::Arc, time::Duration};

use moka::{Expiry, ops::compute::Op, sync::Cache as Memory};

use super::{
    entry::{CacheValue, Entry},
    revocations::Revocations,
};

/// Bounded by weight.
pub(super) struct Tier<K, V>(pub(super) Memory<K, Arc<Entry<V>>>);

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: CacheValue> Tier<K, V> {
    pub(super) fn memory(name: &'static str, capacity_bytes: u64) -> Self {
        Self(
            Memory::builder()
                .name(name)
                .max_capacity(capacity_bytes)
                .weigher(|_, entry: &Arc<Entry<V>>| entry.weight::<K>())
                .expire_after(AtItsEnd)
                .build(),
        )
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<Entry<V>>> {
        self.0.get(key)
    }

    /// Keeps `entry` unless one of its slots was revoked, or a later load or write was kept, since it began.
    pub(super) fn keep(&self, key: &K, entry: &Arc<Entry<V>>, revocations: &Revocations) {
        self.0.entry_by_ref(key).and_compute_with(|present| {
            let overtaken = present.is_some_and(|present| present.value().is_later_than(entry));
            if overtaken || revocations.revoked(&entry.slots, entry.moment) { Op::Nop } else { Op::Put(entry.clone()) }
        });
    }

    /// Removes the key, after it was revoked.
    pub(super) fn remove(&self, key: &K) {
        self.0.entry_by_ref(key).and_compute_with(|_| Op::Remove);
    }

    /// Frees everything, after everything was revoked.
    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }

    /// Entries and their bytes, as of the last housekeeping.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.0.entry_count(), self.0.weighted_size())
    }
}

/// Frees an entry when it could no longer be served.
struct AtItsEnd;

impl<K, V: CacheValue> Expiry<K, Arc<Entry<V>>> for AtItsEnd {
    fn expire_after_create(&self, _: &K, entry: &Arc<Entry<V>>, _: std::time::Instant) -> Option<Duration> {
        Some(entry.keep_for())
    }

    fn expire_after_update(
        &self,
        _: &K,
        entry: &Arc<Entry<V>>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.keep_for())
    }
}
