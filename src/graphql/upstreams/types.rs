//! How an upstream shows in the schema.

use std::time::Duration;

use async_graphql::{Enum, Object, SimpleObject};

use crate::{
    graphql::scalars::{DateTime, int},
    resilience::{self, UpstreamStatus},
};

pub(crate) struct Upstream(pub(crate) UpstreamStatus);

/// A service that Tidegate calls, and the breaker in front of it.
#[Object]
impl Upstream {
    /// The name, such as `coingecko`.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether calls go through.
    async fn state(&self) -> BreakerState {
        self.0.state.into()
    }

    /// What an operator decided, until it is reset; null when nothing was.
    async fn forced(&self) -> Option<ForcedState> {
        self.0.forced.map(Into::into)
    }

    /// Milliseconds until the next call can go through; null when it can, or when that is not known.
    async fn retry_after_ms(&self) -> Option<i32> {
        self.0.retry_after.map(millis)
    }

    /// The tries that the breaker judges now.
    async fn window(&self) -> CallCounts {
        self.0.window.into()
    }

    /// All tries since the start.
    async fn total(&self) -> CallCounts {
        self.0.total.into()
    }

    /// How long the tries in the window took.
    async fn latency(&self) -> CallLatency {
        CallLatency {
            mean_ms: fractional_millis(self.0.latency.mean),
            p50_ms: fractional_millis(self.0.latency.p50),
            p99_ms: fractional_millis(self.0.latency.p99),
        }
    }

    /// Calls under way.
    async fn in_flight(&self) -> i32 {
        int(self.0.in_flight)
    }

    /// Calls that may be under way at once.
    async fn capacity(&self) -> i32 {
        int(self.0.capacity)
    }

    /// The pace towards the upstream, in tries per second.
    async fn rate_per_second(&self) -> f64 {
        self.0.rate_per_second
    }

    /// The last failure since the start.
    async fn last_error(&self) -> Option<UpstreamError> {
        self.0
            .last_error
            .as_ref()
            .map(|error| UpstreamError { at: DateTime(error.at), message: error.detail.to_string() })
    }

    /// When the breaker opened last.
    async fn opened_at(&self) -> Option<DateTime> {
        self.0.opened_at.map(DateTime)
    }

    /// When the state changed last; the start, if it never did.
    async fn changed_at(&self) -> DateTime {
        DateTime(self.0.changed_at)
    }
}

/// Whether calls to an upstream go through.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "resilience::BreakerState")]
pub(crate) enum BreakerState {
    /// Calls go through and are judged.
    Closed,
    /// One probe at a time goes through; its result decides.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// What an operator decided about a breaker.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "resilience::Forced")]
pub(crate) enum ForcedState {
    /// Refuse every call.
    Open,
    /// Let every call through, whatever comes back.
    Closed,
}

/// How many tries ended how.
#[derive(SimpleObject)]
pub(crate) struct CallCounts {
    /// Tries that succeeded.
    successes: i32,
    /// Tries that failed, timeouts included.
    failures: i32,
    /// Tries that took too long.
    timeouts: i32,
    /// Calls refused by the breaker.
    rejects: i32,
    /// Calls refused because too many were under way.
    saturated: i32,
}

impl From<resilience::Counts> for CallCounts {
    fn from(counts: resilience::Counts) -> Self {
        Self {
            successes: int(counts.successes),
            failures: int(counts.failures),
            timeouts: int(counts.timeouts),
            rejects: int(counts.rejects),
            saturated: int(counts.saturated),
        }
    }
}

/// How long tries took, in milliseconds.
#[derive(SimpleObject)]
#[expect(clippy::struct_field_names, reason = "the unit is part of each field's name in the schema")]
pub(crate) struct CallLatency {
    /// The mean.
    mean_ms: f64,
    /// Half of the tries took no longer.
    p50_ms: f64,
    /// 99 of 100 tries took no longer.
    p99_ms: f64,
}

/// A failure of an upstream.
#[derive(SimpleObject)]
pub(crate) struct UpstreamError {
    /// When it was seen.
    at: DateTime,
    /// What it was.
    message: String,
}

fn millis(duration: Duration) -> i32 {
    int(duration.as_millis())
}

fn fractional_millis(duration: Duration) -> f64 {
    // Whole microseconds: more digits would say nothing, and print noise.
    f64::from(int(duration.as_micros())) / 1_000.0
}
