//! What MCP's requests mean here: a list of tools in pages and its changes, and calls with their progress.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin};

use axum::http::request::Parts;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{FutureExt, StreamExt};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorCode, Implementation,
        InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
        ProgressToken, ServerCapabilities, ServerConfig, SubscriptionFilter, ToolsCapability,
    },
    service::{Peer, RequestContext, SubscriptionContext},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::translate;
use crate::{
    graphql::{Caller, GraphqlRequest, ToolProgress, ToolScope, Tools},
    http::{meters::Present, middleware::panic_message},
};

/// The most tools on one page of their list.
const TOOLS_PER_PAGE: usize = 500;

/// Words about a call's progress that may wait for its client.
const MOST_PROGRESS: usize = 16;
/// Changes of the list that are told as one.
const MOST_CHANGES: usize = 64;

/// Requests that the SDK takes for unknown ones when it cannot read what they say.
const KNOWN: [&str; 3] = ["subscriptions/listen", "tools/call", "tools/list"];

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
    /// When the caller's token is none any more.
    pub(super) expires_at: Instant,
}

/// The server as the SDK sees it; one clone for each request.
#[derive(Clone)]
pub(super) struct Server {
    tools: Tools,
    /// Ends what would go on for ever.
    shutdown: CancellationToken,
}

impl Server {
    pub(super) fn new(tools: Tools, shutdown: CancellationToken) -> Self {
        Self { tools, shutdown }
    }

    async fn page(&self, cursor: Option<&str>, asker: &Asker) -> Result<ListToolsResult, ErrorData> {
        let cursor = cursor.map(last_of).transpose()?;
        let tools = self.tools.list(&asker.caller, asker.scope).await.map_err(translate::error)?;
        // The cursor is the last name of the page before: whatever node answers next can read it.
        let mut rest = tools.into_iter().filter(|tool| cursor.as_ref().is_none_or(|last| tool.name > *last));
        let page: Vec<_> = rest.by_ref().take(TOOLS_PER_PAGE).collect();
        let next_cursor = rest.next().and_then(|_| page.last().map(|last| BASE64_URL_SAFE_NO_PAD.encode(&last.name)));
        let tools = page.into_iter().map(translate::tool).collect();
        Ok(ListToolsResult { next_cursor, ..ListToolsResult::with_all_items(tools) })
    }

    async fn called(
        &self,
        call: CallToolRequestParams,
        asker: Asker,
        tell: Option<mpsc::Sender<ToolProgress>>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Asker { caller, request, scope, .. } = asker;
        let request = GraphqlRequest { variables: call.arguments.unwrap_or_default(), ..request };
        let outcome = self.tools.call(&call.name, request, &caller, scope, tell).await.map_err(translate::error)?;
        Ok(translate::outcome(outcome).into())
    }

    /// Tells a client of changes, until it leaves, may not know any more, or this server stops.
    async fn tell_changes(&self, context: &SubscriptionContext, asker: &Asker) -> Result<(), ErrorData> {
        let _present = Present::listener();
        let told = self.tools.changes(&asker.caller, asker.scope).await.map_err(translate::error)?;
        let (mut told, mut expiry) = (told.ready_chunks(MOST_CHANGES), pin!(sleep_until(asker.expires_at)));
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                () = &mut expiry => return Err(translate::expired()),
                changed = told.next() => {
                    if changed.is_none() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The last name of the page before.
fn last_of(cursor: &str) -> Result<String, ErrorData> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| ErrorData::invalid_params("the cursor is none of this list", None))
}

/// Passes on how far a call has come, for as long as somebody tells.
async fn pass_on(peer: &Peer<RoleServer>, token: ProgressToken, mut told: mpsc::Receiver<ToolProgress>) {
    while let Some(ToolProgress { progress, total, message, .. }) = told.recv().await {
        let mut said = ProgressNotificationParam::new(token.clone(), progress);
        (said.total, said.message) = (total, message);
        // Who has left is noticed where it is waited for.
        let _ = peer.notify_progress(said).await;
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let implementation = Implementation::new("tidegate", env!("CARGO_PKG_VERSION")).with_title("Tidegate");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        // Without sessions there is nowhere to tell a client of the older era anything.
        result.capabilities.tools = Some(ToolsCapability::default());
        Ok(result)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        // The SDK takes out what this server does not say it tells.
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let asker = asker(context.request_context());
        Box::pin(unless_left(context.request_context(), self.tell_changes(&context, &asker))).await
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
        let Some(token) = context.meta.get_progress_token() else {
            return Box::pin(unless_left(&context, self.called(request, asker, None))).await;
        };
        let (tell, told) = mpsc::channel(MOST_PROGRESS);
        let called = async {
            let called = self.called(request, asker, Some(tell));
            tokio::join!(called, pass_on(&context.peer, token, told)).0
        };
        Box::pin(unless_left(&context, called)).await
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let CustomRequest { method, .. } = request;
        if KNOWN.contains(&method.as_str()) {
            return Err(ErrorData::invalid_params(format!("these are no parameters of {method}"), None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, method, None))
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
