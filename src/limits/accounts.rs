//! All accounts that this node knows, under one lock, and the decisions that are made from them.
//!
//! What time it is, and under which terms a limit is kept, are the backend's: `local.rs` knows everything there is to
//! know of an account, `redis.rs` what this node last heard.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use metrics::{Gauge, gauge};
use parking_lot::Mutex;

use super::{
    Caller, Decision, Demand, Policy, Standing,
    gcra::{Gcra, Ticks},
    key::LimitKey,
    ledger::Ledger,
};
use crate::config::LimitsConfig;

/// What whoever is refused without a reason in their account is told to wait.
const CLOSED: Duration = Duration::from_secs(1);

/// The accounts under all policies.
pub(super) struct Accounts {
    capacity: usize,
    overrides: HashMap<Arc<str>, (u32, Duration)>,
    arithmetic: fn(u32, Duration) -> Gcra,
    ledgers: Mutex<HashMap<Policy, Ledger>>,
    keys: Gauge,
}

/// All that one check asks of one account.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    pub(super) key: LimitKey,
    pub(super) policy: Policy,
    pub(super) gcra: Gcra,
    pub(super) cost: u64,
}

/// How a limit is kept at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    /// By this many nodes, each for itself and with its share.
    Share(u32),
    /// Not at all.
    Open,
    /// By refusing.
    Closed,
}

/// What a draw would do to its account.
struct Offer {
    now: Ticks,
    before: Ticks,
    after: Ticks,
    nodes: u32,
    /// How long until the account can pay; zero if it can now.
    wait: Duration,
}

impl Accounts {
    pub(super) fn new(config: &LimitsConfig, arithmetic: fn(u32, Duration) -> Gcra) -> Self {
        let window = |seconds: u32| Duration::from_secs(seconds.into());
        let overrides = config.overrides.iter();
        Self {
            capacity: config.max_keys,
            overrides: overrides.map(|to| (to.policy.as_str().into(), (to.limit, window(to.window_seconds)))).collect(),
            arithmetic,
            ledgers: Mutex::default(),
            keys: gauge!("tidegate_limit_keys"),
        }
    }

    /// The demands under the policies in force, those on the same account added up.
    pub(super) fn draws(&self, caller: &Caller, demands: &[Demand]) -> Vec<Draw> {
        let mut draws: Vec<Draw> = Vec::with_capacity(demands.len());
        for demand in demands {
            let policy = self.in_force(&demand.policy);
            match draws.iter_mut().find(|draw| draw.policy == policy) {
                Some(draw) => draw.cost += u64::from(demand.cost),
                None => draws.push(Draw {
                    key: caller.account(&policy),
                    gcra: (self.arithmetic)(policy.limit, policy.window),
                    policy,
                    cost: demand.cost.into(),
                }),
            }
        }
        draws
    }

    fn in_force(&self, policy: &Policy) -> Policy {
        let declared = (policy.limit, policy.window);
        let (limit, window) = self.overrides.get(&policy.name).copied().unwrap_or(declared);
        Policy { name: Arc::clone(&policy.name), limit, window }
    }

    /// Decides from what is known here, and charges it. The time is read under the lock, so that it does not run
    /// backwards from one check to the next.
    pub(super) fn decide(
        &self,
        draws: &[Draw],
        terms: impl Fn(&Policy) -> Terms,
        elapsed: impl FnOnce() -> Duration,
    ) -> Decision {
        let mut ledgers = self.ledgers.lock();
        let elapsed = elapsed();
        sweep(&mut ledgers, elapsed);
        let offers: Vec<Offer> = draws
            .iter()
            .map(|draw| {
                let known = self.ledger(&mut ledgers, draw).full_at(&draw.key);
                draw.offer(known, elapsed, terms(&draw.policy))
            })
            .collect();
        if offers.iter().all(Offer::is_affordable) {
            let charged = draws.iter().zip(&offers).filter(|(_, offer)| offer.after > offer.before.max(offer.now));
            for (draw, offer) in charged {
                self.ledger(&mut ledgers, draw).charge(draw.key, offer.after);
            }
        }
        self.answer(&mut ledgers, draws, &offers)
    }

