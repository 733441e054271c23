//! The accounts under one policy, bounded in number.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use metrics::{Counter, Gauge};

use super::{
    Policy,
    gcra::{Gcra, Ticks},
    key::LimitKey,
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
    /// What this node decided alone, and the other nodes do not know yet.
    untold: BTreeSet<LimitKey>,
    capacity: usize,
    keys: Gauge,
    allowed: Counter,
    refused: Counter,
}

impl Ledger {
    pub(super) fn new(policy: &Policy, gcra: Gcra, capacity: usize, keys: Gauge) -> Self {
        let decisions = |outcome: &'static str| {
            metrics::counter!(
                "tidegate_limit_decisions_total", "policy" => policy.name.to_string(), "outcome" => outcome
            )
        };
        Self {
            gcra,
            accounts: BTreeMap::new(),
            by_reset: BTreeSet::new(),
            untold: BTreeSet::new(),
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

    /// Writes down what all nodes together know of the account. This node may have heard of a later decision already;
    /// only what is more than an account can owe, because a clock was set or a share was overdrawn, gives way.
    pub(super) fn learn(&mut self, key: LimitKey, full_at: Ticks, now: Ticks) {
        self.untold.remove(&key);
        let known = self.full_at(&key);
        if (full_at > known && full_at > now) || self.gcra.overdrawn(known, now) {
            self.charge(key, full_at);
        }
    }

    /// Remembers that the other nodes should hear of the account.
    pub(super) fn owe_word(&mut self, key: LimitKey) {
        if self.accounts.contains_key(&key) {
            self.untold.insert(key);
        }
    }

    /// Some account of which the other nodes should hear, which is then thought to be told.
    pub(super) fn next_untold(&mut self) -> Option<LimitKey> {
        self.untold.pop_first()
    }

    /// Whether the other nodes know all that they should.
    pub(super) fn is_told(&self) -> bool {
        self.untold.is_empty()
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
            self.untold.remove(&key);
            self.keys.decrement(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Caller;

    const WINDOW: Duration = Duration::from_mins(1);
    const CAPACITY: usize = 1_000;

    fn policy() -> Policy {
        Policy { name: "Query.price".into(), limit: 100, window: WINDOW }
    }

    fn ledger() -> Ledger {
        Ledger::new(&policy(), Gcra::exact(100, WINDOW), CAPACITY, metrics::gauge!("tidegate_limit_keys"))
    }

    fn caller(number: u32) -> LimitKey {
        Caller::new(None, std::net::Ipv4Addr::from_bits(number).into()).account(&policy())
    }

    fn spend(ledger: &mut Ledger, caller: LimitKey, cost: u64, elapsed: Duration) {
        let full_at = ledger.gcra.charged(ledger.full_at(&caller), ledger.gcra.at(elapsed), cost, 1);
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

    #[test]
    fn the_later_of_two_decisions_counts_in_whatever_order_they_are_heard() {
        let mut ledger = ledger();
        let (gcra, now) = (ledger.gcra, ledger.gcra.at(Duration::ZERO));
        let after = |cost| gcra.charged(now, now, cost, 1);
        for (heard, known) in [(5, 5), (9, 9), (7, 9)] {
            ledger.learn(caller(0), after(heard), now);
            assert_eq!(ledger.full_at(&caller(0)), after(known));
        }
        // What nobody can owe is a clock that was set, or an overdrawn share.
        ledger.charge(caller(0), after(200));
        ledger.learn(caller(0), after(7), now);
        assert_eq!(ledger.full_at(&caller(0)), after(7));
        // A full account is not kept.
        ledger.learn(caller(1), now, now);
        assert_eq!(ledger.len(), 1);
    }

    #[test]
    fn word_is_owed_of_known_accounts_until_somebody_takes_it() {
        let mut ledger = ledger();
        spend(&mut ledger, caller(0), 1, Duration::ZERO);
        spend(&mut ledger, caller(1), 1, Duration::ZERO);
        for number in 0..3 {
            ledger.owe_word(caller(number));
        }
        ledger.learn(caller(0), Ticks::default(), Ticks::default());
        assert!(!ledger.is_told());
        assert_eq!((ledger.next_untold(), ledger.next_untold()), (Some(caller(1)), None));
        ledger.owe_word(caller(1));
        ledger.sweep(WINDOW);
        assert!(ledger.is_told() && ledger.len() == 0, "what is full again is no news");
    }
}
