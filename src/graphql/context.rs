//! What resolvers reach for: the house's services, and the little that one request carries along.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_graphql::Context;
use parking_lot::Mutex;
use serde_json::Value;

use super::{RequestId, loaders::Loaders};
use crate::{
    agent::Agent,
    audit::{Audit, Entry},
    auth::AuthState,
    cache::{Tag, Tags},
    chains::{Chains, Sends},
    config::Secret,
    events::{Command, CommandKey},
    market::{Prices, Swaps},
    mcp::Mcp,
    model::{Clock, Origin, Principal},
    resilience::Upstreams,
};

/// The services behind the schema.
#[derive(Clone)]
pub struct Services {
    /// Prices: look-ups and updates.
    pub prices: Prices,
    /// Chains: what is on them.
    pub chains: Chains,
    /// Transactions for them.
    pub sends: Sends,
    /// What swaps would bring.
    pub swaps: Swaps,
    /// MCP servers and their tools.
    pub mcp: Mcp,
    /// What agents feel and remember.
    pub agent: Agent,
    /// Who did what.
    pub audit: Audit,
    /// Who may do what.
    pub auth: AuthState,
    /// The upstreams and their breakers.
    pub upstreams: Upstreams,
    /// What cached values can be invalidated by.
    pub tags: Tags,
    /// Time.
    pub clock: Clock,
    /// Most coins in one argument.
    pub max_coins: usize,
}

/// What a change is told of the request that it came with.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    pub(crate) origin: Origin,
    pub(crate) request_id: RequestId,
    pub(crate) idempotency_key: Option<String>,
    /// Proof of a second factor, not looked at yet. It prints as nothing.
    pub(crate) step_up: Option<Secret>,
}

/// What one execution carries along.
#[derive(Clone)]
pub(crate) struct Scope(Arc<Inner>);

struct Inner {
    loaders: Loaders,
    /// Present only where the answer is kept per caller or not at all; see `Scope::principal`.
    principal: Option<Principal>,
    /// Present in mutations.
    errand: Option<Errand>,
    max_age: AtomicU32,
    coins: AtomicUsize,
    /// Milliseconds.
    granted: AtomicU64,
    tags: Mutex<Vec<Tag>>,
    standing: Mutex<Standing>,
}

/// What an event is to those who are slow to read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The topic whose earlier events it supersedes, so that only the newest is needed. None: nobody may skip it.
    pub(crate) supersedes: Option<Arc<str>>,
    /// It belongs to a stream that goes on from a position which the caller named.
    pub(crate) resumed: bool,
}

impl Scope {
    pub(crate) fn new(loaders: Loaders, principal: Option<Principal>, errand: Option<Errand>) -> Self {
        Self(Arc::new(Inner {
            loaders,
            principal,
            errand,
            max_age: AtomicU32::new(u32::MAX),
            coins: AtomicUsize::new(0),
            granted: AtomicU64::new(0),
            tags: Mutex::default(),
            standing: Mutex::default(),
        }))
    }

    /// Lets the operation run for longer: a call of somebody else's tool has a deadline of its own.
    pub(crate) fn grant(&self, time: Duration) {
        self.0.granted.fetch_add(time.as_millis().try_into().unwrap_or(u64::MAX / 2), Ordering::Relaxed);
    }

    /// By how much longer it may run.
    pub(crate) fn granted(&self) -> Duration {
        Duration::from_millis(self.0.granted.load(Ordering::Relaxed))
    }

    pub(crate) fn loaders(&self) -> &Loaders {
        &self.0.loaders
    }

    /// The caller, for mutations and for fields marked `@cacheControl(scope: PRIVATE)`.
    ///
    /// Everywhere else there is none, whoever asks: what a resolver cannot see cannot leak through a shared answer.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.0.principal.as_ref()
    }

    fn errand(&self) -> &Errand {
        self.0.errand.as_ref().expect("every mutation has one")
    }

    /// Counts coins that the operation names; returns how many it has named.
    pub(crate) fn name_coins(&self, named: usize) -> usize {
        self.0.coins.fetch_add(named, Ordering::Relaxed) + named
    }

    /// The answer holds something that is good for no longer than this many seconds.
    pub(crate) fn restrict_age(&self, seconds: u32) {
        self.0.max_age.fetch_min(seconds, Ordering::Relaxed);
    }

    /// The lowest age that any resolver asked for; `u32::MAX` when none did.
    pub(crate) fn max_age(&self) -> u32 {
        self.0.max_age.load(Ordering::Relaxed)
    }

    /// The answer is to be forgotten when this tag is invalidated.
    pub(crate) fn tag(&self, tag: Tag) {
        self.0.tags.lock().push(tag);
    }

    /// Takes the tags that resolvers gave the answer.
    pub(crate) fn take_tags(&self) -> Vec<Tag> {
        std::mem::take(&mut self.0.tags.lock())
    }

    /// Says what the event being delivered is to those who are slow to read it; without this, nobody may skip it.
    pub(crate) fn stand(&self, standing: Standing) {
        *self.0.standing.lock() = standing;
    }

    /// Takes the standing of the event just resolved.
    pub(crate) fn take_standing(&self) -> Standing {
        std::mem::take(&mut self.0.standing.lock())
    }
}

/// Short names for what resolvers reach for.
pub(crate) trait ContextExt {
    /// The house's services.
    fn services(&self) -> &Services;
    /// What this execution carries along.
    fn scope(&self) -> &Scope;
    /// The caller of a field that needs one: a mutation, or a query marked `@cacheControl(scope: PRIVATE)`.
    fn caller(&self) -> &Principal;
    /// Where the request of a mutation came from.
    fn origin(&self) -> &Origin;
    /// Records what this mutation has done elsewhere than in the database, `what` to `resource`.
    fn record(&self, what: &'static str, resource: String, metadata: Value) -> impl Future<Output = ()> + Send;
    /// The step-up token that came with a mutation, good or bad.
    fn step_up(&self) -> Option<&str>;
    /// The wish that a mutation stands for: to do `what` with these arguments.
    fn command(&self, what: &str, arguments: &Value) -> Command;
}

impl ContextExt for Context<'_> {
    fn services(&self) -> &Services {
        self.data_unchecked::<Services>()
    }

    fn scope(&self) -> &Scope {
        self.data_unchecked::<Scope>()
    }

    fn caller(&self) -> &Principal {
        self.scope().principal().expect("admission lets nobody pass `@auth` without a principal")
    }

    fn origin(&self) -> &Origin {
        &self.scope().errand().origin
    }

    async fn record(&self, what: &'static str, resource: String, metadata: Value) {
        let entry = Entry::done(what, resource, metadata);
        let recorded = self.services().audit.record_alone(self.command(what, &Value::Null), self.origin(), entry).await;
        if let Err(error) = recorded {
            // It is done, and must be possible without a database, too.
            tracing::error!(%error, what, "what an operator did was not recorded");
        }
    }

    fn step_up(&self) -> Option<&str> {
        self.scope().errand().step_up.as_ref().map(Secret::expose)
    }

    fn command(&self, what: &str, arguments: &Value) -> Command {
        let Errand { request_id, idempotency_key, .. } = self.scope().errand();
        // Several mutations of one request share its key, and are told apart by where their answers stand.
        let place = self.path_node.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = idempotency_key.as_ref().map(|key| CommandKey::new(format!("{key} {place}"), what, arguments));
        Command {
            user_id: Arc::clone(&self.caller().subject),
            correlation_id: Arc::clone(&request_id.0),
            causation_id: None,
            key,
        }
    }
}