    /// The refusal that is certain from what is known here: nobody else's decision makes an account fuller. `latest` is
    /// the latest that it can be where the accounts are kept, by which nobody is refused too long; `earliest` the
    /// earliest, by which nobody is told too short a wait.
    pub(super) fn certain_refusal(&self, draws: &[Draw], earliest: Duration, latest: Duration) -> Option<Decision> {
        let mut ledgers = self.ledgers.lock();
        sweep(&mut ledgers, latest);
        let mut certain = false;
        let mut offers = Vec::with_capacity(draws.len());
        for draw in draws {
            let known = self.ledger(&mut ledgers, draw).full_at(&draw.key);
            let offer = draw.offer(known, latest, Terms::Share(1));
            // An account that owes more than one can has not been told of since a clock was set back.
            certain |=
                draw.gcra.forbids(draw.cost) || (!offer.is_affordable() && !draw.gcra.overdrawn(known, offer.now));
            offers.push(draw.offer(known, earliest, Terms::Share(1)));
        }
        certain.then(|| self.answer(&mut ledgers, draws, &offers))
    }

    /// What was decided where all nodes keep their accounts, where it was `elapsed` and the accounts of the draws, before
    /// any charge, were to be full at these moments.
    pub(super) fn conclude(&self, draws: &[Draw], full_at: &[Duration], elapsed: Duration) -> Decision {
        let mut ledgers = self.ledgers.lock();
        let offers: Vec<Offer> = draws
            .iter()
            .zip(full_at)
            .map(|(draw, full_at)| draw.offer(draw.gcra.at(*full_at), elapsed, Terms::Share(1)))
            .collect();
        let admitted = offers.iter().all(Offer::is_affordable);
        for (draw, offer) in draws.iter().zip(&offers) {
            let full_at = if admitted { offer.after } else { offer.before };
            self.ledger(&mut ledgers, draw).learn(draw.key, full_at, offer.now);
        }
        self.answer(&mut ledgers, draws, &offers)
    }

    /// How many accounts are known.
    pub(super) fn len(&self) -> usize {
        self.ledgers.lock().values().map(Ledger::len).sum()
    }

    /// When the account of a draw is full, as far as is known here.
    pub(super) fn full_at(&self, draw: &Draw) -> Ticks {
        self.ledgers.lock().get(&draw.policy).map_or_else(Ticks::default, |ledger| ledger.full_at(&draw.key))
    }

    /// Marks the accounts of these draws as ones of which the other nodes should hear.
    pub(super) fn owe_word(&self, draws: &[Draw]) {
        let mut ledgers = self.ledgers.lock();
        for draw in draws {
            self.ledger(&mut ledgers, draw).owe_word(draw.key);
        }
    }

    /// Whether the other nodes know all that they should.
    pub(super) fn is_told(&self) -> bool {
        self.ledgers.lock().values().all(Ledger::is_told)
    }

    /// At most `count` accounts of which the other nodes should hear, asked for nothing. They are then thought to be
    /// told.
    pub(super) fn untold(&self, count: usize) -> Vec<Draw> {
        let mut ledgers = self.ledgers.lock();
        let mut draws = Vec::new();
        for (policy, ledger) in ledgers.iter_mut() {
            while draws.len() < count
                && let Some(key) = ledger.next_untold()
            {
                draws.push(Draw { key, policy: policy.clone(), gcra: ledger.gcra, cost: 0 });
            }
        }
        draws
    }

    /// Writes down what all nodes know of an account, now that they were told.
    pub(super) fn learn(&self, draw: &Draw, full_at: Duration, elapsed: Duration) {
        let (full_at, now) = (draw.gcra.at(full_at), draw.gcra.at(elapsed));
        self.ledger(&mut self.ledgers.lock(), draw).learn(draw.key, full_at, now);
    }

