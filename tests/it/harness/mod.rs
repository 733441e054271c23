//! Starts a whole server on a free loopback port and plays its callers.
//!
//! Owns the way in: every test enters by the same port that users do. Only `boot.rs` knows how a server is put together.

mod actor;
mod anvil;
mod boot;
mod cluster;
mod databases;
pub(crate) mod mcp;
mod node;
mod ports;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
mod relay;
mod small_disk;
mod socket;
mod svm;
mod tls;
mod totp_app;
mod watchdog;
mod wire;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tidegate::{
    auth::dev,
    config::{AuthConfig, Config, EndpointEntry, NetworkEntry},
    model::{Clock, Role},
    sandbox::StandIns,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use actor::{Actor, Reply, send};
pub(crate) use anvil::Anvil;
use boot::Booted;
pub(crate) use cluster::RedisCluster;
pub(crate) use databases::{FreshDatabase, on_both};
pub(crate) use mcp::McpServer;
pub(crate) use node::Node;
pub(crate) use postgres::PostgresServer;
pub(crate) use process::signal;
pub(crate) use program::{Program, Stranger, program};
pub(crate) use proxy::Proxy;
pub(crate) use redis::RedisServer;
pub(crate) use relay::{Fault, Relay};
pub(crate) use small_disk::SmallDisk;
pub(crate) use socket::{Heard, Socket, subscribe};
pub(crate) use svm::Svm;
use tempfile::TempDir;
pub(crate) use totp_app::TotpApp;
pub(crate) use watchdog::{home, inhabitants, scratch};
pub(crate) use wire::{Wire, frame};

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A query that every server answers.
pub(crate) const TYPENAME: &str = "{ __typename }";
/// A subscription that ticks, for callers with the role USER.
pub(crate) const TICKS: &str = r#"subscription { priceUpdates(coins: ["bitcoin"]) { coin price { amount asOf } } }"#;

/// Waits for a condition that is looked at again and again.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let holding = async {
        while !holds().await {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, holding).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A running server.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    /// The upstreams, with their switches for faults and their counts of calls.
    pub(crate) stand_ins: StandIns,
    served: JoinHandle<()>,
    /// Goes with the server.
    _scratch: Option<TempDir>,
    /// Where its MCP servers work.
    mcp: Option<TempDir>,
    auth: AuthConfig,
    http: reqwest::Client,
}

/// Changes the configuration before the start.
pub(crate) struct Builder {
    config: Config,
    mcp: Option<TempDir>,
}

impl TestApp {
    /// A server with the defaults of the sandbox.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder { config: boot::config(), mcp: None }
    }

    pub(crate) fn anon(&self) -> Actor<'_> {
        self.bearing(None)
    }

    /// alice, a USER.
    pub(crate) fn alice(&self) -> Actor<'_> {
        self.bearing(Some(self.token("alice", Role::User, Duration::from_hours(1))))
    }

    /// admin, an ADMIN.
    pub(crate) fn admin(&self) -> Actor<'_> {
        self.bearing(Some(self.token("admin", Role::Admin, Duration::from_hours(1))))
    }

    /// Whoever holds `token`, good or bad.
    pub(crate) fn bearing(&self, token: Option<String>) -> Actor<'_> {
        Actor { app: self, token }
    }

    pub(crate) fn token(&self, subject: &str, role: Role, lifetime: Duration) -> String {
        dev::mint(&self.auth, subject, role, lifetime, Clock::system().now())
    }

    /// The sum of a metric over its labels, as `/metrics` tells it. Every server of the process counts into it.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.anon().get("/metrics").await.text;
        let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The processes of the MCP servers of its file, and whatever these have started.
    pub(crate) fn mcp_processes(&self) -> Vec<String> {
        self.mcp.as_ref().map(|folder| inhabitants(folder.path())).unwrap_or_default()
    }

    pub(crate) fn auth(&self) -> &AuthConfig {
        &self.auth
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Drains the server and waits until it is done.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.stopped().await;
    }

    /// Waits until the server is done, which somebody else has told it to be.
    pub(crate) async fn stopped(self) {
        timeout(PATIENCE, self.served).await.expect("the server stops in time").expect("the server does not panic");
    }
}

impl Builder {
    pub(crate) fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Knows this chain only, by an endpoint for each URL, in the order of the names.
    pub(crate) fn chain(self, id: &str, identity: &str, names: &[&str], urls: &[String]) -> Self {
        assert!(urls.len() <= names.len(), "an endpoint has no name");
        let endpoints = names.iter().zip(urls).map(|(name, url)| format!("{id}/{name}={url}"));
        self.config(|config| {
            config.chains.endpoints = endpoints.map(|text| EndpointEntry::parse(&text).expect("an endpoint")).collect();
            config.chains.networks = vec![NetworkEntry::try_from(format!("{id}={identity}")).expect("a network")];
        })
    }

    /// Keeps its state in this database.
    pub(crate) fn database(self, database: &FreshDatabase) -> Self {
        self.config(|config| config.database = database.config.clone())
    }

    /// Shares what nodes share through this Redis.
    pub(crate) fn redis(self, url: &str) -> Self {
        self.config(|config| config.redis.url = Some(url.into()))
    }

    /// Shares what nodes share through this cluster.
    pub(crate) fn cluster(self, cluster: &RedisCluster) -> Self {
        self.redis(&cluster.url()).config(|config| {
            config.redis.cluster = true;
            config.redis.cluster_seeds = cluster.seeds();
        })
    }

    /// Has these MCP servers, by name; see [`McpServer`].
    pub(crate) fn mcp(mut self, servers: Value) -> Self {
        let folder = scratch();
        self.config.mcp.servers_file = Some(mcp::servers_file(folder.path(), servers));
        self.mcp = Some(folder);
        self
    }

    pub(crate) async fn start(self) -> TestApp {
        let mcp = self.mcp;
        let auth = self.config.auth.clone();
        let Booted { address, stand_ins, shutdown, served, scratch } = Box::pin(boot::boot(self.config)).await;
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.build().expect("the client needs nothing from outside");
        TestApp { address, shutdown, stand_ins, served, _scratch: scratch, mcp, auth, http }
    }
}
