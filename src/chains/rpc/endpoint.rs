//! One node that answers for a chain: how it is called, and what is known of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use url::Url;

use super::{
    Call, Refusal, Verdict,
    heads::Heads,
    wire::{decode, encode},
};
use crate::{
    model::{Clock, Instant},
    resilience::{CallError, CallKind, CallPolicy, Outbound, PolicyOptions, Upstreams},
};

/// How long an endpoint that lost a race is second choice at first; doubles with every further one.
const SHORTEST_SUSPICION: Duration = Duration::from_secs(1);
const LONGEST_SUSPICION: Duration = Duration::from_secs(30);

/// One node that answers for a chain.
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    /// `CHAIN/NAME`, by which its upstreams begin.
    label: String,
    url: Url,
    outbound: Outbound,
    upstreams: Upstreams,
    options: PolicyOptions,
    policies: RwLock<HashMap<&'static str, CallPolicy>>,
    clock: Clock,
    known: Mutex<Known>,
}

/// What is known of an endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Its newest blocks, and when it said so.
    pub(super) heads: Option<(Heads, Instant)>,
    /// Why it cannot be used at all, such as another chain's node.
    pub(super) barred: Option<Arc<str>>,
    /// Why it gave no head the last time, and when that was.
    pub(super) trouble: Option<(Arc<str>, Instant)>,
    suspicion: Option<Suspicion>,
}

/// An endpoint that may hang.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    /// Until when others are asked first.
    until: Instant,
    /// For how long that was set.
    length: Duration,
}

/// What [`Endpoint`] is made of.
pub(super) struct EndpointParts<'a> {
    pub(super) outbound: &'a Outbound,
    pub(super) upstreams: &'a Upstreams,
    pub(super) options: &'a PolicyOptions,
    pub(super) clock: &'a Clock,
}

impl Endpoint {
    pub(super) fn new(name: &str, label: String, url: Url, parts: &EndpointParts<'_>) -> Self {
        Self {
            name: name.into(),
            label,
            url,
            outbound: parts.outbound.clone(),
            upstreams: parts.upstreams.clone(),
            options: parts.options.clone(),
            policies: RwLock::default(),
            clock: parts.clock.clone(),
            known: Mutex::default(),
        }
    }

    /// Makes calls in one request, under the policy of the first one's method.
    ///
    /// An answer that blames the node itself is an error, so that it counts against the breaker.
    pub(super) async fn call(&self, kind: CallKind, calls: &[Call]) -> Result<Vec<Result<Value, Refusal>>, CallError> {
        let Some(first) = calls.first() else { return Ok(Vec::new()) };
        let policy = self.policy(first.method);
        let body = encode(calls);
        let attempt = || async {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let reply = self.outbound.post(self.url.clone(), headers, body.clone()).await?;
            if let Some(hint) = reply.rate_hint(self.clock.now()) {
                policy.heed(hint);
            }
            let answers = decode(&reply.body, calls.len())?;
            blame(&answers)?;
            Ok(answers)
        };
        policy.call(kind, attempt).await
    }

    /// Whether the breaker of a method would refuse.
    pub(super) fn is_open(&self, method: &'static str) -> bool {
        self.policies.read().get(method).is_some_and(CallPolicy::is_open)
    }

    /// How long 95 of 100 calls of a method took of late; nothing before the first.
    pub(super) fn usual(&self, method: &'static str) -> Option<Duration> {
        let latency = self.policies.read().get(method)?.latency();
        (!latency.p95.is_zero()).then_some(latency.p95)
    }

    pub(super) fn known(&self) -> Known {
        self.known.lock().clone()
    }

    /// Takes in what the endpoint said of its newest blocks.
    pub(super) fn learn(&self, heads: Result<Heads, Arc<str>>) {
        let mut known = self.known.lock();
        match heads {
            Ok(heads) => {
                known.heads = Some((heads, self.clock.instant()));
                known.trouble = None;
            }
            Err(trouble) => known.trouble = Some((trouble, self.clock.instant())),
        }
    }

    /// Whether it may not know a block yet, as far as it has said.
    pub(super) fn has_not_seen(&self, number: u64) -> bool {
        self.known.lock().heads.as_ref().is_none_or(|(heads, _)| heads.latest.number < number)
    }

    /// Says why the endpoint cannot be used, or that it can.
    pub(super) fn bar(&self, why: Option<Arc<str>>) {
        self.known.lock().barred = why;
    }

    /// Another endpoint, asked later, answered earlier: this one may hang. Others are asked first for a while.
    pub(super) fn suspect(&self) {
        let now = self.clock.instant();
        self.known
            .lock()
            .suspicion
            .get_or_insert(Suspicion { until: now + SHORTEST_SUSPICION, length: SHORTEST_SUSPICION });
    }

    /// It answered.
    pub(super) fn trust(&self) {
        self.known.lock().suspicion = None;
    }

    /// Whether others are asked first. Once in a while it is not: that one call finds out, and the next ones wait for what
    /// it finds.
    pub(super) fn is_suspected(&self) -> bool {
        let now = self.clock.instant();
        let mut known = self.known.lock();
        let Some(Suspicion { until, length }) = &mut known.suspicion else { return false };
        if now < *until {
            return true;
        }
        *length = (*length * 2).min(LONGEST_SUSPICION);
        *until = now + *length;
        false
    }

    fn policy(&self, method: &'static str) -> CallPolicy {
        if let Some(policy) = self.policies.read().get(method) {
            return policy.clone();
        }
        let policy = self.upstreams.register(format!("{}/{method}", self.label), self.options.clone());
        self.policies.write().entry(method).or_insert(policy).clone()
    }
}

/// Turns what blames the node into an error: one such answer is enough, as they come for all calls of a batch or none.
fn blame(answers: &[Result<Value, Refusal>]) -> Result<(), CallError> {
    for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        match refusal.verdict() {
            Verdict::Slower => return Err(CallError::RateLimited { retry_after: None }),
            Verdict::Broken => {
                return Err(CallError::Upstream { status: None, detail: Arc::clone(&refusal.message) });
            }
            Verdict::Final | Verdict::Elsewhere => {}
        }
    }
    Ok(())
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("label", &self.label).finish_non_exhaustive()
    }
}
