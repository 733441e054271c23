//! The accounts under one policy, bounded in number.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use metrics::{Counter, Gauge};

use super::{
    LimitKey, Policy,
    gcra::{Gcra, Ticks},
};

/// Most full accounts forgotten at a time: more than one check adds, so that the ledger shrinks after a flood, and few
/// enough that no caller waits for it.
const SWEEP: usize = 16;

/// Who has spent what under one policy. A full account is not kept: it is the same as an unknown one.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) gcra: Gcra,
    // Trees, because they give memory back as they shrink.
    accounts: BTreeMap<LimitKey, Ticks>,
    by_reset: BTreeSet<(Ticks, LimitKey)>,
    capacity: usize,
    keys: Gauge,
    allowed: Counter,
    refused: Counter,
}

impl Ledger {
    pub(super) fn new(policy: &Policy, capacity: usize, keys: Gauge) -> Self {
        let decisions = |outcome: &'static str| {
            metrics::counter!(
                "tidegate_limit_decisions_total", "policy" => policy.name.to_string(), "outcome" => outcome
            )
        };
        Self {
            gcra: Gcra::new(policy.limit, policy.window),
            accounts: BTreeMap::new(),
            by_reset: BTreeSet::new(),
            capacity,
            keys,
            allowed: decisions("allowed"),
            refused: decisions("refused"),
        }
    }

    /// How many accounts are remembered.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// When the account is full.
    pub(super) fn full_at(&self, key: &LimitKey) -> Ticks {
        self.accounts.get(key).copied().unwrap_or_default()
    }

    /// Writes down when the account will be full.
    pub(super) fn charge(&mut self, key: LimitKey, full_at: Ticks) {
        if let Some(before) = self.accounts.insert(key, full_at) {
            self.by_reset.remove(&(before, key));
        } else {
            self.keys.increment(1.0);
        }
        // Never the account at hand: it is not among the ordered ones yet.
        if self.accounts.len() > self.capacity {
            self.forget_first();
        }
        self.by_reset.insert((full_at, key));
    }

    /// Forgets accounts that are full by now, a bounded number at a time.
    pub(super) fn sweep(&mut self, elapsed: Duration) {
        let now = self.gcra.at(elapsed);
        for _ in 0..SWEEP {
            if self.by_reset.first().is_none_or(|(full_at, _)| *full_at > now) {
                return;
            }
            self.forget_first();
        }
    }

    pub(super) fn count(&self, admitted: bool) {
        if admitted { &self.allowed } else { &self.refused }.increment(1);
    }

    /// Under one policy the account that is full first has spent least: a flood of new callers, each with little to
    /// forget, pushes out one another and not those who have spent their limit.
    fn forget_first(&mut self) {
        if let Some((_, key)) = self.by_reset.pop_first() {
            self.accounts.remove(&key);
            self.keys.decrement(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);
    const CAPACITY: usize = 1_000;

    fn ledger() -> Ledger {
        let policy = Policy { name: "Query.price".into(), limit: 100, window: WINDOW };
        Ledger::new(&policy, CAPACITY, metrics::gauge!("tidegate_limit_keys"))
    }

    fn caller(number: u32) -> LimitKey {
        LimitKey::for_caller(None, std::net::Ipv4Addr::from_bits(number).into(), "Query.price")
    }

    fn spend(ledger: &mut Ledger, caller: LimitKey, cost: u64, elapsed: Duration) {
        let full_at = ledger.gcra.charged(ledger.full_at(&caller), ledger.gcra.at(elapsed), cost);
        ledger.charge(caller, full_at);
    }

    #[test]
    fn a_flood_of_callers_stays_bounded_and_resets_nobody_who_has_spent_more() {
        let mut ledger = ledger();
        let spent = caller(0);
        spend(&mut ledger, spent, 100, Duration::ZERO);
        for number in 1..=50_000 {
            spend(&mut ledger, caller(number), 1, Duration::from_millis(number.into()) / 10);
            assert!(ledger.len() <= CAPACITY);
            assert_eq!(ledger.len(), ledger.by_reset.len());
        }
        assert_eq!(ledger.full_at(&spent), ledger.gcra.at(WINDOW));
    }

    #[test]
    fn a_newcomer_is_remembered_even_where_everybody_else_has_spent_more() {
        let mut ledger = ledger();
        for number in 0..2_000 {
            spend(&mut ledger, caller(number), 50, Duration::ZERO);
        }
        spend(&mut ledger, caller(9_999), 1, Duration::ZERO);
        assert!(ledger.full_at(&caller(9_999)) > Ticks::default());
    }

    #[test]
    fn full_accounts_are_forgotten_and_others_are_not() {
        let mut ledger = ledger();
        for number in 0..500 {
            spend(&mut ledger, caller(number), 1, Duration::ZERO);
        }
        spend(&mut ledger, caller(500), 2, Duration::ZERO);
        let one_token = WINDOW / 100;
        for _ in 0..=500 / SWEEP {
            ledger.sweep(one_token.saturating_sub(Duration::from_nanos(1)));
        }
        assert_eq!(ledger.len(), 501);
        for _ in 0..=500 / SWEEP {
            ledger.sweep(one_token);
        }
        assert_eq!(ledger.accounts.keys().collect::<Vec<_>>(), [&caller(500)]);
    }
}
