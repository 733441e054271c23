//! The arithmetic of one policy, in whole numbers.
//!
//! GCRA keeps one number per account: the moment at which everything spent will have come back. Limits rarely divide
//! their windows evenly, so moments are counted in nanoseconds × limit: one token is then exactly `window` of these
//! ticks, and nothing is ever rounded but what is told to the caller.

use std::time::Duration;

/// A limit and its window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gcra {
    limit: u32,
    window: Duration,
}

/// Nanoseconds since the limiter began, times the policy's limit: the policy's own unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticks(u128);

impl Gcra {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window }
    }

    /// This long after the limiter began, in the policy's unit.
    pub(super) fn at(self, elapsed: Duration) -> Ticks {
        // The longest duration has 94 bits of nanoseconds and the limit 32: together they fit.
        Ticks(elapsed.as_nanos().saturating_mul(self.limit.into()))
    }

    /// When an account will be full again that is full at `full_at` and spends `cost` now.
    pub(super) fn charged(self, full_at: Ticks, now: Ticks, cost: u64) -> Ticks {
        Ticks(full_at.max(now).0.saturating_add(self.ticks(cost)))
    }

    /// How long the account must wait until it can have spent up to `full_at`; zero if it may now.
    pub(super) fn wait(self, full_at: Ticks, now: Ticks) -> Duration {
        let debt = full_at.0.saturating_sub(now.0);
        self.duration(debt.saturating_sub(self.ticks(self.limit.into())))
    }

    /// Whether the limit is below the cost, so that no wait would help.
    pub(super) fn forbids(self, cost: u64) -> bool {
        cost > self.limit.into()
    }

    /// What an account may spend at once.
    pub(super) fn remaining(self, full_at: Ticks, now: Ticks) -> u32 {
        let debt = full_at.0.saturating_sub(now.0);
        let spent = if debt == 0 { 0 } else { debt.div_ceil(self.window.as_nanos()) };
        self.limit.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    /// The time until everything is back.
    pub(super) fn reset(self, full_at: Ticks, now: Ticks) -> Duration {
        self.duration(full_at.0.saturating_sub(now.0))
    }

    fn ticks(self, tokens: u64) -> u128 {
        self.window.as_nanos().saturating_mul(tokens.into())
    }

    /// Rounded up, so that whoever waits this long has waited long enough.
    fn duration(self, ticks: u128) -> Duration {
        if ticks == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos_u128(ticks.div_ceil(u128::from(self.limit).max(1)))
    }
}
