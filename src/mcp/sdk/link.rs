//! A connection to a server.

use std::{borrow::Cow, collections::HashMap, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderName, HeaderValue};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, Peer, RoleClient, ServiceError,
    model::{
        CallToolRequest, CallToolRequestParams, ClientRequest, DiscoverRequest, JsonObject, PaginatedRequestParams,
        ProtocolVersion, ServerResult, SubscriptionFilter,
    },
    service::{ClientCacheConfig, PeerRequestOptions, RequestHandle, RunningService},
    transport::{
        StreamableHttpClientTransport, async_rw::AsyncRwTransport,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, Notify, mpsc},
    time::timeout,
};

use super::{Era, LinkError, PeerFacts, Progress, ToolResult, ear::Ear, translate};
use crate::{
    mcp::{Prompt, Resource, Tool},
    resilience::Outbound,
};

/// Says that who asks is a Tidegate: two that have each other as servers must not list each other's lists without end.
const HOP: HeaderName = HeaderName::from_static("tidegate-hop");
/// Pages of a list that are read; a server that has more is lying, or too large.
const MOST_PAGES: usize = 100;
/// Requests over HTTP at the same time; the bulkhead of the server is the bound that counts.
const MOST_REQUESTS: usize = 10_000;
/// News of one call that wait for whoever listens.
const PROGRESS: usize = 16;

/// What a server is spoken to through.
pub(in crate::mcp) enum Wire {
    /// Its standard input and output, one message a line.
    Pipes(Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>),
    /// Streamable HTTP.
    Http { outbound: Outbound, url: String, headers: HashMap<HeaderName, HeaderValue>, bearer: Option<String> },
}

/// A connection to a server. It must be closed: whoever drops it leaves that to chance.
pub(in crate::mcp) struct Link {
    peer: Peer<RoleClient>,
    ear: Ear,
    facts: PeerFacts,
    running: Mutex<Option<RunningService<RoleClient, Ear>>>,
}

impl Link {
    /// Connects, within a deadline. A server that is known to be of the older era is not asked which it is of.
    pub(in crate::mcp) async fn connect(
        wire: Wire,
        known: Option<Era>,
        most_bytes: usize,
        deadline: Duration,
    ) -> Result<Self, LinkError> {
        let ear = Ear::default();
        let lifecycle = lifecycle(known);
        let connecting = async {
            match wire {
                Wire::Pipes(reader, writer) => {
                    // The reader has its own, smaller bound, which ends the connection.
                    let transport = AsyncRwTransport::new_client(reader, writer).with_max_line_length(usize::MAX);
                    ear.clone().serve_with_lifecycle(transport, lifecycle).await
                }
                Wire::Http { outbound, url, mut headers, bearer } => {
                    headers.insert(HOP, HeaderValue::from_static("1"));
                    let config = StreamableHttpClientTransportConfig::with_uri(url)
                        .custom_headers(headers)
                        .max_concurrent_requests(MOST_REQUESTS)
                        .max_sse_event_size(most_bytes)
                        .max_json_response_size(most_bytes);
                    let config = bearer.into_iter().fold(config, StreamableHttpClientTransportConfig::auth_header);
                    let transport = StreamableHttpClientTransport::with_client(outbound.streaming(), config);
                    ear.clone().serve_with_lifecycle(transport, lifecycle).await
                }
            }
        };
        let running = timeout(deadline, connecting).await.map_err(|_| LinkError::TimedOut(deadline))?;
        let running = running.map_err(|error| translate::start_error(&error))?;
        let peer = running.peer().clone();
        peer.set_response_cache_config(ClientCacheConfig::disabled()).await;
        let info = peer.peer_info().ok_or(LinkError::Broken("the server says nothing of itself".into()))?;
        Ok(Self { facts: translate::facts(&info), peer, ear, running: Mutex::new(Some(running)) })
    }

    pub(in crate::mcp) fn facts(&self) -> &PeerFacts {
        &self.facts
    }

    /// Told whenever what the server offers may have changed.
    pub(in crate::mcp) fn changed(&self) -> Arc<Notify> {
        self.ear.changed()
    }

    /// Whether nothing can be sent any more.
    pub(in crate::mcp) fn is_closed(&self) -> bool {
        // `RunningService::is_closed` misses a server that has died.
        self.peer.is_transport_closed()
    }

    /// Asks a server of the newer era to tell of changes, and passes them on until the connection ends. One of the older era tells anyway.
    pub(in crate::mcp) async fn listen(&self) -> Result<(), LinkError> {
        if self.facts.era == Era::Legacy {
            return std::future::pending().await;
        }
        let filter = SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().resources_list_changed();
        let mut news = self.peer.listen(filter.build()).await.map_err(|error| translate::error(&error))?;
        while let Some(notification) = news.next().await.map_err(|error| translate::error(&error))? {
            self.ear.hear(&notification);
        }
        Err(LinkError::Closed)
    }

    /// Whether the server answers, the way that its era has for that.
    pub(in crate::mcp) async fn probe(&self, deadline: Duration) -> Result<(), LinkError> {
        let request = match self.facts.era {
            Era::Modern => ClientRequest::DiscoverRequest(DiscoverRequest::default()),
            Era::Legacy => return self.first_tools(deadline).await,
        };
        self.ask(request, deadline).await.map(drop)
    }

