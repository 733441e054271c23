//! One node's limiter beside a real Redis, and what the tests ask of it.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use tidegate::{
    config::{LimitsConfig, RedisConfig},
    limits::{Caller, Decision, Demand, Limiter, Policy},
    model::{Chance, Clock},
    store::{Redis, RedisParts},
};
use tokio::time::{sleep, timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::harness::PATIENCE;

/// A window in which nothing comes back while a test runs.
pub(crate) const AGES: Duration = Duration::from_secs(1_000_000);

/// A node of Tidegate, as far as limits are concerned. Its link ends with it.
pub(crate) struct Node {
    pub(crate) limiter: Limiter,
    pub(crate) redis: Redis,
    _stop: DropGuard,
}

impl Node {
    /// A node that takes its time, so that a busy machine does not look like an outage.
    pub(crate) fn patient(url: &str) -> Self {
        Self::new(url, false, &LimitsConfig { redis_deadline_ms: 1_000, ..LimitsConfig::defaults() })
    }

    pub(crate) fn new(url: &str, cluster: bool, limits: &LimitsConfig) -> Self {
        let stop = CancellationToken::new();
        let config = RedisConfig { url: Some(url.into()), cluster, heartbeat_ms: 100, ..RedisConfig::defaults() };
        let parts = RedisParts {
            clock: Clock::system(),
            chance: Chance::from_entropy(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        let redis = Redis::open(&config, &parts).unwrap();
        let limiter = Limiter::shared(Clock::system(), limits, redis.clone());
        Self { limiter, redis, _stop: stop.drop_guard() }
    }

    /// Waits until it is connected and knows of this many nodes.
    pub(crate) async fn sees(self, nodes: u32) -> Self {
        eventually(async || self.redis.is_up() && self.redis.nodes() == nodes).await;
        self
    }

    /// Waits until its link is as it should be.
    pub(crate) async fn is_up(&self, up: bool) {
        eventually(async || self.redis.is_up() == up).await;
    }

    /// How many of `count` tries are admitted, one after another.
    pub(crate) async fn admitted(&self, caller: &Caller, wanted: &[Demand], count: u32) -> u32 {
        let mut admitted = 0;
        for _ in 0..count {
            admitted += u32::from(is_allowed(&self.limiter.check(caller, wanted).await));
        }
        admitted
    }

    /// What the caller has left under the first demand's policy.
    pub(crate) async fn left(&self, caller: &Caller, wanted: &Demand) -> u32 {
        remaining(&self.limiter.check(caller, &[Demand { cost: 0, ..wanted.clone() }]).await)[0]
    }
}

pub(crate) fn caller(number: u32) -> Caller {
    Caller::new(None, IpAddr::V4(Ipv4Addr::from_bits(number)))
}

pub(crate) fn demand(name: &str, limit: u32, window: Duration, cost: u32) -> Demand {
    Demand { policy: Policy { name: name.into(), limit, window }, cost }
}

pub(crate) fn is_allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allowed { .. })
}

pub(crate) fn remaining(decision: &Decision) -> Vec<u32> {
    let (Decision::Allowed { states } | Decision::Refused { states, .. }) = decision;
    states.iter().map(|standing| standing.remaining).collect()
}

pub(crate) fn wait(decision: &Decision) -> Duration {
    match decision {
        Decision::Allowed { .. } => Duration::ZERO,
        Decision::Refused { retry_after, .. } => *retry_after,
    }
}

/// Looks again and again until it is so.
pub(crate) async fn eventually(condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, holds).await.expect("what was waited for did not come");
}
