//! The metrics of one upstream. The handles are kept, so that a call looks nothing up.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Gauge, Histogram};

use super::{CallError, error::Outcome};

pub(super) struct Meters {
    calls: [Counter; Outcome::ALL.len()],
    seconds: Histogram,
    retries: Counter,
    in_flight: Gauge,
}

/// Counts a call as under way until it is dropped.
pub(super) struct InFlight<'a>(&'a Gauge);

impl Meters {
    pub(super) fn new(upstream: &Arc<str>) -> Self {
        let calls = Outcome::ALL.map(|outcome| {
            metrics::counter!(
                "tidegate_upstream_calls_total", "upstream" => Arc::clone(upstream), "outcome" => outcome.label()
            )
        });
        let name = || Arc::clone(upstream);
        Self {
            calls,
            seconds: metrics::histogram!("tidegate_upstream_call_seconds", "upstream" => name()),
            retries: metrics::counter!("tidegate_upstream_retries_total", "upstream" => name()),
            in_flight: metrics::gauge!("tidegate_upstream_in_flight", "upstream" => name()),
        }
    }

    pub(super) fn record<T>(&self, result: &Result<T, CallError>, took: Duration) {
        let outcome = result.as_ref().map_or_else(CallError::outcome, |_| Outcome::Success);
        self.calls[outcome as usize].increment(1);
        self.seconds.record(took.as_secs_f64());
    }

    pub(super) fn retry(&self) {
        self.retries.increment(1);
    }

    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
