//! How a server shows in the schema.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use uuid::Uuid;

use super::tool::McpTool;
use crate::{
    graphql::{
        context::ContextExt,
        directives::{Inherit, Private, RequiredRole, auth},
        paging::PageInfo,
        rows::Rows,
        scalars::{DateTime, Json, int},
    },
    mcp::{self, HostHealth, HostStatus, ServerRecord, ServerSource, TransportKind},
};

pub(crate) struct McpServer(pub(crate) Arc<ServerRecord>);

/// The id of a server in the schema.
pub(super) fn id(id: Uuid) -> ID {
    ID(format!("mcp_server_{}", id.simple()))
}

/// The server that an id of the schema names; of anything else it is none.
pub(super) fn of(id: &ID) -> Option<Uuid> {
    id.strip_prefix("mcp_server_").and_then(|digits| Uuid::try_parse(digits).ok())
}

/// An MCP server: a program that has tools for agents.
#[Object(directive = Inherit::apply())]
impl McpServer {
    /// Its id.
    async fn id(&self) -> ID {
        id(self.0.id)
    }

    /// Its name, which is unique, and the first part of the qualified names of its tools.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its version, by its own word.
    async fn version(&self) -> Option<&str> {
        self.0.server_version.as_deref()
    }

    /// Whether it is well.
    async fn status(&self, ctx: &Context<'_>) -> McpServerStatus {
        ctx.services().mcp.health(&self.0).status.into()
    }

    /// Whether it may be asked at all.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// Where it is configured.
    async fn source(&self) -> McpServerSource {
        self.0.source.into()
    }

    /// How it is reached.
    async fn transport(&self) -> McpTransport {
        self.0.spec.transport().into()
    }

    /// How it is configured, in the form that MCP clients share. There are no secrets in it.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn config(&self) -> Option<Result<Json>> {
        Some(serde_json::to_value(&*self.0.spec).map(Json).map_err(Into::into))
    }

    /// How it is, as far as the node knows that answers.
    async fn health(&self, ctx: &Context<'_>) -> McpServerHealth {
        McpServerHealth(ctx.services().mcp.health(&self.0))
    }

    /// Its tools that the caller may call, by name.
    #[graphql(directive = Private::apply())]
    async fn tools(&self, ctx: &Context<'_>) -> Rows<McpTool> {
        let catalogue = ctx.services().mcp.catalogue();
        let tools = catalogue.listed(ctx.scope().principal());
        tools.filter(|entry| entry.server_id == self.0.id).cloned().map(McpTool).collect()
    }

    /// Its tools that have changed what they say of their effects, and cannot be called until that is approved of.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn pending_tools(&self, ctx: &Context<'_>) -> Option<Rows<McpTool>> {
        let catalogue = ctx.services().mcp.catalogue();
        let held =
            catalogue.all_for(ctx.scope().principal()).filter(|entry| entry.held && entry.server_id == self.0.id);
        Some(held.cloned().map(McpTool).collect())
    }

    /// Messages that it has prepared, by name.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn prompts(&self, ctx: &Context<'_>) -> Option<Rows<McpPrompt>> {
        Some(ctx.services().mcp.offer(self.0.id).prompts.iter().cloned().map(McpPrompt).collect())
    }

    /// What it can be asked to show, by URI.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn resources(&self, ctx: &Context<'_>) -> Option<Rows<McpResource>> {
        Some(ctx.services().mcp.offer(self.0.id).resources.iter().cloned().map(McpResource).collect())
    }

    /// When it was registered.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When its registration changed last.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }
}

/// Whether a server is well.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "HostStatus")]
pub(crate) enum McpServerStatus {
    /// Nobody has looked yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not answer.
    Down,
    /// An operator has switched it off.
    Disabled,
}

/// Where a server is configured.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "ServerSource")]
pub(crate) enum McpServerSource {
    /// In the file of `mcp.servers_file`.
    File,
    /// By `mcpServerRegister`.
    Registered,
}

/// How a server is reached.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "TransportKind")]
pub(crate) enum McpTransport {
    /// A process that Tidegate runs, through its standard input and output.
    #[graphql(name = "STDIO")]
    Child,
    /// Streamable HTTP.
    Http,
}

/// Which protocol a server speaks.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "mcp::Era")]
pub(crate) enum McpEra {
    /// Up to 2025-11-25: with a handshake and sessions.
    Legacy,
    /// From 2026-07-28: without.
    Modern,
}

pub(crate) struct McpServerHealth(HostHealth);

/// How a server is, as far as the node knows that answers.
#[Object(directive = Inherit::apply())]
impl McpServerHealth {
    /// Whether it is well. Several looks in a row decide, both ways.
    async fn status(&self) -> McpServerStatus {
        self.0.status.into()
    }

    /// When it was last looked at, or called.
    async fn checked_at(&self) -> Option<DateTime> {
        self.0.checked_at.map(DateTime)
    }

    /// When it last answered.
    async fn last_contact_at(&self) -> Option<DateTime> {
        self.0.contact_at.map(DateTime)
    }

    /// What is wrong, in words; null where nothing is.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn last_error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    /// The version of the protocol that it speaks, such as `2025-11-25`.
    async fn protocol_version(&self) -> Option<&str> {
        self.0.protocol.as_deref()
    }

    /// Of which era that is.
    async fn era(&self) -> Option<McpEra> {
        self.0.era.map(Into::into)
    }

    /// Sessions that are open with it.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn sessions(&self) -> Option<i32> {
        Some(int(self.0.sessions))
    }

    /// The last lines that its process has written to its standard error, oldest first.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn stderr_tail(&self) -> Option<&[String]> {
        Some(&self.0.stderr)
    }
}

pub(crate) struct McpPrompt(mcp::Prompt);

/// A message that a server has prepared.
#[Object(directive = Inherit::apply())]
impl McpPrompt {
    /// Its name, which is unique in its server.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What people call it.
    async fn title(&self) -> Option<&str> {
        self.0.title.as_deref()
    }

    /// What it is for.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }
}

pub(crate) struct McpResource(mcp::Resource);

/// Something that a server can be asked to show.
#[Object(directive = Inherit::apply())]
impl McpResource {
    /// Where it is, in the server's own terms.
    async fn uri(&self) -> &str {
        &self.0.uri
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Of which media type it is.
    async fn mime_type(&self) -> Option<&str> {
        self.0.mime_type.as_deref()
    }
}

/// Some servers.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpServerConnection {
    /// The servers of the page, with their places.
    pub(super) edges: Vec<McpServerEdge>,
    /// The servers of the page.
    pub(super) nodes: Vec<McpServer>,
    /// Where the page ends.
    pub(super) page_info: PageInfo,
}

/// A server and its place.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpServerEdge {
    /// Pass it as `after` to go on after this server.
    pub(super) cursor: String,
    /// The server.
    pub(super) node: McpServer,
}
