//! The limiter of several nodes: accounts in Redis, one script call for all demands of a check.
//!
//! Every account that Redis tells of is remembered here, in Redis's own time. That serves three ends. A flood of an
//! exhausted caller is refused without asking. When Redis is slow or gone, this node goes on from where everybody was,
//! with its share of the limit. And each question carries what is remembered, so that a Redis that lost its memory, or
//! missed what nodes decided alone, is told.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use metrics::{Counter, counter};

use super::{
    Caller, Decision, Demand,
    accounts::{Accounts, Draw},
    gcra::Gcra,
    outage::Outages,
    server_clock::ServerClock,
};
use crate::{
    config::LimitsConfig,
    model::Clock,
    store::{Lane, Lua, Redis, RedisError},
};

static GCRA: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("gcra.lua")));

/// How many accounts are told of at a time after an outage: few enough that callers do not wait behind them.
const TOLD_AT_ONCE: usize = 16;

/// After so many rounds in a row without an answer, nobody listens; a few are the lot of a cluster with a dead node.
const UNHEARD_AT_MOST: usize = 4;

/// How long it is before somebody who did not listen is told again.
const BEFORE_TELLING_AGAIN: Duration = Duration::from_secs(1);

/// The accounts of all nodes.
pub(super) struct Shared {
    redis: Redis,
    lane: Lane,
    accounts: Accounts,
    time: ServerClock,
    outages: Outages,
    is_telling: AtomicBool,
    decided: Decided,
}

/// By whom decisions were made.
struct Decided {
    redis: Counter,
    blocklist: Counter,
    fallback: Counter,
}

/// What the script answers: the time, and the moment at which each account was to be full, without the charge.
struct Verdict {
    now: Duration,
    full_at: Vec<Duration>,
}

impl Shared {
    pub(super) fn new(clock: Clock, config: &LimitsConfig, redis: Redis) -> Self {
        let decided = |by: &'static str| counter!("tidegate_limit_backend_total", "backend" => by);
        Self {
            lane: redis.lane("limits", Duration::from_millis(config.redis_deadline_ms)),
            redis,
            accounts: Accounts::new(config, Gcra::in_microseconds),
            time: ServerClock::new(clock),
            outages: Outages::new(config),
            is_telling: AtomicBool::new(false),
            decided: Decided {
                redis: decided("redis"),
                blocklist: decided("blocklist"),
                fallback: decided("fallback"),
            },
        }
    }

    pub(super) async fn check(self: &Arc<Self>, caller: &Caller, demands: &[Demand]) -> Decision {
        let draws = self.accounts.draws(caller, demands);
        if draws.is_empty() {
            return Decision::Allowed { states: Vec::new() };
        }
        let time = self.time.now();
        if let Some(refusal) = self.accounts.certain_refusal(&draws, time.earliest, time.latest) {
            self.decided.blocklist.increment(1);
            return refusal;
        }
        match self.ask(&draws).await {
            Ok(verdict) => {
                self.outages.shared(self.time.elapsed());
                self.decided.redis.increment(1);
                let decision = self.accounts.conclude(&draws, &verdict.full_at, verdict.now);
                self.tell_in_background();
                decision
            }
            Err(error) => {
                self.outages.failed(&error, self.time.elapsed());
                self.decided.fallback.increment(1);
                let nodes = self.redis.nodes();
                let terms = |policy: &_| self.outages.terms(policy, nodes);
                let decision = self.accounts.decide(&draws, terms, || self.time.now().latest);
                self.accounts.owe_word(&draws);
                decision
            }
        }
    }

    /// Charges the draws in Redis, or none of them.
    async fn ask(&self, draws: &[Draw]) -> Result<Verdict, RedisError> {
        let keys: Vec<String> = draws.iter().map(|draw| self.redis.key(&draw.key.name())).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let numbers: Vec<String> = draws.iter().flat_map(|draw| self.numbers(draw)).map(|n| n.to_string()).collect();
        let numbers: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
        let asked = self.time.elapsed();
        let reply: Vec<u64> = self.lane.script(&GCRA, &keys, &numbers).await?;
        let [now, full_at @ ..] = &*reply else {
            return Err(RedisError::Unexpected("no time in the limiter's verdict".into()));
        };
        if full_at.len() != draws.len() {
            return Err(RedisError::Unexpected("another number of accounts in the limiter's verdict".into()));
        }
        let now = Duration::from_micros(*now);
        self.time.learn(now, asked);
        Ok(Verdict { now, full_at: full_at.iter().copied().map(Duration::from_micros).collect() })
    }

    /// What the script wants to know of a draw: charge, most, and the known moment of being full.
    fn numbers(&self, draw: &Draw) -> [u64; 3] {
        // Lua's whole numbers end here. Only a share that is overdrawn for ages comes near.
        const LARGEST: u64 = (1 << 53) - 1;
        let known = draw.gcra.microseconds(self.accounts.full_at(draw));
        [draw.gcra.charge_microseconds(draw.cost), draw.gcra.most_microseconds(), known.min(LARGEST)]
    }

    /// Tells Redis what was decided without it, if there is any such thing and nobody is at it.
    fn tell_in_background(self: &Arc<Self>) {
        if !self.accounts.is_told() && !self.is_telling.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                if !shared.tell().await {
                    tokio::time::sleep(BEFORE_TELLING_AGAIN).await;
                }
                shared.is_telling.store(false, Ordering::Release);
            });
        }
    }

    /// Goes once through all that is untold, and gives up when nobody listens. Whether all is told.
    async fn tell(&self) -> bool {
        let (mut missed, mut unheard) = (Vec::new(), 0);
        while unheard < UNHEARD_AT_MOST {
            let untold = self.accounts.untold(TOLD_AT_ONCE);
            if untold.is_empty() {
                break;
            }
            let verdicts = join_all(untold.iter().map(|draw| self.ask(std::slice::from_ref(draw)))).await;
            let (asked, missed_before) = (untold.len(), missed.len());
            for (draw, verdict) in untold.into_iter().zip(verdicts) {
                match verdict {
                    Ok(Verdict { now, full_at }) => self.accounts.learn(&draw, full_at[0], now),
                    Err(_) => missed.push(draw),
                }
            }
            unheard = if missed.len() - missed_before < asked { 0 } else { unheard + 1 };
        }
        self.accounts.owe_word(&missed);
        missed.is_empty() && unheard == 0
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("redis", &self.redis).field("known", &self.accounts).finish_non_exhaustive()
    }
}
