//! What an operator sees of an upstream.

use std::{sync::Arc, time::Duration};

use crate::model::Timestamp;

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through and are judged.
    Closed,
    /// One probe at a time goes through; its result decides.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// What an operator decided, until it is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// Refuse every call.
    Open,
    /// Let every call through, whatever comes back.
    Closed,
}

/// How many tries ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tries that succeeded, those included whose error the filter forgives.
    pub successes: u64,
    /// Tries that failed, timeouts included.
    pub failures: u64,
    /// Tries that took too long.
    pub timeouts: u64,
    /// Calls refused by the breaker.
    pub rejects: u64,
    /// Calls refused because too many were under way.
    pub saturated: u64,
}

/// How long the tries in the window took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// The mean, exact.
    pub mean: Duration,
    /// Half of the tries took no longer, at most an eighth too high.
    pub p50: Duration,
    /// 95 of 100 tries took no longer, at most an eighth too high.
    pub p95: Duration,
    /// 99 of 100 tries took no longer, at most an eighth too high.
    pub p99: Duration,
}

/// The last failure of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When it was seen.
    pub at: Timestamp,
    /// What it was, without secrets.
    pub detail: Arc<str>,
}

/// What an operator sees of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    /// The name it was registered under.
    pub name: Arc<str>,
    /// Whether calls go through now.
    pub state: BreakerState,
    /// What an operator decided, if anything.
    pub forced: Option<Forced>,
    /// Counts of the rolling window that the breaker judges.
    pub window: Counts,
    /// Counts since the start.
    pub total: Counts,
    /// Durations of the tries in the window.
    pub latency: Latency,
    /// Calls under way.
    pub in_flight: usize,
    /// Calls that may be under way at once.
    pub capacity: usize,
    /// The pace towards the upstream, in tries per second.
    pub rate_per_second: f64,
    /// How long until the next call can go through, when it cannot now and that is known.
    pub retry_after: Option<Duration>,
    /// The last failure since the start.
    pub last_error: Option<LastError>,
    /// When the breaker opened last.
    pub opened_at: Option<Timestamp>,
    /// When the state changed last; the start, if it never did.
    pub changed_at: Timestamp,
}
