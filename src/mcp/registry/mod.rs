//! Which servers there are: registered by an ADMIN, or configured in a file of this node.
//!
//! Owns the events of servers, their names, and the definitions of tools that are known and accepted. It never asks a server
//! anything: what others find out is reported to it. Every node keeps all servers in memory ([`shelf`]), each as of its own
//! stream; while the database is away, what is known holds. The table `mcp_servers` is for whoever reads the index.
//! `tests/it/mcp_registry.rs` runs the same bodies on SQLite and PostgreSQL.

mod change;
mod definition;
mod file;
mod follow;
#[cfg(test)]
mod golden;
mod names;
mod record;
mod registration;
mod report;
mod server;
mod server_index;
mod shelf;
mod store;
mod tools;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{
    server::{Server, ServerState},
    shelf::{Read, Shelf},
};
use super::{McpError, ServerSpec};
use crate::{
    audit::Audit,
    events::{Command, Events, Projection, Replayed, Upcaster},
    model::Origin,
};

pub use record::ServerRecord;
pub use registration::ServerDraft;
pub use server::{Checked, ServerSource};
pub use tools::{KnownTool, ToolNews};

/// How events of this room that were written in older forms are read; each form has a file in `tests/fixtures/events/`.
pub const UPCASTERS: &[Upcaster] = &[];

/// Under which name this program does what nobody has asked for.
const SYSTEM: &str = "tidegate";

/// What the projector has to keep up to date for this room.
#[must_use]
pub fn projections() -> Vec<Arc<dyn Projection>> {
    vec![Arc::new(server_index::ServerIndex)]
}

/// What the registry is kept with.
#[derive(Debug, Clone)]
pub struct RegistryParts {
    /// The log.
    pub events: Events,
    /// Where every change is recorded.
    pub audit: Audit,
}

/// Which servers there are. Clones share everything.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: RegistryParts,
    /// What the file of this node says.
    file: BTreeMap<String, Arc<ServerSpec>>,
    shelf: Shelf,
}

impl Registry {
    /// Knows no server yet; see [`start`](Self::start). `file` are the servers that the file of this node configures.
    #[must_use]
    pub fn new(parts: RegistryParts, file: impl IntoIterator<Item = (String, ServerSpec)>) -> Self {
        let file = file.into_iter().map(|(name, spec)| (name, Arc::new(spec))).collect();
        Self(Arc::new(Shared { parts, file, shelf: Shelf::new() }))
    }

    /// Reads which servers there are, registers those of the file, and goes on reading in the background. Without a
    /// database it returns all the same, and there are no servers until there is one.
    pub async fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let begun = self.begin().await;
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().keep_up(begun)));
    }

    /// All servers, in the order of their names.
    #[must_use]
    pub fn servers(&self) -> Arc<Vec<Arc<ServerRecord>>> {
        self.0.shelf.servers()
    }

    /// A server.
    #[must_use]
    pub fn find(&self, id: Uuid) -> Option<Arc<ServerRecord>> {
        self.0.shelf.find(id)
    }

    /// The server of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Arc<ServerRecord>> {
        self.0.shelf.by_name(name)
    }

    /// All servers, whenever something has happened to one of them, on whichever node.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Vec<Arc<ServerRecord>>>> {
        self.0.shelf.changes()
    }

    /// The server, unless there is none, or none for this node.
    fn server<'a>(&self, id: Uuid, state: &'a ServerState) -> Result<&'a Server, McpError> {
        let server = state.server.as_ref().filter(|server| self.spec(server).is_some());
        server.ok_or_else(|| McpError::NoServer(id.to_string()))
    }

    /// What a server is configured to be here. Of a file's server that is what this node's file says: what another node may
    /// run is not for this one.
    fn spec(&self, server: &Server) -> Option<Arc<ServerSpec>> {
        match server.source {
            ServerSource::Registered => Some(Arc::clone(&server.config)),
            ServerSource::File => self.0.file.get(&*server.name).cloned(),
        }
    }

    fn read(&self, id: Uuid, state: &Replayed<ServerState>) -> Read {
        let server = state.state.server.as_ref();
        let shown = server.and_then(|server| Some((server, self.spec(server)?)));
        let record = shown.map(|(server, spec)| Arc::new(ServerRecord::new(id, state.version, server, spec)));
        Read { id, version: state.version, record }
    }

    /// Shows a server as it is now.
    fn show(&self, id: Uuid, state: &Replayed<ServerState>) -> Result<Arc<ServerRecord>, McpError> {
        self.0.shelf.put([self.read(id, state)]);
        self.find(id).ok_or_else(|| McpError::NoServer(id.to_string()))
    }
}

/// What nobody has asked for.
fn by_system() -> Command {
    Command { user_id: SYSTEM.into(), correlation_id: SYSTEM.into(), causation_id: None, key: None }
}

/// Where that comes from.
fn from_system() -> Origin {
    Origin::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), None)
}
