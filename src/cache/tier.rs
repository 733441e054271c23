//! Where answers are kept: memory now; a tier that other nodes share becomes a second variant.
//!
//! Writing and removing go through the same per-key lock, so that a write that began before a removal either is
//! removed by it or sees it and gives up. Expiry here only frees memory; the envelope alone decides what is served.

use std::{hash::Hash, sync::Arc, time::Duration};

use moka::{Expiry, ops::compute::Op, sync::Cache as Memory};

use super::{
    entry::{CacheValue, Entry},
    revocations::Revocations,
};

pub(super) enum Tier<K, V> {
    /// This process only, bounded by weight.
    Memory(Memory<K, Arc<Entry<V>>>),
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: CacheValue> Tier<K, V> {
    pub(super) fn memory(name: &'static str, capacity_bytes: u64) -> Self {
        Self::Memory(
            Memory::builder()
                .name(name)
                .max_capacity(capacity_bytes)
                .weigher(|_, entry: &Arc<Entry<V>>| entry.weight::<K>())
                .expire_after(AtItsEnd)
                .build(),
        )
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<Entry<V>>> {
        let Self::Memory(memory) = self;
        memory.get(key)
    }

    /// Keeps `entry` unless its key was revoked, or a later load or write was kept, since it began.
    pub(super) fn keep(&self, key: &K, entry: &Arc<Entry<V>>, revocations: &Revocations) {
        let Self::Memory(memory) = self;
        memory.entry_by_ref(key).and_compute_with(|present| {
            let overtaken = present.is_some_and(|present| present.value().moment > entry.moment);
            if overtaken || revocations.key_revoked(key, entry.moment) { Op::Nop } else { Op::Put(entry.clone()) }
        });
    }

    /// Removes the key, after it was revoked.
    pub(super) fn remove(&self, key: &K) {
        let Self::Memory(memory) = self;
        memory.entry_by_ref(key).and_compute_with(|_| Op::Remove);
    }

    /// Frees everything, after everything was revoked.
    pub(super) fn clear(&self) {
        let Self::Memory(memory) = self;
        memory.invalidate_all();
    }

    /// Entries and their bytes, as of the last housekeeping.
    pub(super) fn size(&self) -> (u64, u64) {
        let Self::Memory(memory) = self;
        (memory.entry_count(), memory.weighted_size())
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
