//! How far each endpoint has come, and which block the chain is read at.
//!
//! Every endpoint of a chain that somebody asks for is polled by a task of its own, so that one that hangs delays no
//! other. What the chain is read at is the newest block that is not far ahead of the others: a node that makes blocks up is
//! not believed.

use std::{pin::pin, sync::Arc, time::Duration};

use metrics::gauge;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{sleep, timeout, timeout_at},
};

use super::{Call, Failures, Refusal, Rpc, RpcError, endpoint::Endpoint};
use crate::{chains::EndpointStatus, model::Instant, resilience::CallKind};

/// How long the first head waits for those of the other endpoints.
const GRACE: Duration = Duration::from_millis(150);

/// A block by its number, which is the slot on Solana, and its hash where the family reads by hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chains) struct BlockRef {
    pub(in crate::chains) number: u64,
    pub(in crate::chains) hash: Option<Arc<str>>,
}

/// The newest blocks of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chains) struct Heads {
    /// The newest block that is read.
    pub(in crate::chains) latest: BlockRef,
    /// The newest block that cannot be undone.
    pub(in crate::chains) finalized: BlockRef,
    /// When the newest block was made, in seconds since 1970, where the family says so.
    pub(in crate::chains) timestamp: Option<i64>,
}

/// How a family asks for heads, and checks that an endpoint is of the right chain.
pub(in crate::chains) struct HeadProbe {
    pub(in crate::chains) calls: Vec<Call>,
    /// What came back says, or why it makes no sense.
    pub(in crate::chains) read: fn(&[Value], &str) -> Result<Probed, String>,
    /// The chain's number or its first block's hash, as `read` compares it.
    pub(in crate::chains) identity: String,
}

/// What an endpoint said of itself.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::chains) enum Probed {
    /// How far it has come.
    Heads(Heads),
    /// It answers for another chain, of this identity.
    WrongChain(String),
}

/// The heads that a chain is read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chains) struct Head {
    pub(in crate::chains) heads: Heads,
    /// Which endpoint said so.
    pub(in crate::chains) endpoint: Arc<str>,
}

impl Rpc {
    /// The head that the chain is read at, not older than two polls.
    pub(in crate::chains) async fn head(&self) -> Result<Head, RpcError> {
        self.touch();
        let deadline = self.0.clock.instant() + self.0.deadline;
        let mut told = self.0.told.subscribe();
        let began = self.0.clock.instant();
        loop {
            told.borrow_and_update();
            let all_told = self.all_told();
            let now = self.0.clock.instant();
            // The first to tell may be one that is behind.
            match self.best() {
                Some(head) if all_told || now >= began + GRACE => return Ok(head),
                Some(_) => {
                    let _ = timeout_at(began + GRACE, told.changed()).await;
                    continue;
                }
                None => {}
            }
            if let Some(failures) = self.all_failed_since(began) {
                return Err(RpcError::Failed(Failures { reasons: failures, retry_after: None }));
            }
            if timeout_at(deadline, told.changed()).await.is_err() {
                return Err(RpcError::TimedOut);
            }
        }
    }

    /// The next head that is another one than this. Waits for it, for as long as that takes.
    pub(in crate::chains) async fn next_head(&self, known: Option<&Head>) -> Result<Head, RpcError> {
        let mut told = self.0.told.subscribe();
        loop {
            told.borrow_and_update();
            let head = self.head().await?;
            if known.is_none_or(|known| known.heads != head.heads) {
                return Ok(head);
            }
            // While somebody waits, the polling goes on.
            let _ = timeout(self.0.poll * 4, told.changed()).await;
        }
    }

    /// The heads of the endpoints that keep up, the newest first, when they are others than these. Waits for that, for as long
    /// as it takes.
    pub(in crate::chains) async fn next_heads(&self, known: &[Head]) -> Result<Vec<Head>, RpcError> {
        let mut told = self.0.told.subscribe();
        loop {
            told.borrow_and_update();
            self.head().await?;
            let heads = self.abreast();
            if heads != known && !heads.is_empty() {
                return Ok(heads);
            }
            let _ = timeout(self.0.poll * 4, told.changed()).await;
        }
    }

    /// Polls one endpoint for as long as the chain is in use.
    pub(super) async fn watch(self, endpoint: Arc<Endpoint>) {
        loop {
            self.used().await;
            self.probe(&endpoint).await;
            self.0.told.send_modify(|count| *count += 1);
            sleep(self.0.poll).await;
        }
    }

    async fn probe(&self, endpoint: &Endpoint) {
        let probe = &self.0.probe;
        let answers = match endpoint.call(CallKind::Idempotent, &probe.calls).await {
            Ok(answers) => answers.into_iter().collect::<Result<Vec<Value>, Refusal>>(),
            Err(error) => return endpoint.learn(Err(error.to_string().into())),
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(refusal) => return endpoint.learn(Err(Arc::clone(&refusal.message))),
        };
        match (probe.read)(&answers, &probe.identity) {
            Ok(Probed::Heads(heads)) => {
                let (chain, name) = (self.0.chain.to_string(), endpoint.name.to_string());
                gauge!("tidegate_chain_head", "chain" => chain, "endpoint" => name).set(gauged(heads.latest.number));
                endpoint.bar(None);
                endpoint.learn(Ok(heads));
            }
            Ok(Probed::WrongChain(found)) => {
                let why = format!("it answers for another chain: {found}");
                tracing::error!(chain = %self.0.chain, endpoint = &*endpoint.name, why, "an endpoint cannot be used");
                endpoint.bar(Some(why.into()));
            }
            Err(wrong) => endpoint.learn(Err(wrong.into())),
        }
    }

