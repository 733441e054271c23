//! What operators change: `mcpServerRegister`, `mcpServerUpdate`, `mcpServerRemove`, `mcpServerEnable`, `mcpServerDisable`,
//! `mcpServerCheck` and `mcpToolApprove`.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use serde_json::json;
use uuid::Uuid;

use super::{
    problems::McpUserError,
    server::{self, McpServer},
};
use crate::{
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth},
        scalars::Json,
    },
    mcp::{McpError, ServerDraft, ServerRecord},
};

/// A server to be registered.
#[derive(InputObject)]
pub(crate) struct McpServerRegisterInput {
    /// Its name: 1 to 64 lower-case letters, digits or hyphens.
    name: String,
    /// How it is reached, in the form that MCP clients share, such as `{"url": "https://mcp.example/mcp"}`. It must hold no secrets: those are
    /// named, in `envFrom`, `headersFrom` or `bearerFrom`.
    config: Json,
    /// Whether it may be asked at once.
    #[graphql(default = true)]
    enabled: bool,
}

/// A server and its new configuration.
#[derive(InputObject)]
pub(crate) struct McpServerUpdateInput {
    /// Its id.
    id: ID,
    /// How it is reached, as in `mcpServerRegister`. It takes the place of all that was configured before.
    config: Json,
}

/// Names a server.
#[derive(InputObject)]
pub(crate) struct McpServerInput {
    /// Its id.
    id: ID,
}

/// Names a definition of a tool.
#[derive(InputObject)]
pub(crate) struct McpToolApproveInput {
    /// The id of its server.
    server_id: ID,
    /// The tool's own name.
    tool: String,
    /// The `fingerprint` of the definition that is approved of.
    fingerprint: String,
}

/// A server after a change, or why nothing was changed.
#[derive(SimpleObject)]
pub(crate) struct McpServerPayload {
    /// The server as it is now; null where nothing was changed.
    server: Option<McpServer>,
    /// What was wrong with the input.
    user_errors: Vec<McpUserError>,
}

/// What was removed, or why nothing was.
#[derive(SimpleObject)]
pub(crate) struct McpServerRemovePayload {
    /// The id of the server that was removed; null where none was.
    removed_id: Option<ID>,
    /// What was wrong with the input.
    user_errors: Vec<McpUserError>,
}

#[derive(Default)]
pub(crate) struct McpMutation;

#[Object]
impl McpMutation {
    /// Registers an MCP server. A program can only be one that `mcp.commands` permits.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_server_register(&self, ctx: &Context<'_>, input: McpServerRegisterInput) -> Result<McpServerPayload> {
        let McpServerRegisterInput { name, config: Json(config), enabled } = input;
        let command = ctx.command("mcpServerRegister", &json!({ "name": name, "config": config, "enabled": enabled }));
        let draft = ServerDraft { name, config, enabled };
        payload(ctx.services().mcp.register(command, ctx.origin(), draft).await, "name")
    }

    /// Gives an MCP server another configuration. Calls that are under way end with the old one.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_server_update(&self, ctx: &Context<'_>, input: McpServerUpdateInput) -> Result<McpServerPayload> {
        let McpServerUpdateInput { id, config: Json(config) } = input;
        let command = ctx.command("mcpServerUpdate", &json!({ "id": id, "config": config }));
        let Some(id) = server::of(&id) else { return payload(Err(missing(&id)), "id") };
        payload(ctx.services().mcp.update(command, ctx.origin(), id, config).await, "id")
    }

    /// Removes an MCP server. Calls that are under way end; its name is free.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_server_remove(&self, ctx: &Context<'_>, input: McpServerInput) -> Result<McpServerRemovePayload> {
        let command = ctx.command("mcpServerRemove", &json!({ "id": input.id }));
        let removed = match server::of(&input.id) {
            Some(id) => ctx.services().mcp.remove(command, ctx.origin(), id).await,
            None => Err(missing(&input.id)),
        };
        Ok(match removed {
            Ok(()) => McpServerRemovePayload { removed_id: Some(input.id), user_errors: Vec::new() },
            Err(error) => {
                McpServerRemovePayload { removed_id: None, user_errors: McpUserError::from_error(error, "id")? }
            }
        })
    }

    /// Has an MCP server asked again.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_server_enable(&self, ctx: &Context<'_>, input: McpServerInput) -> Result<McpServerPayload> {
        set_enabled(ctx, &input.id, "mcpServerEnable", true).await
    }

    /// Has an MCP server not asked any more. Calls that are under way end.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_server_disable(&self, ctx: &Context<'_>, input: McpServerInput) -> Result<McpServerPayload> {
        set_enabled(ctx, &input.id, "mcpServerDisable", false).await
    }

    /// Looks at an MCP server now, starting it where it does not run, and says how it is.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_server_check(&self, ctx: &Context<'_>, input: McpServerInput) -> Result<McpServerPayload> {
        let mcp = &ctx.services().mcp;
        let checked = match server::of(&input.id) {
            Some(id) => mcp.check(id).await.and_then(|_| mcp.registry().find(id).ok_or_else(|| missing(&input.id))),
            None => Err(missing(&input.id)),
        };
        payload(checked, "id")
    }

    /// Lets a tool be called whose server has changed what it says of its effects.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn mcp_tool_approve(&self, ctx: &Context<'_>, input: McpToolApproveInput) -> Result<McpServerPayload> {
        let McpToolApproveInput { server_id, tool, fingerprint } = input;
        let arguments = json!({ "serverId": server_id, "tool": tool, "fingerprint": fingerprint });
        let command = ctx.command("mcpToolApprove", &arguments);
        let Some(id) = server::of(&server_id) else { return payload(Err(missing(&server_id)), "serverId") };
        let registry = ctx.services().mcp.registry();
        payload(registry.approve_tool(command, ctx.origin(), id, &tool, &fingerprint).await, "tool")
    }
}

async fn set_enabled(ctx: &Context<'_>, id: &ID, what: &str, enabled: bool) -> Result<McpServerPayload> {
    let command = ctx.command(what, &json!({ "id": id }));
    let Some(found): Option<Uuid> = server::of(id) else { return payload(Err(missing(id)), "id") };
    payload(ctx.services().mcp.set_enabled(command, ctx.origin(), found, enabled).await, "id")
}

fn missing(id: &ID) -> McpError {
    McpError::NoServer(id.to_string())
}

fn payload(changed: Result<Arc<ServerRecord>, McpError>, field: &str) -> Result<McpServerPayload> {
    Ok(match changed {
        Ok(record) => McpServerPayload { server: Some(McpServer(record)), user_errors: Vec::new() },
        Err(error) => McpServerPayload { server: None, user_errors: McpUserError::from_error(error, field)? },
    })
}
