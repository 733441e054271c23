//! What was revoked in this process, and the logical clock by which that is judged.
//!
//! Every load, write and invalidation takes a unique moment from one counter. An entry remembers the moment at which
//! its load began, and is dead once any of its slots was revoked after it; so tags may become known only when the load
//! returns. Wall time plays no part: no skew or step of a clock can bring a removed value back. Revocations that come
//! from other nodes take a moment here too; the clock that the nodes share is `shared/`'s.

use std::{
    iter,
    sync::atomic::{AtomicU64, Ordering},
};

use super::slots::{self, SLOTS, Slot};

/// A point on the logical clock.
pub(super) type Moment = u64;

/// When each slot was last revoked.
#[derive(Debug)]
pub(super) struct Revocations {
    clock: AtomicU64,
    latest_tag: AtomicU64,
    slots: Box<[AtomicU64]>,
}

impl Revocations {
    pub(super) fn new() -> Self {
        let slots = iter::repeat_with(AtomicU64::default).take(SLOTS).collect();
        Self { clock: AtomicU64::default(), latest_tag: AtomicU64::default(), slots }
    }

    /// A new moment, later than all before it.
    pub(super) fn tick(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Kills what began before now under this slot.
    pub(super) fn revoke(&self, slot: Slot) {
        let moment = self.tick();
        self.slots[usize::from(slot)].fetch_max(moment, Ordering::SeqCst);
        if slots::is_tag(slot) {
            self.latest_tag.fetch_max(moment, Ordering::SeqCst);
        }
    }

    /// Kills all that began before now.
    pub(super) fn revoke_everything(&self) {
        for slot in slots::of_everything() {
            self.revoke(slot);
        }
    }

    /// Whether one of the slots was revoked after `moment`.
    pub(super) fn revoked(&self, slots: &[Slot], moment: Moment) -> bool {
        slots.iter().any(|slot| self.slots[usize::from(*slot)].load(Ordering::SeqCst) > moment)
    }

    /// Whether any tag at all was revoked after `moment`.
    pub(super) fn any_tag_revoked(&self, moment: Moment) -> bool {
        self.latest_tag.load(Ordering::SeqCst) > moment
    }
}
