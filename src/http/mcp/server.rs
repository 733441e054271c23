//! What MCP's requests mean here: two lists of tools in pages, and calls.

use std::{future::Future, panic::AssertUnwindSafe};

use axum::http::request::Parts;
use futures_util::FutureExt;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
};

use super::translate;
use crate::graphql::{Caller, GraphqlRequest, ToolScope, Tools};
use crate::http::middleware::panic_message;

/// The most tools on one page of their list.
const TOOLS_PER_PAGE: usize = 500;

/// In `_meta`: a call under the same key by the same caller is made once.
const IDEMPOTENCY_KEY: &str = "tidegate/idempotencyKey";

const INSTRUCTIONS: &str = "Tidegate's tools are operations of its GraphQL schema, and tools of the MCP servers behind \
    it, named server__tool. A tool that needs a role says UNAUTHENTICATED or FORBIDDEN without it.";

/// Who sent a request, and what came along in its headers.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) caller: Caller,
    /// Still without document and variables.
    pub(super) request: GraphqlRequest,
    pub(super) scope: ToolScope,
}

/// The server as the SDK sees it; one clone for each request.
#[derive(Clone)]
pub(super) struct Server {
    tools: Tools,
}

impl Server {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools }
    }

    async fn page(&self, cursor: Option<&str>, asker: &Asker) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.list(&asker.caller, asker.scope).await.map_err(translate::error)?;
        // The cursor is the last name of the page before: whatever node answers next can read it.
        let mut rest = tools.into_iter().filter(|tool| cursor.is_none_or(|cursor| tool.name.as_str() > cursor));
        let page: Vec<_> = rest.by_ref().take(TOOLS_PER_PAGE).collect();
        let next_cursor = rest.next().and_then(|_| page.last().map(|last| last.name.clone()));
        let tools = page.into_iter().map(translate::tool).collect();
        Ok(ListToolsResult { next_cursor, ..ListToolsResult::with_all_items(tools) })
    }

    async fn called(&self, call: CallToolRequestParams, asker: Asker) -> Result<CallToolResponse, ErrorData> {
        let Asker { caller, request, scope } = asker;
        let request = GraphqlRequest { variables: call.arguments.unwrap_or_default(), ..request };
        let outcome = self.tools.call(&call.name, request, &caller, scope).await.map_err(translate::error)?;
        Ok(translate::outcome(outcome).into())
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let implementation = Implementation::new("tidegate", env!("CARGO_PKG_VERSION")).with_title("Tidegate");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let asker = asker(&context);
        let cursor = request.and_then(|request| request.cursor);
        Box::pin(unless_left(&context, self.page(cursor.as_deref(), &asker))).await
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let mut asker = asker(&context);
        if let Some(key) = context.meta.get(IDEMPOTENCY_KEY) {
            let key = key
                .as_str()
                .ok_or_else(|| ErrorData::invalid_params(format!("_meta.{IDEMPOTENCY_KEY} must be a string"), None))?;
            asker.request.idempotency_key = Some(key.to_owned());
        }
        Box::pin(unless_left(&context, self.called(request, asker))).await
    }
}

fn asker(context: &RequestContext<RoleServer>) -> Asker {
    let parts = context.extensions.get::<Parts>().expect("the SDK hands over what came with the request");
    parts.extensions.get::<Asker>().cloned().expect("it is there before the SDK is asked")
}

/// Ends the work when whoever asked has left, and turns a panic into an answer: the SDK would wait for one for ever.
async fn unless_left<T>(
    context: &RequestContext<RoleServer>,
    work: impl Future<Output = Result<T, ErrorData>>,
) -> Result<T, ErrorData> {
    let internal = || ErrorData::internal_error("internal server error", None);
    tokio::select! {
        biased;
        done = AssertUnwindSafe(work).catch_unwind() => done.unwrap_or_else(|panic| {
            tracing::error!(panic = panic_message(panic.as_ref()), "a request to /mcp panicked");
            Err(internal())
        }),
        () = context.ct.cancelled() => Err(internal()),
    }
}
