//! What the catalogue is made of.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    mcp::{Fingerprint, Permission, Tool},
    model::Timestamp,
};

/// A server as the catalogue is told of it.
#[derive(Debug, Clone)]
pub struct CatalogueServer {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it may be asked at all; nothing of another one is in the catalogue.
    pub enabled: bool,
    /// Who may call which of its tools.
    pub permissions: Arc<[Permission]>,
    /// Its tools.
    pub tools: Vec<CatalogueTool>,
}

/// A tool as the catalogue is told of it.
#[derive(Debug, Clone)]
pub struct CatalogueTool {
    /// Its definition.
    pub tool: Arc<Tool>,
    /// Of the definition.
    pub fingerprint: Fingerprint,
    /// Whether it waits for approval.
    pub held: bool,
    /// When it became another one than it was when it was first seen.
    pub changed_at: Option<Timestamp>,
    /// What it was before.
    pub previous: Option<Arc<Tool>>,
}

/// A tool of a server that may be asked.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The server's name.
    pub server: Arc<str>,
    /// The server's id.
    pub server_id: Uuid,
    /// The definition.
    pub tool: Arc<Tool>,
    /// Of the definition.
    pub fingerprint: Fingerprint,
    /// The name that means this tool and no other.
    pub qualified: Arc<str>,
    /// Whether it waits for approval, and cannot be called.
    pub held: bool,
    /// When it became another one than it was when it was first seen.
    pub changed_at: Option<Timestamp>,
    /// What it was before.
    pub previous: Option<Arc<Tool>>,
    /// Who may call which tools of the server.
    pub permissions: Arc<[Permission]>,
}
