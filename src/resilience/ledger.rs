//! The breaker's books, and the rule by which they trip it: opossum's thresholds as a failure policy of `failsafe`.
//!
//! The epoch lives here because it changes exactly when the rule fires or the books are cleared, under the same
//! lock as the books; so a result is either counted in the epoch it belongs to or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use failsafe::FailurePolicy;
use parking_lot::Mutex;

use super::{
    BreakerOptions, Counts, Latency,
    window::{Tally, Window},
};
use crate::model::Instant;

/// Which stretch of the breaker's life a call belongs to. Even: calls go through. Odd: they need the gate's leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Epoch {
    /// Whether calls of this epoch go through without asking.
    pub(super) fn is_passing(self) -> bool {
        self.0.is_multiple_of(2)
    }

    fn next(self, passing: bool) -> Self {
        if self.is_passing() == passing { Self(self.0 + 2) } else { Self(self.0 + 1) }
    }
}

/// How and when a try ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    pub(super) at: Instant,
    pub(super) took: Duration,
    pub(super) tally: Tally,
}

#[derive(Debug)]
pub(super) struct Ledger {
    epoch: AtomicU64,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    window: Window,
    total: Counts,
    /// The result that `failsafe` is being told about; its own callbacks carry no arguments.
    reported: Finish,
    may_trip: bool,
    threshold_percentage: u64,
    volume_threshold: u64,
    warm_at: Instant,
}

impl Ledger {
    pub(super) fn new(options: &BreakerOptions, now: Instant) -> Self {
        let warm_up = if options.allow_warm_up { options.rolling_count_timeout } else { Duration::ZERO };
        let books = Books {
            window: Window::new(now, options.rolling_count_timeout, options.rolling_count_buckets),
            total: Counts::default(),
            reported: Finish { at: now, took: Duration::ZERO, tally: Tally::Success },
            may_trip: options.enabled,
            threshold_percentage: options.error_threshold_percentage.into(),
            volume_threshold: options.volume_threshold,
            warm_at: now + warm_up,
        };
        Self { epoch: AtomicU64::new(0), books: Mutex::new(books) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Counts a success of a passing epoch. `failsafe` has no use for it: when closed it only hands it on to the books.
    pub(super) fn record_success(&self, epoch: Epoch, finish: Finish) {
        let mut books = self.books.lock();
        books.total.record(finish.tally);
        if self.epoch() == epoch {
            books.window.record(finish.at, finish.tally, finish.took);
        }
    }

    /// Counts a result whose epoch is over: it happened, but it says nothing about the upstream now.
    pub(super) fn record_late(&self, finish: Finish) {
        self.books.lock().total.record(finish.tally);
    }

    pub(super) fn record_reject(&self, now: Instant) {
        let mut books = self.books.lock();
        books.total.rejects += 1;
        books.window.record_reject(now);
    }

    pub(super) fn record_saturated(&self, now: Instant) {
        let mut books = self.books.lock();
        books.total.saturated += 1;
        books.window.record_saturated(now);
    }

    /// Leaves the result where the failure policy will find it.
    pub(super) fn report(&self, finish: Finish) {
        self.books.lock().reported = finish;
    }

    /// Starts a new epoch, so that whatever is under way no longer counts. The gate's lock must be held.
    pub(super) fn start_epoch(&self, passing: bool) {
        let _books = self.books.lock();
        self.advance(passing);
    }

    /// Starts a new passing epoch with an empty window. The gate's lock must be held.
    pub(super) fn start_afresh(&self) {
        let mut books = self.books.lock();
        books.window.clear();
        self.advance(true);
    }

    pub(super) fn set_may_trip(&self, may_trip: bool) {
        self.books.lock().may_trip = may_trip;
    }

    /// Counts in the window, counts since the start, and durations in the window.
    pub(super) fn read(&self, now: Instant) -> (Counts, Counts, Latency) {
        let mut books = self.books.lock();
        (books.window.counts(now), books.total, books.window.latency(now))
    }

    fn advance(&self, passing: bool) {
        self.epoch.store(self.epoch().next(passing).0, Ordering::Release);
    }
}

impl Books {
    fn record_reported(&mut self) {
        let Finish { at, took, tally } = self.reported;
        self.total.record(tally);
        self.window.record(at, tally, took);
    }

    /// Opossum's rule: enough volume, and strictly more than the threshold failed.
    fn should_trip(&mut self) -> bool {
        let now = self.reported.at;
        if !self.may_trip || now < self.warm_at {
            return false;
        }
        let counts = self.window.counts(now);
        counts.finished() >= self.volume_threshold
            && counts.failures * 100 > self.threshold_percentage * counts.finished()
    }
}

/// The failure policy that `failsafe`'s state machine asks.
///
/// It answers "dead for no time at all": `failsafe` reads a clock of its own that tests cannot step, so the gate
/// keeps the time and `failsafe` only keeps the states.
#[derive(Debug)]
pub(super) struct RollingFailures(pub(super) Arc<Ledger>);

impl FailurePolicy for RollingFailures {
    fn record_success(&mut self) {
        self.0.books.lock().record_reported();
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let mut books = self.0.books.lock();
        books.record_reported();
        // A failed probe needs no quorum.
        let was_probe = !self.0.epoch().is_passing();
        if was_probe || books.should_trip() {
            self.0.advance(false);
            return Some(Duration::ZERO);
        }
        None
    }

    fn revived(&mut self) {
        let mut books = self.0.books.lock();
        books.window.clear();
        self.0.advance(true);
    }
}
