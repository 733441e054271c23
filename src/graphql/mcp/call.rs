//! `mcpToolCall`.

use std::{sync::Arc, time::Duration};

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use serde_json::json;
use uuid::Uuid;

use super::problems::McpUserError;
use crate::{
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth, rate_limit},
        scalars::Json,
    },
    mcp::{CallAnswer, CallRequest, McpError, ToolResult},
    model::FieldError,
};

/// Which tool is to be called, and with what.
#[derive(InputObject)]
pub(crate) struct McpToolCallInput {
    /// The tool: its qualified name `server__tool`, or its own where only one server has such a tool.
    tool: String,
    /// Its arguments: an object that fits its `inputSchema`.
    arguments: Option<Json>,
    /// A UUID by which the call shall be known, to follow it with `mcpToolProgress` from its beginning. A new one otherwise.
    run_id: Option<ID>,
    /// Longest time that it may take, in milliseconds, 1 to 3600000; not more than the server's own.
    timeout_ms: Option<i32>,
}

/// What came of a call, or why it was not made.
#[derive(SimpleObject)]
pub(crate) struct McpToolCallPayload {
    /// By which the call is known in `mcpToolRuns`; null where nothing was called, or the result was kept from an earlier call.
    run_id: Option<ID>,
    /// What the tool has answered; null where it was not called, or was before under the same idempotency key.
    result: Option<McpToolResult>,
    /// The call was made before, under the same idempotency key.
    repeated: bool,
    /// What was wrong with the input.
    user_errors: Vec<McpUserError>,
}

pub(crate) struct McpToolResult {
    result: Arc<ToolResult>,
    output_problem: Option<String>,
}

/// What a tool has answered.
#[Object]
impl McpToolResult {
    /// The tool says that it has failed; the content says why.
    async fn is_error(&self) -> bool {
        self.result.is_error
    }

    /// Blocks of content in their order, as the protocol has them, such as `{"type": "text", "text": "…"}`.
    async fn content(&self) -> Vec<Json> {
        self.result.content.iter().cloned().map(Json).collect()
    }

    /// All text of the content, a line for each block.
    async fn text(&self) -> Option<String> {
        let texts = self.result.content.iter().filter(|block| block["type"] == "text");
        let texts: Vec<&str> = texts.filter_map(|block| block["text"].as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// The same for programs.
    async fn structured_content(&self) -> Option<Json> {
        self.result.structured.clone().map(Json)
    }

    /// In what way the structured content is not what the tool has promised in its `outputSchema`; null where it is.
    async fn output_problem(&self) -> Option<&str> {
        self.output_problem.as_deref()
    }
}

#[derive(Default)]
pub(crate) struct McpCallMutation;

#[Object]
impl McpCallMutation {
    /// Calls a tool of an MCP server, once: whatever fails after it was sent is told, and not tried again, unless the tool says that
    /// it only reads or that it may be repeated. The call is recorded before it is made.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = rate_limit::apply(600, 60))]
    async fn mcp_tool_call(&self, ctx: &Context<'_>, input: McpToolCallInput) -> Result<McpToolCallPayload> {
        let request = match asked(input) {
            Ok(request) => request,
            Err(problems) => return refused(McpError::Invalid(problems)),
        };
        ctx.scope().grant(ctx.services().mcp.longest(&request, ctx.caller()));
        let arguments = json!({ "tool": request.tool, "arguments": request.arguments });
        let command = ctx.command("mcpToolCall", &arguments);
        match ctx.services().mcp.call(command, ctx.origin(), ctx.caller(), request).await {
            Ok(answer) => Ok(answer.into()),
            Err(error) => refused(error),
        }
    }
}

fn asked(input: McpToolCallInput) -> Result<CallRequest, Vec<FieldError>> {
    let McpToolCallInput { tool, arguments, run_id, timeout_ms } = input;
    let mut problems = Vec::new();
    let run = run_id.map(|id| Uuid::try_parse(&id).map_err(|_| FieldError::new(&["input", "runId"], "must be a UUID")));
    let run_id = run.and_then(|run| run.map_err(|problem| problems.push(problem)).ok());
    if timeout_ms.is_some_and(|millis| !(1..=3_600_000).contains(&millis)) {
        problems.push(FieldError::new(&["input", "timeoutMs"], "must be 1 to 3600000"));
    }
    let timeout = timeout_ms.map(|millis| Duration::from_millis(millis.unsigned_abs().into()));
    let request = CallRequest { tool, arguments: arguments.map(|arguments| arguments.0), run_id, timeout };
    if problems.is_empty() { Ok(request) } else { Err(problems) }
}

fn refused(error: McpError) -> Result<McpToolCallPayload> {
    let user_errors = McpUserError::from_error(error, "tool")?;
    Ok(McpToolCallPayload { run_id: None, result: None, repeated: false, user_errors })
}

impl From<CallAnswer> for McpToolCallPayload {
    fn from(CallAnswer { run_id, result, repeated, output_problem }: CallAnswer) -> Self {
        Self {
            run_id: run_id.map(|id| ID(id.to_string())),
            result: result.map(|result| McpToolResult { result, output_problem }),
            repeated: repeated.is_some(),
            user_errors: Vec::new(),
        }
    }
}
