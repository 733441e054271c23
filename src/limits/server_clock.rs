//! What time it is where the accounts are kept, as far as can be told from here.
//!
//! Every answer of the server carries its time, which was read after the question left and before the answer came.
//! From that follows when, on the server's clock, this limiter began: between two moments as far apart as the answer was
//! on its way. Answers that agree narrow the span; one that does not agree says that a clock was set, and counts alone.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::model::{Clock, Instant};

/// The server's clock, read from here.
#[derive(Debug)]
pub(super) struct ServerClock {
    clock: Clock,
    began: Instant,
    began_there: Mutex<Span>,
}

/// When it was on the server's clock, since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) earliest: Duration,
    pub(super) latest: Duration,
}

impl ServerClock {
    /// Until the server has said what time it is, its clock is taken for this machine's.
    pub(super) fn new(clock: Clock) -> Self {
        let now = SystemTime::from(clock.now()).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { began: clock.instant(), clock, began_there: Mutex::new(Span { earliest: now, latest: now }) }
    }

    /// This limiter's age.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.began)
    }

    /// The server's time now.
    pub(super) fn now(&self) -> Span {
        let (elapsed, began) = (self.elapsed(), *self.began_there.lock());
        Span { earliest: began.earliest + elapsed, latest: began.latest + elapsed }
    }

    /// The server said that it is `told`, to a question that left when the limiter was `asked` old and was answered
    /// just now.
    pub(super) fn learn(&self, told: Duration, asked: Duration) {
        let fresh = Span { earliest: told.saturating_sub(self.elapsed()), latest: told.saturating_sub(asked) };
        let mut began = self.began_there.lock();
        let both = Span { earliest: began.earliest.max(fresh.earliest), latest: began.latest.min(fresh.latest) };
        *began = if both.earliest <= both.latest { both } else { fresh };
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio::time::advance;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn clock() -> ServerClock {
        ServerClock::new(Clock::stepped_from(DateTime::from_timestamp_millis(5_000).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_answer_it_is_this_machines() {
        let clock = clock();
        advance(ms(10)).await;
        assert_eq!(clock.now(), Span { earliest: ms(5_010), latest: ms(5_010) });
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_replaces_the_guess_and_others_narrow_the_span() {
        let clock = clock();
        advance(ms(8)).await;
        clock.learn(ms(100_004), ms(0));
        assert_eq!(clock.now(), Span { earliest: ms(100_004), latest: ms(100_012) });
        advance(ms(2)).await;
        clock.learn(ms(100_009), ms(9));
        assert_eq!(clock.now(), Span { earliest: ms(100_009), latest: ms(100_010) });
        // A slow answer that agrees tells nothing new.
        advance(ms(20)).await;
        clock.learn(ms(100_015), ms(10));
        assert_eq!(clock.now(), Span { earliest: ms(100_029), latest: ms(100_030) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_believed() {
        let clock = clock();
        clock.learn(ms(100_000), ms(0));
        advance(ms(1)).await;
        clock.learn(ms(50_000), ms(0));
        assert_eq!(clock.now(), Span { earliest: ms(50_000), latest: ms(50_001) });
    }
}
