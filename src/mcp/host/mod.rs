//! One server as it is on this node: its sessions, its health, and what it offers.
//!
//! Owns the loop that looks whether the server is well and what it offers, on the same way that calls take. A host belongs to
//! one configuration of a server; a changed one gets a new host, and the old one lets its calls end.

mod health;
mod tend;

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{mpsc, oneshot},
    time::{timeout, timeout_at},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use self::health::Health;
pub use self::health::{HostHealth, HostStatus};
use super::{
    Offer, Registry, ServerRecord, ServerSpec, ToolResult,
    process::Warden,
    sdk::Progress,
    session::{Places, Pool, PoolParts, Refusal, Session, Way},
};
use crate::{
    config::{McpConfig, ServerEnvironment},
    events::canonical,
    model::{Chance, Clock},
    resilience::{CallError, CallKind, CallPolicy, Outbound, PolicyOptions, Upstreams},
};

/// By how much the policy's own bounds are later than the deadline of a call, which is kept by the session.
const MARGIN: Duration = Duration::from_millis(250);
/// Looks that may wait.
const MOST_WAITING: usize = 64;

/// What all hosts are made with.
#[derive(Clone)]
pub(super) struct HostParts {
    pub(super) config: Arc<McpConfig>,
    pub(super) environment: Arc<ServerEnvironment>,
    pub(super) registry: Registry,
    pub(super) upstreams: Upstreams,
    pub(super) outbound: Outbound,
    pub(super) warden: Warden,
    pub(super) places: Places,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) tasks: TaskTracker,
    /// Told of what changes here: what is said of the server, or what it offers.
    pub(super) news: mpsc::Sender<HostNews>,
}

/// Something has changed at a host.
#[derive(Debug, Clone)]
pub(super) enum HostNews {
    /// Whether it is up.
    Health(Arc<ServerRecord>, HostHealth),
    /// What it offers.
    Offer(Arc<ServerRecord>),
    /// What is said to be wrong with it, and nothing else.
    Words,
}

/// A server as it is on this node. Clones share everything.
#[derive(Clone)]
pub(super) struct Host(Arc<Inner>);

struct Inner {
    record: RwLock<Arc<ServerRecord>>,
    way: Result<Pool, Arc<str>>,
    policy: CallPolicy,
    deadline: Duration,
    /// SHA-256 of the configuration.
    config_hash: [u8; 32],
    health: Mutex<Health>,
    offer: RwLock<Arc<Offer>>,
    looks: mpsc::Sender<oneshot::Sender<HostHealth>>,
    /// Those that are under way.
    calls: TaskTracker,
    /// Ends the looks, at the latest with everything else.
    looking: CancellationToken,
    parts: HostParts,
    stop: CancellationToken,
}

/// What a call of a tool is to a host.
pub(super) struct HostCall {
    pub(super) subject: Arc<str>,
    pub(super) tool: Arc<str>,
    pub(super) arguments: Option<Map<String, Value>>,
    pub(super) timeout: Option<Duration>,
    /// It may be made twice.
    pub(super) may_repeat: bool,
    pub(super) progress: mpsc::Sender<Progress>,
}

impl Host {
    /// Begins to look after a server.
    pub(super) fn start(record: Arc<ServerRecord>, parts: HostParts, stop: CancellationToken) -> Self {
        let config = &parts.config;
        let deadline = record.spec.call_timeout_ms.unwrap_or(config.call_timeout_ms);
        let deadline = Duration::from_millis(deadline);
        let capacity = record.spec.max_concurrent_calls.unwrap_or(config.max_concurrent_calls);
        let config_hash = hash(&record.spec);
        let name = upstream(&record.name);
        // An earlier configuration may have had other bounds.
        parts.upstreams.remove(&name);
        let policy = parts.upstreams.register(name, options(parts.upstreams.defaults(), deadline, capacity));
        let way = Way::of(&record.spec, &parts.environment, config);
        let way = way.map(|way| Pool::new(pool_parts(&record, way, &parts, stop.clone())));
        let (looks, asked) = mpsc::channel(MOST_WAITING);
        let health = Mutex::new(Health::new(config, &record));
        let (record, offer) = (RwLock::new(record), RwLock::default());
        let (calls, looking) = (TaskTracker::new(), stop.child_token());
        let host = Self(Arc::new(Inner {
            record,
            way,
            policy,
            deadline,
            config_hash,
            health,
            offer,
            looks,
            calls,
            looking,
            parts,
            stop,
        }));
        let tending = tend::tend(host.clone(), asked);
        host.0.parts.tasks.spawn(host.0.looking.clone().run_until_cancelled_owned(tending));
        host
    }

    pub(super) fn record(&self) -> Arc<ServerRecord> {
        Arc::clone(&self.0.record.read())
    }

    /// The same configuration, of which something else is known by now.
    pub(super) fn renew(&self, record: Arc<ServerRecord>) {
        *self.0.record.write() = record;
    }

    pub(super) fn offer(&self) -> Arc<Offer> {
        Arc::clone(&self.0.offer.read())
    }

    /// How it is, as far as is known here.
    pub(super) fn health(&self) -> HostHealth {
        self.0.health.lock().view(self.sessions(), self.stderr())
    }

    fn sessions(&self) -> usize {
        self.0.way.as_ref().map_or(0, Pool::count)
    }