    fn answer(&self, ledgers: &mut HashMap<Policy, Ledger>, draws: &[Draw], offers: &[Offer]) -> Decision {
        let refused = offers.iter().position(|offer| !offer.is_affordable());
        let mut states = Vec::with_capacity(draws.len());
        for (draw, offer) in draws.iter().zip(offers) {
            // Who could have paid beside a refused draw is neither.
            if refused.is_none() || !offer.is_affordable() {
                self.ledger(ledgers, draw).count(refused.is_none());
            }
            states.push(draw.standing(offer, refused.is_none()));
        }
        match refused {
            None => Decision::Allowed { states },
            Some(first) => Decision::Refused {
                standing: states[first].clone(),
                retry_after: offers.iter().map(|offer| offer.wait).max().unwrap_or_default(),
                states,
            },
        }
    }

    fn ledger<'a>(&self, ledgers: &'a mut HashMap<Policy, Ledger>, draw: &Draw) -> &'a mut Ledger {
        ledgers
            .entry(draw.policy.clone())
            .or_insert_with(|| Ledger::new(&draw.policy, draw.gcra, self.capacity, self.keys.clone()))
    }
}

impl Draw {
    fn offer(&self, full_at: Ticks, elapsed: Duration, terms: Terms) -> Offer {
        let now = self.gcra.at(elapsed);
        let nodes = if let Terms::Share(nodes) = terms { nodes } else { 1 };
        let wait = if self.gcra.forbids(self.cost) {
            // No wait would help; a window keeps whoever tries again regardless from doing so at once.
            self.policy.window.max(Duration::from_secs(1))
        } else {
            match terms {
                Terms::Share(nodes) => self.gcra.wait(full_at, now, self.cost, nodes),
                Terms::Closed if self.cost > 0 => CLOSED,
                Terms::Closed | Terms::Open => Duration::ZERO,
            }
        };
        let cost = if matches!(terms, Terms::Share(_)) { self.cost } else { 0 };
        Offer { now, before: full_at, after: self.gcra.charged(full_at, now, cost, nodes), nodes, wait }
    }

    fn standing(&self, offer: &Offer, charged: bool) -> Standing {
        let full_at = if charged { offer.after } else { offer.before };
        Standing {
            name: Arc::clone(&self.policy.name),
            quota: self.policy.limit,
            window: self.policy.window,
            remaining: self.gcra.remaining(full_at, offer.now, offer.nodes),
            reset: self.gcra.reset(full_at, offer.now),
        }
    }
}

impl Offer {
    fn is_affordable(&self) -> bool {
        self.wait.is_zero()
    }
}

