//! How nodes are asked: one JSON-RPC transport for all families of chains.
//!
//! Owns the endpoints of a chain, how far each has come, in which order they are asked, and when a second one is asked
//! beside the first. It must never give the value of a node that is behind or of another chain, and never sends a write
//! twice: reads go through [`Rpc::read`] and its kin, writes through [`Rpc::takers`]. It knows no address, no amount and no
//! transaction. `tests/it/chains_failover.rs` breaks it with nodes that hang, lie,
//! lag and refuse.

mod any;
mod endpoint;
mod heads;
mod quorum;
mod race;
mod refusal;
mod send;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use self::{
    endpoint::{Endpoint, EndpointParts},
    heads::Use,
};
pub(in crate::chains) use self::{
    heads::{BlockRef, Head, HeadProbe, Heads, Probed},
    quorum::Agreement,
    refusal::{Refusal, Verdict},
    send::Handed,
    wire::Call,
};
use crate::{
    config::{ChainsConfig, EndpointEntry},
    model::{ChainId, Clock},
    resilience::{CallError, Outbound, PolicyOptions, RetryBudget, RetryOptions, Upstreams},
};

/// Batches of one read that are under way at once.
const BATCHES_AT_ONCE: usize = 4;
/// No read is sent twice before this, however fast an endpoint usually is.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(20);
/// The same, before anything is known of how long a method takes.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);

/// The way to the nodes of one chain. Clones share everything.
#[derive(Clone)]
pub(in crate::chains) struct Rpc(Arc<Shared>);

struct Shared {
    chain: ChainId,
    endpoints: Vec<Arc<Endpoint>>,
    probe: HeadProbe,
    /// Counts the looks at heads, to wake those who wait for one.
    told: watch::Sender<u64>,
    usage: Use,
    hedges: RetryBudget,
    poll: Duration,
    /// How late the answer to a poll may be.
    slack: Duration,
    deadline: Duration,
    max_lag: u64,
    batch_size: usize,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chains) struct Answer {
    pub(in crate::chains) value: Value,
    /// Which endpoint it was.
    pub(in crate::chains) endpoint: Arc<str>,
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chains) enum RpcError {
    /// The chain itself says no.
    Refused(Refusal),
    /// No endpoint could say.
    Failed(Failures),
    /// No endpoint answered in time.
    TimedOut,
    /// Fewer endpoints can be asked than must agree.
    TooFew {
        /// As many must agree.
        needed: usize,
        /// As many can be asked.
        usable: usize,
    },
    /// The endpoints say different things.
    Disagreement(Agreement),
}

/// Why each endpoint could not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::chains) struct Failures {
    /// The endpoint and its reason.
    pub(in crate::chains) reasons: Vec<(Arc<str>, Arc<str>)>,
    /// When asking again makes sense, where one of them said so.
    pub(in crate::chains) retry_after: Option<Duration>,
}

/// What [`Rpc`] is made of, apart from its chain's own.
#[derive(Clone)]
pub(in crate::chains) struct RpcParts {
    pub(in crate::chains) upstreams: Upstreams,
    pub(in crate::chains) outbound: Outbound,
    pub(in crate::chains) clock: Clock,
    pub(in crate::chains) tasks: TaskTracker,
    pub(in crate::chains) stop: CancellationToken,
}

