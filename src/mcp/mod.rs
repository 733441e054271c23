//! MCP servers: which there are, what they offer, whether they are well, and calls of their tools.
//!
//! Owns the registry, the sessions with their processes, the catalogue and the record of calls. Only `sdk/` knows the MCP SDK.
//! It must never hand a caller's token to a server, never call a tool a second time that may have done something, and never
//! keep a secret in an event. `tests/it/mcp_*.rs` ask real servers, and some that misbehave.

mod calls;
mod catalogue;
mod error;
mod events;
mod file;
mod host;
mod hosts;
mod keep;
mod permission;
mod process;
mod registry;
mod results;
mod runs;
mod sdk;
mod session;
mod spec;
mod tool;

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use calls::{CallAnswer, CallRequest};
pub use catalogue::{Catalogue, DefinitionChange, Entry, QualifiedName, SchemaProblem, differences};
pub use error::McpError;
pub use events::{RunProgress, ServerEvent, ServerEventKind, servers_tag};
pub use file::{ServersFileError, read_file};
pub use host::{HostHealth, HostStatus};
pub use permission::{Permission, everyone_may_call, may_call, may_see};
pub use registry::{
    Checked, KnownTool, Registry, RegistryParts, ServerDraft, ServerRecord, ServerSource, ToolNews, UPCASTERS,
    projections,
};
pub use runs::{OpenRun, Opened, Opening, Run, RunEnd, RunFilter, RunOutcome, RunPage, Runs, RunsParts};
pub use sdk::{Era, ToolResult};
pub use spec::{ServerSpec, TransportKind, name_problem};
pub use tool::{Fingerprint, Offer, Prompt, Resource, Tool, ToolAnnotations};

use self::{
    catalogue::CompiledSchemas, host::HostParts, hosts::Hosts, process::Warden, results::Results, session::Places,
};
use crate::{
    bus::{Bus, Subscription},
    cache::Tags,
    config::McpConfig,
    events::Command,
    model::{Chance, Clock, FieldError, Origin, Principal},
    resilience::{Outbound, Upstreams},
};

/// What the room is built with.
pub struct McpParts {
    /// The servers.
    pub registry: Registry,
    /// The record of calls.
    pub runs: Runs,
    /// How servers are called.
    pub upstreams: Upstreams,
    /// The way to those that run elsewhere.
    pub outbound: Outbound,
    /// Who follows is told through it.
    pub bus: Bus,
    /// What answers depend on.
    pub tags: Tags,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Keeps what works in the background.
    pub tasks: TaskTracker,
    /// Ends that.
    pub stop: CancellationToken,
}

/// MCP servers and their tools. Clones share everything.
#[derive(Clone)]
pub struct Mcp(Arc<Inner>);

struct Inner {
    config: Arc<McpConfig>,
    registry: Registry,
    runs: Runs,
    hosts: Hosts,
    catalogue: RwLock<Listed>,
    schemas: CompiledSchemas,
    results: Results,
    bus: Bus,
    tags: Tags,
    clock: Clock,
    tasks: TaskTracker,
}

/// A catalogue, and the servers that it was made of.
#[derive(Clone)]
struct Listed {
    servers: Arc<Vec<Arc<ServerRecord>>>,
    catalogue: Arc<Catalogue>,
}

impl Listed {
    fn of(servers: Arc<Vec<Arc<ServerRecord>>>) -> Self {
        Self { catalogue: Arc::new(keep::catalogue(&servers)), servers }
    }
}

impl Mcp {
    /// Begins to look after the servers. Must be called inside a tokio runtime.
    pub async fn start(parts: McpParts, config: &McpConfig) -> Self {
        let McpParts { registry, runs, upstreams, outbound, bus, tags, clock, chance, tasks, stop } = parts;
        registry.start(&tasks, &stop).await;
        runs.start(&tasks, &stop, config);
        let config = Arc::new(config.clone());
        let (news, heard) = mpsc::channel(keep::MOST_NEWS);
        let host_parts = HostParts {
            environment: Arc::new(config.environment()),
            registry: registry.clone(),
            upstreams,
            outbound,
            warden: Warden::start(),
            places: Places::new(config.max_processes),
            clock: clock.clone(),
            chance: chance.clone(),
            tasks: tasks.clone(),
            news,
            config: Arc::clone(&config),
        };
        let results = Results::new(&tags, clock.clone(), chance);
        let catalogue = RwLock::new(Listed::of(registry.servers()));
        let hosts = Hosts::new(host_parts, stop.child_token());
        let schemas = CompiledSchemas::default();
        let mcp = Self(Arc::new(Inner {
            config,
            registry,
            runs,
            hosts,
            catalogue,
            schemas,
            results,
            bus,
            tags,
            clock,
            tasks,
        }));
        let tasks = mcp.0.tasks.clone();
        tasks.spawn(stop.run_until_cancelled_owned(keep::keep(mcp.clone(), heard)));
        mcp
    }

