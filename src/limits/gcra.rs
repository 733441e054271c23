//! The arithmetic of one policy, in whole numbers.
//!
//! GCRA keeps one number per account: the moment at which everything spent will have come back. Limits rarely divide
//! their windows evenly, so moments are counted in nanoseconds × limit: one token is then exactly `window` of these
//! ticks, and nothing is ever rounded but what is told to the caller.
//!
//! A node that must decide alone, one of several, gives everybody its share: every token costs as many times as much as
//! there are nodes. What a full account can pay stays one window, and so an account is full again at the same moment
//! whether it is kept by all nodes or by one of them.

use std::time::Duration;

/// Nanoseconds in a microsecond, the unit of Redis's clock.
const MICROSECOND: u128 = 1_000;

/// The longest window that accounts in Redis have: its numbers are exact below 2^53 µs, and the present is at a fifth.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// A limit and its window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gcra {
    limit: u32,
    window: Duration,
}

/// Nanoseconds since the limiter's epoch, times the policy's limit: the policy's own unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticks(u128);

impl Gcra {
    /// Exactly the limit and its window.
    pub(super) fn exact(limit: u32, window: Duration) -> Self {
        Self { limit, window }
    }

    /// The same, with the window rounded up so that a token is a whole number of microseconds: never more than was
    /// promised, and at most one microsecond a token less.
    pub(super) fn in_microseconds(limit: u32, window: Duration) -> Self {
        let tokens = u128::from(limit).max(1);
        let token = window.min(LONGEST).as_nanos().div_ceil(tokens).div_ceil(MICROSECOND) * MICROSECOND;
        Self { limit, window: Duration::from_nanos_u128(token * tokens) }
    }

    /// This long after the epoch, in the policy's unit.
    pub(super) fn at(self, elapsed: Duration) -> Ticks {
        // The longest duration has 94 bits of nanoseconds and the limit 32: together they fit.
        Ticks(elapsed.as_nanos().saturating_mul(self.limit.into()))
    }

    /// When an account will be full again that is full at `full_at` and spends `cost` now, at one of `nodes`.
    pub(super) fn charged(self, full_at: Ticks, now: Ticks, cost: u64, nodes: u32) -> Ticks {
        Ticks(full_at.max(now).0.saturating_add(self.price(cost, nodes)))
    }

    /// How long an account that is full at `full_at` must wait until it can pay for `cost`; zero if it can now. One of
    /// several nodes wants no more than a full account has, as otherwise its share would close the field to whoever
    /// needs more than that at once.
    pub(super) fn wait(self, full_at: Ticks, now: Ticks, cost: u64, nodes: u32) -> Duration {
        let most = self.ticks(self.limit.into());
        let debt = full_at.0.saturating_sub(now.0);
        let wanted = if nodes > 1 { self.price(cost, nodes).min(most) } else { self.ticks(cost) };
        self.duration(debt.saturating_add(wanted).saturating_sub(most))
    }

    /// Whether the limit is below the cost, so that no wait would help.
    pub(super) fn forbids(self, cost: u64) -> bool {
        cost > self.limit.into()
    }

    /// Whether an account that is full at `full_at` owes more than one can have spent.
    pub(super) fn overdrawn(self, full_at: Ticks, now: Ticks) -> bool {
        full_at.0.saturating_sub(now.0) > self.ticks(self.limit.into())
    }

    /// What an account may spend at once, at one of `nodes`.
    pub(super) fn remaining(self, full_at: Ticks, now: Ticks, nodes: u32) -> u32 {
        let debt = full_at.0.saturating_sub(now.0);
        let price = self.price(1, nodes);
        if debt == 0 {
            // A share below one token is still one token for whoever has waited for all of it.
            return (self.limit / nodes.max(1)).max(self.limit.min(1));
        }
        let left = self.ticks(self.limit.into()).saturating_sub(debt);
        u32::try_from(left.checked_div(price).unwrap_or_default()).unwrap_or(u32::MAX)
    }

    /// The time until everything is back.
    pub(super) fn reset(self, full_at: Ticks, now: Ticks) -> Duration {
        self.duration(full_at.0.saturating_sub(now.0))
    }

