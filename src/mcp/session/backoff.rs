//! When a server that does not start, or dies at once, is started again.

use std::time::Duration;

use crate::{
    model::{Chance, Instant},
    resilience::CallError,
};

/// The wait after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// Whoever lives longer has started well.
const WELL: Duration = Duration::from_secs(1);

/// Failures in a row to start a server.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<(Instant, CallError)>,
}

impl Backoff {
    /// Why it is not started again yet.
    pub(super) fn refuses(&self, now: Instant) -> Option<CallError> {
        self.last.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    pub(super) fn failed(&mut self, now: Instant, error: CallError, chance: &Chance) {
        let wait = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.last = Some((now + chance.spread(wait, 0.2), error));
    }

    /// It has ended by itself, after it had started.
    pub(super) fn died(&mut self, now: Instant, lived: Duration, error: CallError, chance: &Chance) {
        if lived < WELL {
            self.failed(now, error, chance);
        }
    }

    pub(super) fn lives(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Clock;

    #[test]
    fn each_failure_doubles_the_wait_and_a_good_life_ends_it() {
        let (now, chance) = (Clock::system().instant(), Chance::seeded(1));
        let mut backoff = Backoff::default();
        assert_eq!(backoff.refuses(now), None);
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.failed(now, CallError::Timeout, &chance);
            waits.push(backoff.last.as_ref().unwrap().0 - now);
        }
        assert!(waits[0] >= FIRST.mul_f64(0.8) && waits[0] <= FIRST.mul_f64(1.2), "{waits:?}");
        assert!(waits[3] > 5 * waits[0] && waits[11] <= LONGEST.mul_f64(1.2), "{waits:?}");
        assert_eq!(backoff.refuses(now), Some(CallError::Timeout));
        assert_eq!(backoff.refuses(now + 2 * LONGEST), None);
        backoff.lives();
        assert_eq!(backoff.refuses(now), None);
        backoff.died(now, 2 * WELL, CallError::Timeout, &chance);
        assert_eq!(backoff.refuses(now), None, "whoever has lived is started again at once");
        backoff.died(now, WELL / 2, CallError::Timeout, &chance);
        assert_eq!(backoff.refuses(now), Some(CallError::Timeout));
    }
}
