//! Leaving Redis alone for a moment: a lane that has failed several times in a row stops trying, but for a probe.
//!
//! Counted by segments of the slots, so that one dead master of a cluster does not shut out the others. A new connection
//! is a clean slate.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use super::partition::{PARTITIONS, SLOTS};

/// Failures in a row that shut a segment.
const PATIENCE: u32 = 3;
/// Time between two probes of a segment that is shut.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct CoolOff {
    segments: Box<[Segment]>,
    /// The connection that the counts are about.
    connection: AtomicU64,
}

#[derive(Debug, Default)]
struct Segment {
    failures: AtomicU32,
    /// When the next probe may go, in milliseconds of the process; 0 while the segment is open.
    shut_until: AtomicU64,
}

impl CoolOff {
    pub(super) fn new() -> Self {
        let segments = std::iter::repeat_with(Segment::default).take(usize::from(PARTITIONS)).collect();
        Self { segments, connection: AtomicU64::new(0) }
    }

    /// Whether a command to this slot may go at `now`. While the segment is shut, one in every pause may.
    pub(super) fn admits(&self, slot: u16, connection: u64, now: Duration) -> bool {
        // Read first: every command of every core comes by here.
        let is_new = self.connection.load(Ordering::Relaxed) != connection;
        if is_new && self.connection.swap(connection, Ordering::Relaxed) != connection {
            self.segments.iter().for_each(Segment::open);
        }
        let segment = self.segment(slot);
        let until = segment.shut_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = millis(now);
        let next = now.saturating_add(millis(PAUSE));
        now >= until && segment.shut_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn succeeded(&self, slot: u16) {
        self.segment(slot).open();
    }

    pub(super) fn failed(&self, slot: u16, now: Duration) {
        let segment = self.segment(slot);
        if segment.failures.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE {
            segment.shut_until.store(millis(now + PAUSE), Ordering::Relaxed);
        }
    }

    fn segment(&self, slot: u16) -> &Segment {
        &self.segments[usize::from(slot) * usize::from(PARTITIONS) / usize::from(SLOTS)]
    }
}

impl Segment {
    fn open(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.shut_until.store(0, Ordering::Relaxed);
        }
    }
}

/// Never 0, which says that a segment is open.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn after_three_failures_in_a_row_only_probes_go_until_one_succeeds() {
        let cool_off = CoolOff::new();
        for failures in 0..3 {
            assert!(cool_off.admits(7, 1, at(0)), "{failures} failures");
            cool_off.failed(7, at(0));
        }
        let mut admitted = Vec::new();
        for now in (0..1_000).step_by(50) {
            if cool_off.admits(7, 1, at(now)) {
                admitted.push(now);
                cool_off.failed(7, at(now));
            }
        }
        assert_eq!(admitted, [250, 500, 750]);
        assert!(cool_off.admits(7, 1, at(1_000)) && !cool_off.admits(7, 1, at(1_000)), "one probe at a time");
        cool_off.succeeded(7);
        assert!(cool_off.admits(7, 1, at(1_000)) && cool_off.admits(7, 1, at(1_000)));
    }

    #[test]
    fn successes_in_between_start_the_count_afresh() {
        let cool_off = CoolOff::new();
        for _ in 0..10 {
            cool_off.failed(0, at(0));
            cool_off.failed(0, at(0));
            cool_off.succeeded(0);
        }
        assert!(cool_off.admits(0, 0, at(0)));
    }

    #[test]
    fn other_segments_and_other_connections_are_not_to_blame() {
        let cool_off = CoolOff::new();
        assert!(cool_off.admits(0, 1, at(0)));
        for _ in 0..3 {
            cool_off.failed(0, at(0));
        }
        assert!(!cool_off.admits(511, 1, at(0)) && cool_off.admits(512, 1, at(0)));
        assert!(cool_off.admits(0, 2, at(0)));
    }
}
