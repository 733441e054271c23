//! `mcp`, `mcpServers` and `mcpServer`.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::{
    server::{self, McpServer, McpServerConnection, McpServerEdge},
    tool::McpTool,
};
use crate::{
    graphql::{
        context::ContextExt,
        directives::{CacheControl, Inherit, Private, RequiredRole, auth},
        paging::{PageInfo, asked, decode, encode},
        rows::Rows,
        scalars::int,
    },
    mcp::{self, Entry, HostStatus, QualifiedName, ServerRecord},
};

/// The name of the list in its cursors.
const LIST: &str = "mcpServers";

#[derive(Default)]
pub(crate) struct McpQuery;

#[Object]
impl McpQuery {
    /// MCP servers and their tools; with `tool`, those only that have a tool of this name.
    #[graphql(directive = CacheControl::apply(300))]
    async fn mcp(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of a tool: its own, or the qualified one `server__tool`.")] tool: Option<String>,
    ) -> MCPContext {
        ctx.scope().tag(mcp::servers_tag());
        MCPContext { tool }
    }

    /// The MCP servers by name of which the caller may know, those that are disabled included.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn mcp_servers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: i32,
        #[graphql(desc = "The `cursor` or `endCursor` after which to go on.")] after: Option<String>,
    ) -> Option<Result<McpServerConnection>> {
        let servers = ctx.services().mcp.servers_for(Some(ctx.caller()));
        Some(page(&servers, first, after.as_deref()))
    }

    /// One MCP server; null where there is none of that id of which the caller may know.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn mcp_server(&self, ctx: &Context<'_>, id: ID) -> Option<McpServer> {
        ctx.services()
            .mcp
            .registry()
            .find(server::of(&id)?)
            .filter(|server| server.may_be_seen(Some(ctx.caller())))
            .map(McpServer)
    }
}

fn page(servers: &[Arc<ServerRecord>], first: i32, after: Option<&str>) -> Result<McpServerConnection> {
    // Servers have no numbers that stay: a cursor is the hash of a name, and the page goes on behind that name.
    let place = |record: &ServerRecord| crate::model::stable_hash(record.name.as_bytes());
    let position = |cursor: &str| {
        let wanted = decode(LIST, cursor)?;
        servers.iter().position(|record| place(record) == wanted)
    };
    let (first, after) = asked(first, after, position)?;
    let rest = &servers[after.map_or(0, |at| at + 1)..];
    let shown = &rest[..first.min(rest.len())];
    let cursor = |record: &Arc<ServerRecord>| encode(LIST, place(record));
    let edge =
        |record: &Arc<ServerRecord>| McpServerEdge { cursor: cursor(record), node: McpServer(Arc::clone(record)) };
    Ok(McpServerConnection {
        edges: shown.iter().map(edge).collect(),
        nodes: shown.iter().cloned().map(McpServer).collect(),
        page_info: PageInfo { has_next_page: rest.len() > shown.len(), end_cursor: shown.last().map(cursor) },
    })
}

pub(crate) struct MCPContext {
    tool: Option<String>,
}

impl MCPContext {
    fn servers(&self, ctx: &Context<'_>) -> Vec<Arc<ServerRecord>> {
        let servers = ctx.services().mcp.servers_for(None);
        let has_it = |server: &Arc<ServerRecord>| {
            let Some(wanted) = &self.tool else { return true };
            let of_this = QualifiedName::parse(wanted).filter(|name| *name.server == *server.name);
            let has =
                |tool: &str| server.tools.contains_key(tool) && mcp::everyone_may_call(&server.spec.permissions, tool);
            has(wanted) || of_this.is_some_and(|name| has(name.tool))
        };
        servers.into_iter().filter(has_it).collect()
    }

    fn means(&self, entry: &Entry) -> bool {
        self.tool.as_ref().is_none_or(|wanted| **wanted == *entry.tool.name || **wanted == *entry.qualified)
    }
}

/// MCP servers and their tools.
#[Object(name = "MCPContext", directive = Inherit::apply())]
impl MCPContext {
    /// The servers by name of which every signed-in caller may know, those that are disabled included. `mcpServers` has those of
    /// which the caller may.
    #[graphql(name = "servers")]
    async fn listed(&self, ctx: &Context<'_>) -> Rows<McpServer> {
        self.servers(ctx).into_iter().map(McpServer).collect()
    }

    /// The tools that the caller may call, by qualified name; without a token those that every signed-in caller may.
    #[graphql(directive = Private::apply())]
    async fn tools(&self, ctx: &Context<'_>) -> Rows<McpTool> {
        let catalogue = ctx.services().mcp.catalogue();
        let tools = catalogue.listed(ctx.scope().principal());
        tools.filter(|entry| self.means(entry)).cloned().map(McpTool).collect()
    }

    /// How many of the servers are well.
    async fn health(&self, ctx: &Context<'_>) -> McpHealth {
        let mcp = &ctx.services().mcp;
        let found: Vec<HostStatus> = self.servers(ctx).iter().map(|server| mcp.health(server).status).collect();
        let count = |status| int(found.iter().filter(|found| **found == status).count());
        McpHealth {
            up: count(HostStatus::Up),
            down: count(HostStatus::Down),
            unknown: count(HostStatus::Unknown),
            disabled: count(HostStatus::Disabled),
        }
    }

    /// How much these servers have of everything that every signed-in caller may use.
    async fn counts(&self, ctx: &Context<'_>) -> McpCounts {
        let servers = self.servers(ctx);
        let catalogue = ctx.services().mcp.catalogue();
        let is_of_these = |entry: &&Entry| servers.iter().any(|server| server.id == entry.server_id);
        let callable = catalogue.listed(None).filter(is_of_these).count();
        let offers: Vec<_> = servers.iter().map(|server| ctx.services().mcp.offer(server.id)).collect();
        McpCounts {
            servers: int(servers.len()),
            tools: int(callable),
            prompts: int(offers.iter().map(|offer| offer.prompts.len()).sum::<usize>()),
            resources: int(offers.iter().map(|offer| offer.resources.len()).sum::<usize>()),
        }
    }
}

/// How many servers are well.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpHealth {
    /// They answer.
    up: i32,
    /// They do not answer.
    down: i32,
    /// Nobody has looked yet.
    unknown: i32,
    /// An operator has switched them off.
    disabled: i32,
}

/// How much there is.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpCounts {
    /// Servers.
    servers: i32,
    /// Tools.
    tools: i32,
    /// Prepared messages.
    prompts: i32,
    /// What servers can show.
    resources: i32,
}
