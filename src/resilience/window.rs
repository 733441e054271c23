//! The rolling window: what happened lately, forgotten a bucket at a time.

use std::time::Duration;

use super::{Counts, Latency, latency::Durations};
use crate::model::Instant;

/// How a finished try is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tally {
    Success,
    Failure,
    /// A failure, and counted as a timeout too.
    Timeout,
}

/// A ring of buckets over the last while. Rotation is by the clock it is handed, so no timer runs.
#[derive(Debug)]
pub(super) struct Window {
    buckets: Box<[Bucket]>,
    current: usize,
    current_ends: Instant,
    bucket_length: Duration,
}

#[derive(Debug, Clone)]
struct Bucket {
    counts: Counts,
    durations: Durations,
}

impl Window {
    pub(super) fn new(now: Instant, length: Duration, buckets: usize) -> Self {
        let buckets = buckets.max(1);
        let shares = u32::try_from(buckets).unwrap_or(u32::MAX);
        let bucket_length = (length / shares).max(Duration::from_nanos(1));
        let empty = Bucket { counts: Counts::default(), durations: Durations::new() };
        Self { buckets: vec![empty; buckets].into(), current: 0, current_ends: now + bucket_length, bucket_length }
    }

    pub(super) fn record(&mut self, now: Instant, tally: Tally, took: Duration) {
        let bucket = self.bucket(now);
        bucket.counts.record(tally);
        bucket.durations.record(took);
    }

    pub(super) fn record_reject(&mut self, now: Instant) {
        self.bucket(now).counts.rejects += 1;
    }

    pub(super) fn record_saturated(&mut self, now: Instant) {
        self.bucket(now).counts.saturated += 1;
    }

    pub(super) fn counts(&mut self, now: Instant) -> Counts {
        self.turn(now);
        self.buckets.iter().fold(Counts::default(), |sum, bucket| sum.plus(&bucket.counts))
    }

    pub(super) fn latency(&mut self, now: Instant) -> Latency {
        self.turn(now);
        let mut all = Durations::new();
        for bucket in &self.buckets {
            all.add(&bucket.durations);
        }
        all.summary()
    }

    pub(super) fn clear(&mut self) {
        self.buckets.iter_mut().for_each(Bucket::clear);
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        self.turn(now);
        &mut self.buckets[self.current]
    }

    /// Moves on to the bucket of `now`, and empties those that were passed.
    fn turn(&mut self, now: Instant) {
        if now < self.current_ends {
            return;
        }
        let late = now.duration_since(self.current_ends).as_nanos();
        let steps = late / self.bucket_length.as_nanos() + 1;
        let past_all = self.buckets.len() as u128;
        for _ in 0..steps.min(past_all) {
            self.current = (self.current + 1) % self.buckets.len();
            self.buckets[self.current].clear();
        }
        // Ends stay on the grid of the first bucket, as long as the machine was not asleep for half a lifetime.
        let into_bucket = Duration::from_nanos(u64::try_from(late % self.bucket_length.as_nanos()).unwrap_or(0));
        self.current_ends = now + self.bucket_length.saturating_sub(into_bucket);
    }
}

impl Bucket {
    fn clear(&mut self) {
        self.counts = Counts::default();
        self.durations.clear();
    }
}

impl Counts {
    pub(super) fn record(&mut self, tally: Tally) {
        match tally {
            Tally::Success => self.successes += 1,
            Tally::Failure => self.failures += 1,
            Tally::Timeout => {
                self.failures += 1;
                self.timeouts += 1;
            }
        }
    }

    /// Tries that ended, the denominator of the failure share.
    pub(super) fn finished(&self) -> u64 {
        self.successes + self.failures
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            successes: self.successes + other.successes,
            failures: self.failures + other.failures,
            timeouts: self.timeouts + other.timeouts,
            rejects: self.rejects + other.rejects,
            saturated: self.saturated + other.saturated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Clock;

    const TOOK: Duration = Duration::from_millis(3);

    #[test]
    fn the_window_forgets_a_bucket_at_a_time() {
        let start = Clock::system().instant();
        let at = |millis| start + Duration::from_millis(millis);
        let mut window = Window::new(start, Duration::from_secs(10), 10);
        window.record(at(0), Tally::Success, TOOK);
        window.record(at(999), Tally::Failure, TOOK);
        window.record(at(1_000), Tally::Timeout, TOOK);
        assert_eq!(window.counts(at(9_999)), Counts { successes: 1, failures: 2, timeouts: 1, ..Counts::default() });
        assert_eq!(window.counts(at(10_000)), Counts { failures: 1, timeouts: 1, ..Counts::default() });
        assert_eq!(window.counts(at(11_000)), Counts::default());
    }

    #[test]
    fn a_long_silence_empties_every_bucket_and_keeps_the_grid() {
        let start = Clock::system().instant();
        let at = |millis| start + Duration::from_millis(millis);
        let mut window = Window::new(start, Duration::from_secs(1), 10);
        for millis in 0..1_000 {
            window.record(at(millis), Tally::Failure, TOOK);
        }
        assert_eq!(window.counts(at(86_400_050)), Counts::default());
        window.record(at(86_400_099), Tally::Success, TOOK);
        assert_eq!(window.counts(at(86_401_099)), Counts::default(), "its bucket ended at 86400100, nine followed");
        assert_eq!(window.latency(at(86_401_099)), Latency::default());
    }

    #[test]
    fn a_clear_forgets_counts_and_durations() {
        let now = Clock::system().instant();
        let mut window = Window::new(now, Duration::from_secs(1), 10);
        window.record(now, Tally::Failure, TOOK);
        window.record_reject(now);
        window.record_saturated(now);
        assert_eq!(window.counts(now), Counts { failures: 1, rejects: 1, saturated: 1, ..Counts::default() });
        assert_eq!(window.latency(now).mean, TOOK);
        window.clear();
        assert_eq!((window.counts(now), window.latency(now)), (Counts::default(), Latency::default()));
    }
}
