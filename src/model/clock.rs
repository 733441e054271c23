//! Time as a parameter: rooms are handed a [`Clock`] and never ask the system themselves.

use chrono::{DateTime, TimeDelta, Utc};

/// A point on the wall clock, UTC.
pub type Timestamp = DateTime<Utc>;

/// A point on the monotonic clock. Tokio's, so that paused tests can step it.
pub type Instant = tokio::time::Instant;

/// Tells the time of day and measures durations.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Stepped { start: Timestamp, origin: Instant },
}

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that reads `start` now and afterwards follows tokio's timer, which tests can pause and step.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the origin that a stepped clock counts from")]
    pub fn stepped_from(start: Timestamp) -> Self {
        Self(Source::Stepped { start, origin: Instant::now() })
    }

    /// The time of day.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Stepped { start, origin } => {
                let elapsed = TimeDelta::from_std(origin.elapsed()).unwrap_or(TimeDelta::MAX);
                start.checked_add_signed(elapsed).unwrap_or(Timestamp::MAX_UTC)
            }
        }
    }

    /// The monotonic clock, for measuring durations and deadlines.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stepped_clock_follows_the_paused_timer() {
        let clock = Clock::stepped_from(DateTime::UNIX_EPOCH);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now().timestamp_millis(), 1_500);
    }
}
