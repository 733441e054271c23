//! How often and how soon a call is tried again.
//!
//! Without a budget, retries multiply the load on an upstream just when it cannot bear it: with three tries a call,
//! an outage triples the traffic. The budget ties retries to the calls that succeed in being made.

use std::time::Duration;

use parking_lot::Mutex;

use super::RetryOptions;
use crate::model::{Chance, Instant};

/// The retries that are saved up are worth this many seconds of the steady allowance.
const RESERVE_SECONDS: f64 = 10.0;

/// How many retries an upstream may be given. Calls pay in, retries draw.
#[derive(Debug)]
pub struct RetryBudget {
    per_second: f64,
    per_call: f64,
    limit: f64,
    balance: Mutex<Balance>,
}

#[derive(Debug)]
struct Balance {
    retries: f64,
    at: Instant,
}

impl RetryBudget {
    /// A budget of the options' share and allowance.
    #[must_use]
    pub fn new(options: &RetryOptions, now: Instant) -> Self {
        let per_second = f64::from(options.budget_per_second);
        let reserve = per_second * RESERVE_SECONDS;
        let balance = Mutex::new(Balance { retries: reserve, at: now });
        Self { per_second, per_call: f64::from(options.budget_percent) / 100.0, limit: reserve.max(1.0), balance }
    }

    /// A first try was made: it pays for a part of a retry.
    pub fn deposit(&self) {
        let mut balance = self.balance.lock();
        balance.retries = (balance.retries + self.per_call).min(self.limit);
    }

    /// Takes one retry, if there is one.
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut balance = self.balance.lock();
        let saved = now.saturating_duration_since(balance.at).as_secs_f64() * self.per_second;
        balance.retries = (balance.retries + saved).min(self.limit);
        balance.at = balance.at.max(now);
        let enough = balance.retries >= 1.0;
        if enough {
            balance.retries -= 1.0;
        }
        enough
    }
}

/// The wait before try number `tries + 1`: full jitter over a doubling bound, on top of what the upstream asked for.
pub(super) fn backoff(options: &RetryOptions, chance: &Chance, tries: u32, retry_after: Option<Duration>) -> Duration {
    let doublings = tries.saturating_sub(1).min(31);
    let bound = options.base_backoff.saturating_mul(1 << doublings).min(options.max_backoff);
    retry_after.unwrap_or_default().saturating_add(bound.mul_f64(chance.fraction()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Clock;

    fn options(per_second: u32, percent: u8) -> RetryOptions {
        RetryOptions {
            max_tries: 3,
            base_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            budget_per_second: per_second,
            budget_percent: percent,
        }
    }

    #[test]
    fn the_budget_is_the_reserve_the_share_and_the_steady_allowance() {
        let start = Clock::system().instant();
        let budget = RetryBudget::new(&options(10, 20), start);
        let drain = |now| (0..1_000).take_while(|_| budget.withdraw(now)).count();
        assert_eq!(drain(start), 100, "ten seconds of the steady allowance");
        (0..50).for_each(|_| budget.deposit());
        assert!((9..=10).contains(&drain(start)), "a fifth of fifty calls");
        assert_eq!(drain(start + Duration::from_secs(2)), 20);
        assert_eq!(drain(start + Duration::from_hours(1)), 100, "no more is ever saved up");
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        let start = Clock::system().instant();
        let budget = RetryBudget::new(&options(0, 0), start);
        budget.deposit();
        assert!(!budget.withdraw(start + Duration::from_hours(1)));
    }

    #[test]
    fn waits_double_up_to_their_bound_and_are_spread_out() {
        let chance = Chance::seeded(1);
        let options = options(10, 20);
        for (tries, bound) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (40, 1_000)] {
            let waits: Vec<_> = (0..200).map(|_| backoff(&options, &chance, tries, None)).collect();
            let bound = Duration::from_millis(bound);
            assert!(waits.iter().all(|&wait| wait <= bound), "try {tries}");
            assert!(waits.iter().any(|&wait| wait < bound / 4) && waits.iter().any(|&wait| wait > bound / 4 * 3));
        }
        let asked = Duration::from_secs(7);
        assert!((0..200).all(|_| backoff(&options, &chance, 1, Some(asked)) >= asked));
    }
}