    /// The newest head that is believed, unless all are too old.
    pub(super) fn best(&self) -> Option<Head> {
        self.believed().pop()
    }

    /// The heads of the endpoints that keep up, the newest first.
    pub(in crate::chains) fn abreast(&self) -> Vec<Head> {
        let mut heads = self.believed();
        heads.reverse();
        let newest = heads.first().map_or(0, |head| head.heads.latest.number);
        heads.retain(|head| head.heads.latest.number + self.0.max_lag >= newest);
        heads
    }

    /// The heads that are believed, the newest last.
    fn believed(&self) -> Vec<Head> {
        let now = self.0.clock.instant();
        let oldest = self.0.poll * 2 + self.0.slack;
        let mut heads: Vec<Head> = self
            .0
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let known = endpoint.known();
                let (heads, at) = known.heads.filter(|_| known.barred.is_none())?;
                (now.saturating_duration_since(at) <= oldest)
                    .then(|| Head { heads, endpoint: Arc::clone(&endpoint.name) })
            })
            .collect();
        heads.sort_by_key(|head| head.heads.latest.number);
        // The middle one, or the higher of two: of two, one is more likely to be behind than to make blocks up.
        let middle = heads.get(heads.len() / 2).map_or(0, |head| head.heads.latest.number);
        heads.retain(|head| head.heads.latest.number.saturating_sub(middle) <= self.0.max_lag);
        heads
    }

    /// Whether an endpoint is too far behind what the chain is read at.
    pub(super) fn lags(&self, endpoint: &Endpoint, head: &Head) -> bool {
        let known = endpoint.known();
        known.heads.is_some_and(|(heads, _)| heads.latest.number + self.0.max_lag < head.heads.latest.number)
    }

    /// The endpoints as operators see them, in the order of preference.
    pub(in crate::chains) fn endpoints(&self) -> Vec<EndpointStatus> {
        let best = self.best();
        let status = |endpoint: &Arc<Endpoint>| {
            let known = endpoint.known();
            let head = known.heads.as_ref().map(|(heads, _)| heads.latest.number);
            let lag = best.as_ref().zip(head).map(|(best, head)| best.heads.latest.number.saturating_sub(head));
            let is_behind = lag.is_some_and(|lag| lag > self.0.max_lag);
            EndpointStatus {
                name: Arc::clone(&endpoint.name),
                head,
                lag,
                usable: known.barred.is_none() && !is_behind,
                trouble: known.barred.or(known.trouble.map(|(why, _)| why)),
            }
        };
        self.0.endpoints.iter().map(status).collect()
    }

    /// Whether every endpoint has told its head of late, or why it cannot.
    fn all_told(&self) -> bool {
        let (now, oldest) = (self.0.clock.instant(), self.0.poll * 2 + self.0.slack);
        self.0.endpoints.iter().all(|endpoint| {
            let known = endpoint.known();
            let at = known.heads.map(|(_, at)| at).max(known.trouble.map(|(_, at)| at));
            known.barred.is_some() || at.is_some_and(|at| now.saturating_duration_since(at) <= oldest)
        })
    }

    /// Why no endpoint has a head, once all were asked since.
    fn all_failed_since(&self, began: Instant) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        let reasons = self.0.endpoints.iter().map(|endpoint| {
            let known = endpoint.known();
            let since = known.trouble.filter(|(_, at)| *at >= began).map(|(why, _)| why);
            Some((Arc::clone(&endpoint.name), known.barred.or(since)?))
        });
        reasons.collect()
    }

    /// Somebody asks for the chain.
    fn touch(&self) {
        let Use { last, again, .. } = &self.0.usage;
        *last.lock() = Some(self.0.clock.instant());
        again.notify_waiters();
    }

    /// Waits until somebody asks for the chain, or did so of late.
    async fn used(&self) {
        let Use { last, again, idle_after } = &self.0.usage;
        loop {
            let mut asked = pin!(again.notified());
            // Before the look, so that no call falls between the two.
            asked.as_mut().enable();
            let now = self.0.clock.instant();
            if last.lock().is_some_and(|last| now.saturating_duration_since(last) < *idle_after) {
                return;
            }
            asked.await;
        }
    }
}

/// Reads of a chain that nobody asks for are not worth polling it.
pub(super) struct Use {
    last: Mutex<Option<Instant>>,
    again: Notify,
    idle_after: Duration,
}

impl Use {
    pub(super) fn new(idle_after: Duration) -> Self {
        Self { last: Mutex::default(), again: Notify::new(), idle_after }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is read by people, and is exact up to 2^53")]
fn gauged(number: u64) -> f64 {
    number as f64
}
