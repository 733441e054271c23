//! A server as it is shown to the rest of the house.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{
    server::{Checked, Server, ServerSource},
    tools::KnownTool,
};
use crate::{
    mcp::{ServerSpec, may_see},
    model::{Principal, Timestamp},
};

/// A server that there is, as it was at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRecord {
    /// Its own name, for ever.
    pub id: Uuid,
    /// Its name, which no other server has.
    pub name: Arc<str>,
    /// What it is configured to be.
    pub spec: Arc<ServerSpec>,
    /// Whether it may be asked.
    pub enabled: bool,
    /// Where it is configured.
    pub source: ServerSource,
    /// How much has happened to it.
    pub version: u64,
    /// Which version it says it has.
    pub server_version: Option<Arc<str>>,
    /// How it was found to be, if it was.
    pub checked: Option<Checked>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was configured, enabled or disabled the last time.
    pub updated_at: Timestamp,
    /// The tools that it is known to have, by their names.
    pub tools: Arc<BTreeMap<Arc<str>, KnownTool>>,
}

impl ServerRecord {
    pub(super) fn new(id: Uuid, version: u64, server: &Server, spec: Arc<ServerSpec>) -> Self {
        Self {
            id,
            name: Arc::clone(&server.name),
            spec,
            enabled: server.enabled,
            source: server.source,
            version,
            server_version: server.version.clone(),
            checked: server.checked.clone(),
            created_at: server.created_at,
            updated_at: server.updated_at,
            tools: Arc::new(server.tools.known.clone()),
        }
    }

    /// Whether somebody may know of it; without a principal whether everybody may who is signed in.
    #[must_use]
    pub fn may_be_seen(&self, principal: Option<&Principal>) -> bool {
        may_see(&self.spec.permissions, self.tools.keys().map(|name| &**name), principal)
    }
}