    fn stderr(&self) -> Vec<String> {
        self.0.way.as_ref().map(Pool::stderr).unwrap_or_default()
    }

    /// Looks at it now, and says how it is.
    pub(super) async fn look(&self) -> HostHealth {
        let (tell, told) = oneshot::channel();
        // Where too many wait already, what is known is told.
        if self.0.looks.try_send(tell).is_ok()
            && let Ok(health) = told.await
        {
            return health;
        }
        self.health()
    }

    /// Longest time that a call may take.
    pub(super) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// SHA-256 of the configuration to which it belongs.
    pub(super) fn config_hash(&self) -> [u8; 32] {
        self.0.config_hash
    }

    /// A place for a call, until which is given back the host does not go. Nothing where it is going already: then there is another one.
    pub(super) fn enter(&self) -> Option<TaskTrackerToken> {
        let place = self.0.calls.token();
        (!self.0.calls.is_closed()).then_some(place)
    }

    /// Calls a tool, within its deadline and the bounds of the server.
    pub(super) async fn call(&self, call: HostCall) -> Result<Result<ToolResult, Refusal>, CallError> {
        let inner = &self.0;
        let kind = if call.may_repeat { CallKind::Idempotent } else { CallKind::Once };
        let until = inner.parts.clock.instant() + inner.deadline;
        let pool = self.pool()?;
        let answer = inner.policy.call(kind, || async {
            let key = pool.key_for(&call.subject);
            let session = timeout_at(until, pool.get(&key)).await.map_err(|_| CallError::Timeout)??;
            let left = until.saturating_duration_since(inner.parts.clock.instant());
            session.call(&call.tool, call.arguments.clone(), left, call.progress.clone()).await
        });
        // Who is less patient than the server's own deadline says nothing of the server: only the latter is judged.
        let patience = call.timeout.unwrap_or(Duration::MAX);
        let answer = timeout(patience, answer).await.map_err(|_| CallError::Timeout)?;
        match &answer {
            Ok(_) => self.note(Ok(())),
            Err(error) if error.is_failure() => self.note(Err(error)),
            Err(_) => {}
        }
        answer
    }

    /// Lets its calls end, and then its sessions. From the beginning of that on its successor speaks for the server.
    pub(super) async fn retire(&self) {
        self.0.calls.close();
        self.0.looking.cancel();
        let _ = timeout(self.0.deadline + MARGIN, self.0.calls.wait()).await;
        self.0.stop.cancel();
    }

    fn pool(&self) -> Result<&Pool, CallError> {
        let cannot = |why: &Arc<str>| CallError::Upstream { status: None, detail: Arc::clone(why) };
        self.0.way.as_ref().map_err(cannot)
    }

    /// The session in which we ask for ourselves.
    async fn house(&self) -> Result<Arc<Session>, CallError> {
        let pool = self.pool()?;
        pool.get(&pool.house_key()).await
    }

    /// Takes in how a contact with the server went.
    fn note(&self, contact: Result<(), &CallError>) {
        let now = self.0.parts.clock.now();
        self.take_in(|health| health.note(contact, now));
    }

    /// Has the health changed, which says whether the status has, and tells what is new.
    fn take_in(&self, change: impl FnOnce(&mut Health) -> bool) {
        if self.0.looking.is_cancelled() {
            return;
        }
        let mut health = self.0.health.lock();
        let before = health.error();
        let (has_changed, has_other_words) = (change(&mut health), health.error() != before);
        drop(health);
        if has_changed {
            self.tell(HostNews::Health(self.record(), self.health()));
        } else if has_other_words {
            self.tell(HostNews::Words);
        }
    }

    fn tell(&self, news: HostNews) {
        if self.0.parts.news.try_send(news).is_err() {
            tracing::warn!(server = &*self.record().name, "news of an mcp server were lost, as there are too many");
        }
    }
}

/// A server's own bounds, in the place of those that upstreams have in common. Its pace is its own affair.
fn options(common: PolicyOptions, deadline: Duration, capacity: usize) -> PolicyOptions {
    let mut options = common;
    options.deadline = deadline + 2 * MARGIN;
    options.breaker.timeout = deadline + MARGIN;
    options.breaker.capacity = capacity;
    options.throttle.max_per_second = 1_000_000.0;
    options.throttle.min_per_second = 1_000.0;
    options.throttle.burst = 10_000;
    options
}

fn pool_parts(record: &ServerRecord, way: Way, parts: &HostParts, stop: CancellationToken) -> PoolParts {
    let config = &parts.config;
    PoolParts {
        name: Arc::clone(&record.name),
        way,
        stateless: record.spec.stateless,
        max_sessions: config.max_sessions,
        max_message_bytes: config.max_message_bytes,
        start_timeout: Duration::from_millis(config.start_timeout_ms),
        idle: Duration::from_secs(config.idle_seconds),
        places: parts.places.clone(),
        warden: parts.warden.clone(),
        outbound: parts.outbound.clone(),
        clock: parts.clock.clone(),
        chance: parts.chance.clone(),
        tasks: parts.tasks.clone(),
        stop,
    }
}

fn hash(spec: &ServerSpec) -> [u8; 32] {
    let written = serde_json::to_value(spec).map(|spec| canonical(&spec)).unwrap_or_default();
    Sha256::digest(written).into()
}

/// What a server is called as an upstream.
pub(super) fn upstream(name: &str) -> String {
    format!("mcp:{name}")
}
