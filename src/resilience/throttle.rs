//! The pace at which one upstream is asked: a token bucket that the upstream's own words slow down.
//!
//! Every success adds to the pace, every "slow down" halves it, so it settles just below what the upstream bears.
//! A caller that would wait too long is told so at once instead of queueing.

use std::time::Duration;

use parking_lot::Mutex;

use super::{CallError, RateHint, ThrottleOptions};
use crate::model::Instant;

#[derive(Debug)]
pub(super) struct Throttle {
    options: ThrottleOptions,
    longest_pause: Duration,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    per_second: f64,
    /// Tries that may leave now; below zero, tries that are waiting.
    tokens: f64,
    /// Up to when tokens were counted. In the future while the upstream wants to be left alone.
    counted_to: Instant,
    slowed_at: Instant,
}

/// A place in the queue. Dropping it before its turn gives the place to others.
#[derive(Debug)]
pub(super) struct Place<'a> {
    throttle: &'a Throttle,
    /// How long until it is this caller's turn.
    pub(super) wait: Duration,
    used: bool,
}

impl Throttle {
    /// `longest_pause` bounds what an upstream's `Retry-After` can do.
    pub(super) fn new(options: ThrottleOptions, longest_pause: Duration, now: Instant) -> Self {
        let pace = Pace {
            per_second: options.max_per_second,
            tokens: f64::from(options.burst),
            counted_to: now,
            slowed_at: now,
        };
        Self { options, longest_pause, pace: Mutex::new(pace) }
    }

    /// A place whose turn comes within `longest_wait`, or how long it would take.
    pub(super) fn queue(&self, now: Instant, longest_wait: Duration) -> Result<Place<'_>, Duration> {
        let mut pace = self.pace.lock();
        pace.count_to(now, f64::from(self.options.burst));
        let paused = pace.counted_to.saturating_duration_since(now);
        let missing = (1.0 - pace.tokens).max(0.0);
        let wait = paused + Duration::try_from_secs_f64(missing / pace.per_second).unwrap_or(Duration::MAX / 2);
        if wait > longest_wait {
            return Err(wait);
        }
        pace.tokens -= 1.0;
        Ok(Place { throttle: self, wait, used: false })
    }

    /// Learns from the result of a try that left at `left`.
    pub(super) fn learn<T>(&self, left: Instant, now: Instant, result: &Result<T, CallError>) {
        match result {
            Ok(_) => self.speed_up(),
            Err(CallError::RateLimited { retry_after }) => self.slow_down(left, now, *retry_after),
            Err(_) => {}
        }
    }

    /// Keeps to what the upstream says is left, so that it need not refuse.
    pub(super) fn heed(&self, now: Instant, hint: RateHint) {
        let mut pace = self.pace.lock();
        if hint.remaining == 0 {
            pace.pause_until(now + hint.resets_in.min(self.longest_pause));
            return;
        }
        let sustainable = f64::from(u32::try_from(hint.remaining).unwrap_or(u32::MAX)) / hint.resets_in.as_secs_f64();
        pace.per_second = pace.per_second.min(sustainable).max(self.options.min_per_second);
    }

    pub(super) fn per_second(&self) -> f64 {
        self.pace.lock().per_second
    }

    /// How long the upstream still wants to be left alone.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let pause = self.pace.lock().counted_to.saturating_duration_since(now);
        (!pause.is_zero()).then_some(pause)
    }

    fn speed_up(&self) {
        let mut pace = self.pace.lock();
        pace.per_second = (pace.per_second + self.options.step_per_success).min(self.options.max_per_second);
    }

    fn slow_down(&self, left: Instant, now: Instant, retry_after: Option<Duration>) {
        let mut pace = self.pace.lock();
        // Tries that left before the last slowing say nothing about the pace since.
        if left >= pace.slowed_at {
            pace.count_to(now, f64::from(self.options.burst));
            pace.per_second = (pace.per_second / 2.0).max(self.options.min_per_second);
            pace.slowed_at = now + Duration::from_nanos(1);
            pace.tokens = pace.tokens.min(1.0);
        }
        if let Some(asked) = retry_after {
            pace.pause_until(now + asked.min(self.longest_pause));
        }
    }
}

impl Pace {
    fn count_to(&mut self, now: Instant, burst: f64) {
        let since = now.saturating_duration_since(self.counted_to);
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(burst);
        self.counted_to = self.counted_to.max(now);
    }

    /// One try leaves when the pause ends, the others at the pace, so that they do not all arrive in one blow.
    fn pause_until(&mut self, until: Instant) {
        self.counted_to = self.counted_to.max(until);
        self.tokens = self.tokens.min(1.0);
    }
}