    /// What can be called, as of now.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        let servers = self.0.registry.servers();
        let known = self.0.catalogue.read().clone();
        if Arc::ptr_eq(&known.servers, &servers) {
            return known.catalogue;
        }
        let listed = Listed::of(servers);
        *self.0.catalogue.write() = listed.clone();
        listed.catalogue
    }

    /// The servers, by name.
    #[must_use]
    pub fn servers(&self) -> Arc<Vec<Arc<ServerRecord>>> {
        self.0.registry.servers()
    }

    /// The servers of which somebody may know, by name; without a principal those of which everybody may who is signed in.
    #[must_use]
    pub fn servers_for(&self, principal: Option<&Principal>) -> Vec<Arc<ServerRecord>> {
        let servers = self.servers();
        servers.iter().filter(|server| server.may_be_seen(principal)).cloned().collect()
    }

    /// The servers, and what may be changed of them.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The record of calls.
    #[must_use]
    pub fn runs(&self) -> &Runs {
        &self.0.runs
    }

    /// How a server is, as far as this node knows.
    #[must_use]
    pub fn health(&self, record: &ServerRecord) -> HostHealth {
        self.0.hosts.find(record.id).map_or_else(HostHealth::disabled, |host| host.health())
    }

    /// Prompts and resources of a server, as far as this node knows.
    #[must_use]
    pub fn offer(&self, id: Uuid) -> Arc<Offer> {
        self.0.hosts.find(id).map(|host| host.offer()).unwrap_or_default()
    }

    /// Looks at a server now, and says how it is.
    pub async fn check(&self, id: Uuid) -> Result<HostHealth, McpError> {
        let record = self.0.registry.find(id).ok_or_else(|| McpError::NoServer(id.to_string()))?;
        let host = self.0.hosts.find(id).ok_or_else(|| McpError::Disabled(Arc::clone(&record.name)))?;
        Ok(host.look().await)
    }

    /// Registers a server, if programs like its may be run by registration.
    pub async fn register(
        &self,
        command: Command,
        origin: &Origin,
        draft: ServerDraft,
    ) -> Result<Arc<ServerRecord>, McpError> {
        self.permits(&draft.config)?;
        let registered = self.0.registry.register(command, origin, draft).await;
        keep::follow(self).await;
        registered
    }

    /// Gives a server another configuration, under the same condition.
    pub async fn update(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        config: serde_json::Value,
    ) -> Result<Arc<ServerRecord>, McpError> {
        self.permits(&config)?;
        let updated = self.0.registry.update(command, origin, id, &config).await;
        keep::follow(self).await;
        updated
    }

    /// Has a server asked, or not any more.
    pub async fn set_enabled(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        enabled: bool,
    ) -> Result<Arc<ServerRecord>, McpError> {
        let set = self.0.registry.set_enabled(command, origin, id, enabled).await;
        keep::follow(self).await;
        set
    }

    /// Removes a server.
    pub async fn remove(&self, command: Command, origin: &Origin, id: Uuid) -> Result<(), McpError> {
        let removed = self.0.registry.remove(command, origin, id).await;
        keep::follow(self).await;
        removed
    }

    /// What happens to servers from now on.
    #[must_use]
    pub fn server_events(&self) -> Subscription<ServerEvent> {
        self.0.bus.subscribe(&events::servers())
    }

    /// How a call of this subject comes along, from now on; also one that has not begun yet.
    #[must_use]
    pub fn progress(&self, subject: &str, run: Uuid) -> Subscription<RunProgress> {
        self.0.bus.subscribe(&events::run(subject, run))
    }

    /// To run a program is more than to ask a server: which ones may be is for whoever runs Tidegate to say.
    fn permits(&self, config: &serde_json::Value) -> Result<(), McpError> {
        let Some(command) = config["command"].as_str() else { return Ok(()) };
        let is_permitted = |permitted: &String| permitted == "*" || permitted == command;
        let wrong = |field: &str, message: &str| {
            Err(McpError::Invalid(vec![FieldError::new(&["input", "config", field], message)]))
        };
        if command.contains('/') && !command.starts_with('/') {
            return wrong(
                "command",
                "is neither a name nor an absolute path: what it means would depend on the folder",
            );
        }
        let names = config["env"].as_object().into_iter().flatten().map(|(name, _)| name);
        if names.into_iter().any(|name| decides_what_runs(name)) {
            return wrong(
                "env",
                "names a variable that decides which program or code runs: only the file may set those",
            );
        }
        if self.0.config.commands.iter().any(is_permitted) {
            return Ok(());
        }
        let message = "is not a program that may be run by registration: the operator names those in mcp.commands";
        wrong("command", message)
    }

    fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    fn schemas(&self) -> &CompiledSchemas {
        &self.0.schemas
    }

    fn results(&self) -> &Results {
        &self.0.results
    }

    fn bus(&self) -> &Bus {
        &self.0.bus
    }

    fn tags(&self) -> &Tags {
        &self.0.tags
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }
}

/// Whether a variable can have another program run than the one that is named, or other code in it.
fn decides_what_runs(name: &str) -> bool {
    const BEGINNINGS: [&str; 17] = [
        "LD_",
        "DYLD_",
        "NODE_",
        "PYTHON",
        "PERL",
        "RUBY",
        "BASH",
        "NPM_CONFIG_",
        "UV_",
        "PIP_",
        "GIT_",
        "DOTNET_",
        "LUA_",
        "OPENSSL_",
        "JAVA_",
        "JDK_JAVA_",
        "XDG_",
    ];
    const NAMES: [&str; 8] = ["PATH", "ENV", "IFS", "SHELL", "HOME", "CLASSPATH", "_JAVA_OPTIONS", "GCONV_PATH"];
    let name = name.to_ascii_uppercase();
    NAMES.contains(&name.as_str()) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}