    async fn first_tools(&self, deadline: Duration) -> Result<(), LinkError> {
        let asked = within(deadline, self.peer.list_tools(None)).await;
        asked.map(drop)
    }

    /// Everything of one kind that the server lists.
    pub(in crate::mcp) async fn tools(&self, deadline: Duration) -> Result<Vec<Tool>, LinkError> {
        let listed = pages(deadline, |params| {
            let asked = self.peer.list_tools(params);
            async { asked.await.map(|page| (page.tools, page.next_cursor)) }.boxed()
        });
        Ok(listed.await?.into_iter().map(translate::tool).collect())
    }

    pub(in crate::mcp) async fn prompts(&self, deadline: Duration) -> Result<Vec<Prompt>, LinkError> {
        let listed = pages(deadline, |params| {
            let asked = self.peer.list_prompts(params);
            async { asked.await.map(|page| (page.prompts, page.next_cursor)) }.boxed()
        });
        Ok(listed.await?.into_iter().map(translate::prompt).collect())
    }

    pub(in crate::mcp) async fn resources(&self, deadline: Duration) -> Result<Vec<Resource>, LinkError> {
        let listed = pages(deadline, |params| {
            let asked = self.peer.list_resources(params);
            async { asked.await.map(|page| (page.resources, page.next_cursor)) }.boxed()
        });
        Ok(listed.await?.into_iter().map(translate::resource).collect())
    }

    /// Calls a tool. Cancelled at the server when the deadline is over, or this is dropped.
    pub(in crate::mcp) async fn call(
        &self,
        tool: &str,
        arguments: Option<JsonObject>,
        deadline: Duration,
        progress: mpsc::Sender<Progress>,
    ) -> Result<ToolResult, LinkError> {
        let mut params = CallToolRequestParams::new(Cow::Owned(tool.to_owned()));
        params.arguments = arguments;
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let handle = self.send(request).await?;
        let mut asked = Asked::new(self, &handle);
        self.ear.listen(&handle.progress_token, progress);
        let answer = timeout(deadline, handle.await_response()).await.map_err(|_| LinkError::TimedOut(deadline))?;
        asked.is_over = true;
        translate::result(answer.map_err(|error| translate::error(&error))?)
    }

    async fn ask(&self, request: ClientRequest, deadline: Duration) -> Result<ServerResult, LinkError> {
        let asked =
            async { self.send(request).await?.await_response().await.map_err(|error| translate::error(&error)) };
        timeout(deadline, asked).await.map_err(|_| LinkError::TimedOut(deadline))?
    }

    async fn send(&self, request: ClientRequest) -> Result<RequestHandle<RoleClient>, LinkError> {
        let sent = self.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await;
        sent.map_err(|error| translate::error(&error))
    }

    /// Closes the connection, and waits for that no longer than the deadline.
    pub(in crate::mcp) async fn close(&self, deadline: Duration) {
        if let Some(mut running) = self.running.lock().await.take() {
            let _ = running.close_with_timeout(deadline).await;
        }
    }
}

/// How many news of one call may wait for whoever listens.
pub(in crate::mcp) fn progress() -> (mpsc::Sender<Progress>, mpsc::Receiver<Progress>) {
    mpsc::channel(PROGRESS)
}

/// Everything of a list, page by page.
async fn pages<'a, T>(
    deadline: Duration,
    list: impl Fn(Option<PaginatedRequestParams>) -> BoxFuture<'a, Result<(Vec<T>, Option<String>), ServiceError>>,
) -> Result<Vec<T>, LinkError> {
    let all = async {
        let (mut items, mut params) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let (page, cursor) = list(params.take()).await.map_err(|error| translate::error(&error))?;
            items.extend(page);
            let Some(cursor) = cursor else { return Ok(items) };
            params = Some(PaginatedRequestParams::default().with_cursor(Some(cursor)));
        }
        Err(LinkError::Broken(format!("a list has more than {MOST_PAGES} pages").into()))
    };
    timeout(deadline, all).await.map_err(|_| LinkError::TimedOut(deadline))?
}

async fn within<T>(deadline: Duration, asked: impl Future<Output = Result<T, ServiceError>>) -> Result<T, LinkError> {
    let answer = timeout(deadline, asked).await.map_err(|_| LinkError::TimedOut(deadline))?;
    answer.map_err(|error| translate::error(&error))
}

fn lifecycle(known: Option<Era>) -> ClientLifecycleMode {
    match known {
        Some(Era::Legacy) => ClientLifecycleMode::Initialize,
        _ => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
    }
}

/// A call that a server is working on. Whoever goes away before it is over lets the server know.
struct Asked {
    peer: Peer<RoleClient>,
    ear: Ear,
    id: rmcp::model::RequestId,
    token: rmcp::model::ProgressToken,
    is_over: bool,
}

impl Asked {
    fn new(link: &Link, handle: &RequestHandle<RoleClient>) -> Self {
        let (peer, ear) = (link.peer.clone(), link.ear.clone());
        Self { peer, ear, id: handle.id.clone(), token: handle.progress_token.clone(), is_over: false }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.ear.forget(&self.token);
        if !self.is_over && !self.peer.is_transport_closed() {
            let (peer, id) = (self.peer.clone(), self.id.clone());
            tokio::spawn(async move {
                let cancelled = translate::cancelled(id);
                // A server that does not take it is no worse off.
                let _ = timeout(Duration::from_secs(5), peer.notify_cancelled(cancelled)).await;
            });
        }
    }
}