    /// A moment in microseconds since the epoch; of a policy that is counted in microseconds, exactly.
    pub(super) fn microseconds(self, at: Ticks) -> u64 {
        self.whole(at.0)
    }

    /// What `cost` tokens are in microseconds.
    pub(super) fn charge_microseconds(self, cost: u64) -> u64 {
        self.whole(self.ticks(cost))
    }

    /// What a full account can pay, in microseconds.
    pub(super) fn most_microseconds(self) -> u64 {
        self.charge_microseconds(self.limit.into())
    }

    fn whole(self, ticks: u128) -> u64 {
        u64::try_from(ticks.div_ceil(u128::from(self.limit).max(1) * MICROSECOND)).unwrap_or(u64::MAX)
    }

    fn ticks(self, tokens: u64) -> u128 {
        self.window.as_nanos().saturating_mul(tokens.into())
    }

    fn price(self, tokens: u64, nodes: u32) -> u128 {
        self.ticks(tokens).saturating_mul(nodes.max(1).into())
    }

    /// Rounded up, so that whoever waits this long has waited long enough.
    fn duration(self, ticks: u128) -> Duration {
        if ticks == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos_u128(ticks.div_ceil(u128::from(self.limit).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);

    /// How many single tokens an account gives at once to one of `nodes`.
    fn burst(gcra: Gcra, nodes: u32) -> u32 {
        let (now, mut full_at) = (gcra.at(WINDOW), Ticks::default());
        let mut given = 0;
        while gcra.wait(full_at, now, 1, nodes).is_zero() {
            assert_eq!(gcra.remaining(full_at, now, nodes).min(1), 1);
            full_at = gcra.charged(full_at, now, 1, nodes);
            given += 1;
        }
        given
    }

    #[test]
    fn a_share_is_the_limit_divided_and_at_least_one() {
        for (limit, nodes, share) in [(100, 1, 100), (100, 2, 50), (100, 3, 33), (2, 2, 1), (1, 5, 1), (3, 2, 1)] {
            let gcra = Gcra::exact(limit, WINDOW);
            // What is left of a token after the whole ones is no token, but for who has waited for all of it.
            assert_eq!(burst(gcra, nodes), share, "{limit} by {nodes}");
            assert_eq!(gcra.remaining(Ticks::default(), gcra.at(WINDOW), nodes), share);
        }
    }

    #[test]
    fn a_share_comes_back_in_the_same_window() {
        let (gcra, now) = (Gcra::exact(100, WINDOW), Ticks::default());
        assert_eq!(gcra.reset(gcra.charged(now, now, 100, 1), now), WINDOW);
        assert_eq!(gcra.reset(gcra.charged(now, now, 25, 4), now), WINDOW);
    }

    #[test]
    fn more_than_a_share_is_admitted_to_a_full_account_and_paid_in_full() {
        let (gcra, now) = (Gcra::exact(100, WINDOW), Ticks::default());
        assert_eq!(gcra.wait(now, now, 100, 2), Duration::ZERO);
        let full_at = gcra.charged(now, now, 100, 2);
        assert_eq!(gcra.reset(full_at, now), WINDOW * 2);
        assert_eq!(gcra.wait(full_at, now, 100, 2), WINDOW * 2);
        assert!(gcra.overdrawn(full_at, now));
    }

    #[test]
    fn in_microseconds_a_limit_is_never_more_and_hardly_less() {
        for (limit, window) in [(1, 1), (7, 1), (100, 60), (1_000_000, 1), (3, 86_400), (u32::MAX, u64::MAX), (0, 5)] {
            let window = Duration::from_secs(window);
            let gcra = Gcra::in_microseconds(limit, window);
            let told = u128::from(gcra.most_microseconds());
            let asked = if limit == 0 { 0 } else { window.min(LONGEST).as_micros() };
            assert!((asked..=asked + u128::from(limit)).contains(&told), "{told} of {asked}");
            assert!(told < 1 << 52, "Lua counts on beyond the present");
            assert_eq!(gcra.charge_microseconds(limit.into()), gcra.most_microseconds());
            let moment = Duration::from_micros(1_790_000_000_123_456);
            assert_eq!(gcra.microseconds(gcra.at(moment)), if limit == 0 { 0 } else { 1_790_000_000_123_456 });
        }
    }
}