impl Rpc {
    /// Knows the endpoints of one chain, and polls them while somebody asks. Must be called inside a tokio runtime.
    pub(in crate::chains) fn new(
        config: &ChainsConfig,
        chain: &ChainId,
        probe: HeadProbe,
        lag_factor: u64,
        parts: &RpcParts,
    ) -> Self {
        let RpcParts { upstreams, outbound, clock, tasks, stop } = parts.clone();
        let options = options(config, &upstreams);
        let of = EndpointParts { outbound: &outbound, upstreams: &upstreams, options: &options, clock: &clock };
        let mine = config.endpoints.iter().filter(|entry| entry.chain == *chain);
        let endpoint = |EndpointEntry { name, url, .. }: &EndpointEntry| {
            let url: Url = url.expose().parse().expect("the configuration has checked it");
            Arc::new(Endpoint::new(name, format!("{chain}/{name}"), url, &of))
        };
        let hedging = RetryOptions { budget_percent: config.hedge_percentage, ..options.retry.clone() };
        let rpc = Self(Arc::new(Shared {
            chain: chain.clone(),
            endpoints: mine.map(endpoint).collect(),
            probe,
            told: watch::Sender::new(0),
            usage: Use::new(Duration::from_secs(config.idle_seconds)),
            hedges: RetryBudget::new(&hedging, clock.instant()),
            poll: Duration::from_millis(config.head_poll_ms),
            slack: Duration::from_millis(config.try_timeout_ms),
            deadline: Duration::from_millis(config.deadline_ms),
            max_lag: config.max_lag_blocks * lag_factor,
            batch_size: config.batch_size,
            clock,
            tasks,
            stop,
        }));
        for endpoint in &rpc.0.endpoints {
            let watching = rpc.clone().watch(Arc::clone(endpoint));
            rpc.0.tasks.spawn(rpc.0.stop.clone().run_until_cancelled_owned(watching));
        }
        rpc
    }

    /// Reads by calls of one method: one answer for each, in their order.
    pub(in crate::chains) async fn read(&self, calls: &[Call]) -> Vec<Result<Answer, RpcError>> {
        self.race_all(calls, None).await
    }

    /// Reads what an endpoint may not know of, which it says by null in the part of an answer that the JSON pointer
    /// `sought` names. That is believed only of an endpoint that keeps up, and when no other one that answers knows more.
    pub(in crate::chains) async fn find(&self, calls: &[Call], sought: &'static str) -> Vec<Result<Answer, RpcError>> {
        self.race_all(calls, Some(sought)).await
    }

    async fn race_all(&self, calls: &[Call], sought: Option<&'static str>) -> Vec<Result<Answer, RpcError>> {
        let batches: Vec<_> = calls.chunks(self.0.batch_size).map(|batch| self.race(batch, sought)).collect();
        stream::iter(batches).buffered(BATCHES_AT_ONCE).collect::<Vec<_>>().await.concat()
    }

    /// The same, where more than half of the endpoints must agree on the part of each answer that the JSON pointer
    /// `judged` names.
    pub(in crate::chains) async fn read_agreed(
        &self,
        calls: &[Call],
        judged: &'static str,
    ) -> Vec<Result<(Answer, Agreement), RpcError>> {
        let batches: Vec<_> = calls.chunks(self.0.batch_size).map(|batch| self.poll_all(batch, judged)).collect();
        stream::iter(batches).buffered(BATCHES_AT_ONCE).collect::<Vec<_>>().await.concat()
    }

    /// Until when an endpoint may be silent before another one is asked beside it: what the fastest usually takes, as one
    /// that hangs soon has nothing usual.
    fn patience(&self, method: &'static str) -> Duration {
        let usual = self.0.endpoints.iter().filter_map(|endpoint| endpoint.usual(method)).min();
        usual.unwrap_or(FIRST_PATIENCE).max(SHORTEST_PATIENCE)
    }
}

impl Failures {
    fn add(&mut self, endpoint: &Arc<str>, error: &CallError) {
        self.retry_after = self.retry_after.max(error.retry_after());
        self.reasons.push((Arc::clone(endpoint), error.to_string().into()));
    }

    fn note(&mut self, endpoint: &Arc<str>, message: &Arc<str>) {
        if !self.reasons.iter().any(|(known, _)| known == endpoint) {
            self.reasons.push((Arc::clone(endpoint), Arc::clone(message)));
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (endpoint, reason)) in self.reasons.iter().enumerate() {
            let comma = if place == 0 { "" } else { "; " };
            write!(f, "{comma}{endpoint}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}

/// How each method of each endpoint is called. Another endpoint is the second try.
fn options(config: &ChainsConfig, upstreams: &Upstreams) -> PolicyOptions {
    let mut options = upstreams.defaults();
    options.breaker.timeout = Duration::from_millis(config.try_timeout_ms);
    options.deadline = options.breaker.timeout;
    options.retry.max_tries = 1;
    options.throttle.max_per_second = config.max_per_second.into();
    options.throttle.burst = options.throttle.burst.max(config.max_per_second);
    options
}