/// Forgets a bounded number of full accounts under every policy.
fn sweep(ledgers: &mut HashMap<Policy, Ledger>, elapsed: Duration) {
    for ledger in ledgers.values_mut() {
        ledger.sweep(elapsed);
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("known", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    /// What the script does, without Redis. `tests/it/limits_script.rs` compares the script itself.
    #[derive(Default)]
    struct Script(HashMap<LimitKey, u64>);

    impl Script {
        fn run(&mut self, node: &Accounts, draws: &[Draw], now: u64) -> Vec<Duration> {
            let full_at: Vec<u64> = draws
                .iter()
                .map(|draw| {
                    let stored = self.0.get(&draw.key).copied().unwrap_or_default();
                    let known = draw.gcra.microseconds(node.full_at(draw));
                    stored.max(known).min(now + draw.gcra.most_microseconds()).max(now)
                })
                .collect();
            let charge = |draw: &Draw| draw.gcra.charge_microseconds(draw.cost);
            let fits = |(draw, full_at): (&Draw, &u64)| full_at + charge(draw) <= now + draw.gcra.most_microseconds();
            let all = draws.iter().zip(&full_at).all(fits);
            for (draw, full_at) in draws.iter().zip(&full_at) {
                self.0.insert(draw.key, full_at + if all { charge(draw) } else { 0 });
            }
            full_at.into_iter().map(Duration::from_micros).collect()
        }
    }

    /// A check at one of the nodes, as `redis.rs` makes it when answers take no time. Whether Redis was asked.
    fn check(node: &Accounts, script: &mut Script, demands: &[Demand], now: Duration) -> (Decision, bool) {
        let draws = node.draws(&caller(), demands);
        if let Some(refusal) = node.certain_refusal(&draws, now, now) {
            return (refusal, false);
        }
        let full_at = script.run(node, &draws, u64::try_from(now.as_micros()).unwrap());
        (node.conclude(&draws, &full_at, now), true)
    }

    fn caller() -> Caller {
        Caller::new(None, Ipv4Addr::LOCALHOST.into())
    }

    fn accounts(arithmetic: fn(u32, Duration) -> Gcra) -> Accounts {
        Accounts::new(&LimitsConfig::defaults(), arithmetic)
    }

    /// One step of a schedule: wait, then ask one of two nodes for this much of two policies.
    #[derive(Debug, Clone)]
    struct Step {
        pause: Duration,
        node: usize,
        costs: [u32; 2],
    }

    /// Two policies whose tokens are whole microseconds, and a schedule.
    fn cases() -> impl Strategy<Value = ([Policy; 2], Vec<Step>)> {
        let policy = |name: &'static str| {
            (1..30_u32, 1..5_000_u64).prop_map(move |(limit, token)| Policy {
                name: name.into(),
                limit,
                window: Duration::from_micros(token) * limit,
            })
        };
        let step = (prop_oneof![0..10_u64, 0..10_000_u64, 0..200_000_u64], 0..2_usize, 0..8_u32, 0..8_u32)
            .prop_map(|(pause, node, one, two)| Step { pause: Duration::from_micros(pause), node, costs: [one, two] });
        ((policy("a"), policy("b")), proptest::collection::vec(step, 1..80)).prop_map(|((a, b), steps)| ([a, b], steps))
    }

    fn demands(policies: &[Policy; 2], costs: [u32; 2]) -> [Demand; 2] {
        [0, 1].map(|i| Demand { policy: policies[i].clone(), cost: costs[i] })
    }

    fn run(policies: &[Policy; 2], steps: Vec<Step>, mut see: impl FnMut(Decision, (Decision, bool)), nodes: usize) {
        let memory = accounts(Gcra::exact);
        let shared = [accounts(Gcra::in_microseconds), accounts(Gcra::in_microseconds)];
        let (mut script, mut now) = (Script::default(), Duration::from_secs(1_790_000_000));
        for Step { pause, node, costs } in steps {
            now += pause;
            let demands = demands(policies, costs);
            let expected = memory.decide(&memory.draws(&caller(), &demands), |_| Terms::Share(1), || now);
            see(expected, check(&shared[node % nodes], &mut script, &demands, now));
        }
    }

    fn wait(decision: &Decision) -> Duration {
        if let Decision::Refused { retry_after, .. } = decision { *retry_after } else { Duration::ZERO }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn one_node_decides_over_redis_as_it_does_in_memory((policies, steps) in cases()) {
            run(&policies, steps, |expected, (decision, _)| assert_eq!(decision, expected), 1);
        }

        #[test]
        fn two_nodes_decide_as_one_would_and_block_nobody_too_long((policies, steps) in cases()) {
            let see = |expected: Decision, (decision, asked): (Decision, bool)| {
                if asked {
                    assert_eq!(decision, expected);
                } else {
                    // The other node may have drawn on the account meanwhile.
                    assert!(wait(&decision) > Duration::ZERO && wait(&decision) <= wait(&expected));
                }
            };
            run(&policies, steps, see, 2);
        }
    }
}
