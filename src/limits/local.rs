//! The limiter within one process: all ledgers under one lock, so that a check is all or nothing.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use metrics::{Gauge, gauge};
use parking_lot::Mutex;

use super::{
    Decision, Demand, LimitKey, Policy, Standing,
    gcra::{Gcra, Ticks},
    ledger::Ledger,
};
use crate::{
    config::LimitsConfig,
    model::{Clock, Instant},
};

/// The accounts of this process.
pub(super) struct Local {
    clock: Clock,
    began: Instant,
    capacity: usize,
    overrides: HashMap<Arc<str>, (u32, Duration)>,
    ledgers: Mutex<HashMap<Policy, Ledger>>,
    keys: Gauge,
}

/// All that one check asks of one account.
struct Draw {
    key: LimitKey,
    policy: Policy,
    cost: u64,
}

/// What a draw would do to its account.
struct Offer {
    now: Ticks,
    before: Ticks,
    after: Ticks,
    /// How long until the account can pay; zero if it can now.
    wait: Duration,
}

impl Local {
    pub(super) fn new(clock: Clock, config: &LimitsConfig) -> Self {
        let window = |seconds: u32| Duration::from_secs(seconds.into());
        let overrides = config.overrides.iter();
        Self {
            began: clock.instant(),
            clock,
            capacity: config.max_keys,
            overrides: overrides.map(|to| (to.policy.as_str().into(), (to.limit, window(to.window_seconds)))).collect(),
            ledgers: Mutex::default(),
            keys: gauge!("tidegate_limit_keys"),
        }
    }

    pub(super) fn check(&self, demands: &[Demand]) -> Decision {
        let draws = self.draws(demands);
        let mut ledgers = self.ledgers.lock();
        // Read under the lock, so that time does not run backwards from one check to the next.
        let elapsed = self.clock.instant().saturating_duration_since(self.began);
        for ledger in ledgers.values_mut() {
            ledger.sweep(elapsed);
        }
        let offers: Vec<Offer> =
            draws.iter().map(|draw| self.ledger(&mut ledgers, draw).offer(draw, elapsed)).collect();
        let refused = offers.iter().position(|offer| !offer.wait.is_zero());
        let mut states = Vec::with_capacity(draws.len());
        for (draw, offer) in draws.iter().zip(&offers) {
            let ledger = self.ledger(&mut ledgers, draw);
            let full_at = if refused.is_none() { offer.after } else { offer.before };
            if refused.is_none() && draw.cost > 0 {
                ledger.charge(draw.key, full_at);
            }
            // Who could have paid beside a refused draw is neither.
            if refused.is_none() || !offer.wait.is_zero() {
                ledger.count(refused.is_none());
            }
            states.push(draw.policy.standing(ledger.gcra, full_at, offer.now));
        }
        drop(ledgers);
        decide(states, &offers, refused)
    }

    /// The demands under the policies in force, those on the same account added up.
    fn draws(&self, demands: &[Demand]) -> Vec<Draw> {
        let mut draws: Vec<Draw> = Vec::with_capacity(demands.len());
        for demand in demands {
            let policy = self.in_force(&demand.policy);
            let same = draws.iter_mut().find(|draw| draw.key == demand.key && draw.policy == policy);
            match same {
                Some(draw) => draw.cost += u64::from(demand.cost),
                None => draws.push(Draw { key: demand.key, policy, cost: demand.cost.into() }),
            }
        }
        draws
    }

    fn in_force(&self, policy: &Policy) -> Policy {
        let declared = (policy.limit, policy.window);
        let (limit, window) = self.overrides.get(&policy.name).copied().unwrap_or(declared);
        Policy { name: Arc::clone(&policy.name), limit, window }
    }

    fn ledger<'a>(&self, ledgers: &'a mut HashMap<Policy, Ledger>, draw: &Draw) -> &'a mut Ledger {
        ledgers
            .entry(draw.policy.clone())
            .or_insert_with(|| Ledger::new(&draw.policy, self.capacity, self.keys.clone()))
    }
}

impl Ledger {
    fn offer(&self, draw: &Draw, elapsed: Duration) -> Offer {
        let now = self.gcra.at(elapsed);
        let before = self.full_at(&draw.key);
        let after = self.gcra.charged(before, now, draw.cost);
        let wait = if self.gcra.forbids(draw.cost) {
            // No wait would help; a window keeps whoever tries again regardless from doing so at once.
            draw.policy.window.max(Duration::from_secs(1))
        } else {
            self.gcra.wait(after, now)
        };
        Offer { now, before, after, wait }
    }
}

impl Policy {
    fn standing(&self, gcra: Gcra, full_at: Ticks, now: Ticks) -> Standing {
        Standing {
            name: Arc::clone(&self.name),
            quota: self.limit,
            window: self.window,
            remaining: gcra.remaining(full_at, now),
            reset: gcra.reset(full_at, now),
        }
    }
}

fn decide(states: Vec<Standing>, offers: &[Offer], refused: Option<usize>) -> Decision {
    match refused {
        None => Decision::Allowed { states },
        Some(first) => Decision::Refused {
            standing: states[first].clone(),
            retry_after: offers.iter().map(|offer| offer.wait).max().unwrap_or_default(),
            states,
        },
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledgers = self.ledgers.lock();
        let accounts: usize = ledgers.values().map(Ledger::len).sum();
        f.debug_struct("Local").field("policies", &ledgers.len()).field("accounts", &accounts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use chrono::DateTime;

    use super::*;

    fn ask(local: &Local, caller: u32, name: &str) -> Decision {
        let key = LimitKey::for_caller(None, Ipv4Addr::from_bits(caller).into(), name);
        let policy = Policy { name: name.into(), limit: 10, window: Duration::from_secs(10) };
        local.check(&[Demand { key, policy, cost: 1 }])
    }

    fn accounts(local: &Local) -> usize {
        local.ledgers.lock().values().map(Ledger::len).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_forgotten_by_whatever_is_asked_afterwards() {
        let local = Local::new(Clock::stepped_from(DateTime::UNIX_EPOCH), &LimitsConfig::defaults());
        for caller in 0..5_000 {
            ask(&local, caller, "Query.flooded");
        }
        assert_eq!(accounts(&local), 5_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..=5_000 / 16 {
            ask(&local, 0, "Query.other");
        }
        assert_eq!(accounts(&local), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_not_remembered() {
        let local = Local::new(Clock::stepped_from(DateTime::UNIX_EPOCH), &LimitsConfig::defaults());
        for caller in 0..100 {
            let key = LimitKey::for_caller(None, Ipv4Addr::from_bits(caller).into(), "Query.price");
            let policy = Policy { name: "Query.price".into(), limit: 1, window: Duration::from_secs(1) };
            local.check(&[Demand { key, policy, cost: 2 }]);
        }
        assert_eq!(accounts(&local), 0);
    }
}
