//! What an ADMIN changes of a server that is there.

use std::{slice, sync::Arc};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Registry, ServerRecord, ServerSource,
    registration::{read_config, said},
    server::{Server, ServerEvent, ServerState, stream},
};
use crate::{
    audit::Entry,
    events::{Begun, Command},
    mcp::{McpError, ServerSpec},
    model::{FieldError, Origin, Timestamp},
};

/// What is to be changed.
enum Wish<'a> {
    Configure(Arc<ServerSpec>),
    Enable,
    Disable,
    Approve { tool: &'a str, fingerprint: &'a str },
}

impl Wish<'_> {
    fn action(&self) -> &'static str {
        match self {
            Self::Configure(_) => "mcp.server.update",
            Self::Enable => "mcp.server.enable",
            Self::Disable => "mcp.server.disable",
            Self::Approve { .. } => "mcp.tool.approve",
        }
    }

    /// What the audit log is told besides.
    fn said(&self, server: &Server) -> Value {
        let mut said = match self {
            Self::Configure(spec) => said(spec),
            Self::Enable | Self::Disable => json!({}),
            Self::Approve { tool, fingerprint } => json!({ "tool": tool, "fingerprint": fingerprint }),
        };
        said["name"] = json!(server.name);
        said
    }

    /// What has to happen, if it is not so already.
    fn event(&self, server: &Server, at: Timestamp) -> Result<Option<ServerEvent>, McpError> {
        Ok(match self {
            Self::Configure(_) if server.source == ServerSource::File => {
                return Err(McpError::FromFile(server.name.to_string()));
            }
            Self::Configure(config) => {
                (*config != server.config).then(|| ServerEvent::McpServerUpdated { config: Arc::clone(config), at })
            }
            Self::Enable => (!server.enabled).then_some(ServerEvent::McpServerEnabled { at }),
            Self::Disable => server.enabled.then_some(ServerEvent::McpServerDisabled { at }),
            Self::Approve { tool, fingerprint } => {
                let Some((name, known)) = server.tools.known.get_key_value(*tool) else {
                    let candidates = server.tools.known.values().filter(|known| known.held);
                    let candidates = candidates.map(|known| known.tool.name.to_string()).collect();
                    return Err(McpError::NoTool { name: (*tool).to_owned(), candidates });
                };
                if known.fingerprint.as_str() != *fingerprint {
                    let problem = FieldError::new(&["fingerprint"], "the tool is another one by now: look at it again");
                    return Err(McpError::Invalid(vec![problem]));
                }
                let (tool, fingerprint) = (Arc::clone(name), known.fingerprint.clone());
                known.held.then_some(ServerEvent::McpToolApproved { tool, fingerprint, at })
            }
        })
    }
}

impl Registry {
    /// Configures a server otherwise.
    pub async fn update(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        config: &Value,
    ) -> Result<Arc<ServerRecord>, McpError> {
        let spec = read_config(config).map_err(McpError::Invalid)?;
        self.change(command, origin, id, Wish::Configure(Arc::new(spec))).await
    }

    /// Permits that a server is asked, or forbids it; also one that is configured in a file.
    pub async fn set_enabled(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        enabled: bool,
    ) -> Result<Arc<ServerRecord>, McpError> {
        self.change(command, origin, id, if enabled { Wish::Enable } else { Wish::Disable }).await
    }

    /// Approves of what a tool says now, which is what has this fingerprint. Another one is refused.
    pub async fn approve_tool(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        tool: &str,
        fingerprint: &str,
    ) -> Result<Arc<ServerRecord>, McpError> {
        self.change(command, origin, id, Wish::Approve { tool, fingerprint }).await
    }

    async fn change(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        wish: Wish<'_>,
    ) -> Result<Arc<ServerRecord>, McpError> {
        self.0.parts.events.within(self.append_changed(command, origin, id, wish)).await
    }

    async fn append_changed(
        &self,
        command: Command,
        origin: &Origin,
        id: Uuid,
        wish: Wish<'_>,
    ) -> Result<Arc<ServerRecord>, McpError> {
        let (audit, stream) = (&self.0.parts.audit, stream(id));
        let mut work = match audit.begin(command, slice::from_ref(&stream)).await? {
            Begun::Fresh(work) => work,
            Begun::Repeated(result) => return self.as_it_is(&result).await,
        };
        let mut state = work.replay::<ServerState>(&stream).await?;
        let server = self.server(id, &state.state)?;
        let (event, said) = (wish.event(server, work.now())?, wish.said(server));
        if let Some(event) = event {
            work.append(&mut state, &[event]).await?;
        }
        // Also where it was so already: somebody has said so.
        audit.record(&mut work, origin, Entry::done(wish.action(), stream, said)).await?;
        work.commit(json!({ "server": id })).await?;
        self.show(id, &state)
    }

    /// The server of a command that was done before, as it is now.
    pub(super) async fn as_it_is(&self, result: &Value) -> Result<Arc<ServerRecord>, McpError> {
        let named = result["server"].as_str().unwrap_or_default();
        let id: Uuid = named.parse().map_err(|_| McpError::NoServer(named.to_owned()))?;
        let state = self.0.parts.events.replay::<ServerState>(&stream(id)).await?;
        self.show(id, &state)
    }
}
