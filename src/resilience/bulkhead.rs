//! How many calls to one upstream may be under way at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Refuses, never queues: a queue in front of a slow upstream only makes more callers wait.
#[derive(Debug)]
pub(super) struct Bulkhead {
    in_flight: AtomicUsize,
    capacity: usize,
}

/// A place inside; dropping it, however the call ended, makes room.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Bulkhead);

impl Bulkhead {
    pub(super) fn new(capacity: usize) -> Self {
        Self { in_flight: AtomicUsize::new(0), capacity }
    }

    /// A place, unless all are taken.
    pub(super) fn enter(&self) -> Option<Slot<'_>> {
        let below_capacity = |taken| (taken < self.capacity).then_some(taken + 1);
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, below_capacity).ok().map(|_| Slot(self))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_dropped() {
        let bulkhead = Bulkhead::new(2);
        let first = bulkhead.enter();
        let second = bulkhead.enter();
        assert!(first.is_some() && second.is_some() && bulkhead.enter().is_none());
        drop(first);
        assert_eq!(bulkhead.in_flight(), 1);
        assert!(bulkhead.enter().is_some());
    }
}
