//! What was invalidated in one cache: keys, tags, everything.

use std::{
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use super::tags::{Moment, MomentTable, TagSlot, Tags};

#[derive(Debug)]
pub(super) struct Revocations {
    pub(super) tags: Tags,
    keys: MomentTable,
    everything: AtomicU64,
}

impl Revocations {
    pub(super) fn new(tags: Tags) -> Self {
        Self { tags, keys: MomentTable::default(), everything: AtomicU64::new(0) }
    }

    /// A new moment, later than all before it.
    pub(super) fn tick(&self) -> Moment {
        self.tags.tick()
    }

    pub(super) fn revoke_key<K: Hash>(&self, key: &K) {
        self.keys.raise(key, self.tick());
    }

    pub(super) fn revoke_everything(&self) {
        self.everything.fetch_max(self.tick(), Ordering::SeqCst);
    }

    /// Whether what began at `moment` may no longer be kept or joined for `key`.
    pub(super) fn key_revoked<K: Hash>(&self, key: &K, moment: Moment) -> bool {
        self.keys.of(key) > moment || self.everything_revoked(moment)
    }

    /// Whether what is kept since `moment` under these tags may no longer be served. Keys are not asked about: their
    /// entries are removed.
    pub(super) fn entry_revoked(&self, tags: &[TagSlot], moment: Moment) -> bool {
        self.everything_revoked(moment) || self.tags.invalidated(tags, moment)
    }

    fn everything_revoked(&self, moment: Moment) -> bool {
        self.everything.load(Ordering::SeqCst) > moment
    }
}
