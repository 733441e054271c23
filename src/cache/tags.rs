//! Groups of values that are removed together, and the logical clock by which everything is judged.
//!
//! Every load, write and invalidation takes a unique moment from one counter. An entry remembers the moment at which
//! its load began, and is dead once any of its tags was invalidated after it; so tags may become known only when the
//! load returns. Wall time plays no part: no skew or step of a clock can bring a removed value back.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    iter,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A point on the logical clock.
pub(super) type Moment = u64;

/// The place of a tag's latest invalidation.
pub(super) type TagSlot = u16;

/// The name of a group of values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(pub Arc<str>);

/// The tags of one or more caches: invalidating one removes its values from all of them. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Tags(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    clock: AtomicU64,
    latest: AtomicU64,
    slots: MomentTable,
}

impl Tags {
    /// Tags of which none has been invalidated.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes every value tagged `tag` from every cache that shares these tags, at the cost of one counter. "Missing"
    /// answers carry no tags and stay.
    pub fn invalidate(&self, tag: &Tag) {
        let moment = self.tick();
        self.0.slots.raise(tag, moment);
        self.0.latest.fetch_max(moment, Ordering::SeqCst);
    }

    /// A new moment, later than all before it.
    pub(super) fn tick(&self) -> Moment {
        self.0.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Whether any tag at all was invalidated after `moment`.
    pub(super) fn any_invalidated(&self, moment: Moment) -> bool {
        self.0.latest.load(Ordering::SeqCst) > moment
    }

    /// Whether one of these was invalidated after `moment`.
    pub(super) fn invalidated(&self, slots: &[TagSlot], moment: Moment) -> bool {
        slots.iter().any(|slot| self.0.slots.at(usize::from(*slot)) > moment)
    }

    pub(super) fn slots(&self, tags: &[Tag]) -> Box<[TagSlot]> {
        let slot = |tag| TagSlot::try_from(self.0.slots.slot(tag)).expect("there are fewer slots than 2^16");
        tags.iter().map(slot).collect()
    }
}

/// When names were last invalidated, by hash in a table of fixed size, so that any number of names takes the same
/// memory. Two names that share a slot are invalidated together, which costs a load and nothing else.
#[derive(Debug)]
pub(super) struct MomentTable {
    moments: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for MomentTable {
    fn default() -> Self {
        Self { moments: iter::repeat_with(AtomicU64::default).take(Self::SLOTS).collect(), hasher: RandomState::new() }
    }
}

impl MomentTable {
    /// 32 KiB: under 1,000 invalidations of keys a second, one load of 100 ms in forty is not kept for another's sake.
    const SLOTS: usize = 4_096;

    pub(super) fn raise<T: Hash>(&self, name: &T, moment: Moment) {
        self.moments[self.slot(name)].fetch_max(moment, Ordering::SeqCst);
    }

    pub(super) fn of<T: Hash>(&self, name: &T) -> Moment {
        self.at(self.slot(name))
    }

    fn at(&self, slot: usize) -> Moment {
        self.moments[slot].load(Ordering::SeqCst)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are as good as all")]
    fn slot<T: Hash>(&self, name: &T) -> usize {
        self.hasher.hash_one(name) as usize % Self::SLOTS
    }
}