impl Place<'_> {
    /// The caller's turn has come.
    pub(super) fn leave(mut self) {
        self.used = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.throttle.pace.lock().tokens += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Clock;

    const PATIENT: Duration = Duration::from_hours(1);

    fn throttle(now: Instant) -> Throttle {
        let options = ThrottleOptions { max_per_second: 10.0, min_per_second: 1.0, step_per_success: 0.5, burst: 2 };
        Throttle::new(options, Duration::from_mins(5), now)
    }

    fn limited(retry_after: Option<u64>) -> Result<(), CallError> {
        Err(CallError::RateLimited { retry_after: retry_after.map(Duration::from_secs) })
    }

    fn pace(throttle: &Throttle) -> String {
        format!("{:.1}", throttle.per_second())
    }

    fn wait(throttle: &Throttle, now: Instant) -> Duration {
        let place = throttle.queue(now, PATIENT).unwrap();
        let wait = place.wait;
        place.leave();
        wait
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_pace() {
        let start = Clock::system().instant();
        let throttle = throttle(start);
        let waits: Vec<_> = (0..5).map(|_| wait(&throttle, start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200, 300]);
        assert_eq!(wait(&throttle, start + Duration::from_secs(10)), Duration::ZERO);
    }

    #[test]
    fn who_would_wait_too_long_is_told_at_once_and_takes_no_place() {
        let start = Clock::system().instant();
        let throttle = throttle(start);
        for _ in 0..3 {
            wait(&throttle, start);
        }
        for _ in 0..100 {
            let refused = throttle.queue(start, Duration::from_millis(150)).map(|place| place.wait);
            assert_eq!(refused, Err(Duration::from_millis(200)));
        }
    }

    #[test]
    fn a_caller_that_goes_away_gives_up_its_place() {
        let start = Clock::system().instant();
        let throttle = throttle(start);
        wait(&throttle, start);
        wait(&throttle, start);
        drop(throttle.queue(start, PATIENT).unwrap());
        assert_eq!(wait(&throttle, start), Duration::from_millis(100));
    }

    #[test]
    fn a_refusal_halves_the_pace_once_per_round_and_successes_bring_it_back() {
        let start = Clock::system().instant();
        let at = |millis| start + Duration::from_millis(millis);
        let throttle = throttle(start);
        for _ in 0..20 {
            throttle.learn(at(1), at(50), &limited(None));
        }
        assert_eq!(pace(&throttle), "5.0", "twenty tries of one round are one refusal");
        throttle.learn(at(60), at(70), &limited(None));
        assert_eq!(pace(&throttle), "2.5");
        throttle.learn(at(80), at(90), &limited(None));
        throttle.learn(at(100), at(110), &limited(None));
        assert_eq!(pace(&throttle), "1.0", "never below the floor");
        throttle.learn(at(120), at(130), &Ok(()));
        assert_eq!(pace(&throttle), "1.5");
        (0..100).for_each(|_| throttle.learn(at(140), at(150), &Ok(())));
        assert_eq!(pace(&throttle), "10.0", "never above the ceiling");
        throttle.learn(at(160), at(170), &Err::<(), _>(CallError::Timeout));
        assert_eq!(pace(&throttle), "10.0", "other failures are the breaker's business");
    }

    #[test]
    fn retry_after_stops_everyone_and_is_bounded() {
        let start = Clock::system().instant();
        let throttle = throttle(start);
        throttle.learn(start, start, &limited(Some(30)));
        assert_eq!(throttle.pause(start), Some(Duration::from_secs(30)));
        assert_eq!(wait(&throttle, start), Duration::from_secs(30));
        assert_eq!(wait(&throttle, start), Duration::from_millis(30_200), "then at half the pace");
        throttle.learn(start, start, &limited(Some(u64::MAX)));
        assert_eq!(throttle.pause(start), Some(Duration::from_mins(5)));
        assert_eq!(throttle.pause(start + Duration::from_mins(5)), None);
    }

    #[test]
    fn rate_headers_slow_down_before_the_upstream_refuses() {
        let start = Clock::system().instant();
        let throttle = throttle(start);
        let hint = |remaining, seconds| RateHint { remaining, resets_in: Duration::from_secs(seconds) };
        throttle.heed(start, hint(1_000, 10));
        assert_eq!(pace(&throttle), "10.0", "plenty is left");
        throttle.heed(start, hint(20, 10));
        assert_eq!(pace(&throttle), "2.0");
        throttle.heed(start, hint(1, 0));
        assert_eq!(pace(&throttle), "2.0", "the window is about to end");
        throttle.heed(start, hint(0, 7));
        assert_eq!(throttle.pause(start), Some(Duration::from_secs(7)));
    }
}
