//! `/mcp`: Tidegate as an MCP server over streamable HTTP, in both eras: up to 2025-11-25, and 2026-07-28.
//!
//! Owns the way from a request to the SDK and back: who may ask under which name, from which page, how large, how long,
//! how many at once. What tools there are and what calling them means is `graphql/tools/`'s. No request needs another
//! one: there are no sessions, and every answer is whole, as JSON, or a stream where something is told before it. So any
//! node behind a balancer can answer, and nothing is kept for a client that has gone. docs/mcp.md says it for callers;
//! `tests/it/mcp_endpoint.rs` proves it.

mod host;
mod server;
mod translate;

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::Request,
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
        request::Parts,
    },
    response::Response,
    routing::any,
};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use rmcp::{
    model::{ErrorData, JsonRpcError},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde::{Deserialize, de::IgnoredAny};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use self::server::{Asker, Server};
use super::{
    Front,
    arrival::Arrival,
    body,
    graphql::{is_json, principal, take_headers, timed_out, unsupported_media_type},
    origin,
    refusal::{JSON, Refusal},
    sse,
};
use crate::graphql::{ErrorCode, GraphqlRequest, ToolScope, Tools};

/// The one request that is open for as long as its client likes.
const LISTEN: &str = "subscriptions/listen";

/// Bytes of an answer that a connection is given at once.
const PIECE: usize = 64 * 1_024;

/// Says that who asks is a Tidegate itself, which would otherwise find its own tools among those of its servers.
const HOP: &str = "tidegate-hop";

struct Endpoint {
    front: Arc<Front>,
    service: StreamableHttpService<Server, NeverSessionManager>,
    turns: Arc<Semaphore>,
}

/// The path.
pub(super) fn routes(front: &Arc<Front>) -> Router<Arc<Front>> {
    let tools = Tools::new(front.gateway.clone());
    let mut config = StreamableHttpServerConfig::default().disable_allowed_hosts();
    config.legacy_session_mode = false;
    config.json_response = true;
    config.sse_keep_alive = Some(Duration::from_millis(front.config.sse_keepalive_ms));
    // Checked here, before anything is read.
    config.max_request_body_bytes = front.config.max_body_bytes;
    let server = Server::new(tools, front.shutdown.clone());
    let service = StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config);
    let turns = Arc::new(Semaphore::new(front.config.mcp_max_requests.min(Semaphore::MAX_PERMITS)));
    let endpoint = Arc::new(Endpoint { front: Arc::clone(front), service, turns });
    let handle = move |request: Request| async move { Arc::clone(&endpoint).handle(request).await };
    Router::new().route("/mcp", any(handle))
}

impl Endpoint {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let arrival =
            request.extensions().get::<Arrival>().cloned().expect("the middleware puts it into every request");
        let (parts, mut body) = request.into_parts();
        match self.answer(&arrival, parts, &mut body).await {
            Ok(response) => response,
            Err(refusal) => {
                body::discard(&mut body, &self.front.shutdown).await;
                refusal.respond(&self.front.gateway, &arrival.request_id, JSON)
            }
        }
    }

    /// The checks in the order in which they are cheap, then the SDK.
    async fn answer(&self, arrival: &Arrival, mut parts: Parts, body: &mut Body) -> Result<Response, Refusal> {
        let Front { config, clock, shutdown, .. } = &*self.front;
        let deadline = clock.instant() + Duration::from_millis(config.request_timeout_ms);
        if !host::is_ours(&parts.uri, &parts.headers, &config.mcp_hosts) {
            return Err(forbidden("this is not a name of this server; http.mcp_hosts lists those that are"));
        }
        if !origin::may_connect(&parts.headers, &config.allowed_origins) {
            return Err(forbidden("pages of this origin may not ask here"));
        }
        if parts.method != Method::POST {
            return Err(Refusal::method_not_allowed("POST"));
        }
        if !is_json(&parts.headers) {
            return Err(unsupported_media_type());
        }
        let asker = self.asker(arrival, &parts).await?;
        parts.extensions.insert(asker);
        let bytes = body::read(body, &parts.headers, config.max_body_bytes, deadline, shutdown).await?;
        if serde_json::from_slice::<IgnoredAny>(&bytes).is_err() {
            return Ok(protocol_error(ErrorData::parse_error("Parse error", None)));
        }
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| too_many())?;
        let listens = method(&bytes).is_some_and(|method| method == LISTEN);
        let request = axum::http::Request::from_parts(parts, Full::new(bytes));
        let answered = timeout_at(deadline, self.service.handle(request)).await;
        let response = read_back(answered.map_err(|_| timed_out())?)?;
        // Who listens only waits, for as long as they like; a call has its turn until its answer has left.
        Ok(if listens { response } else { response.map(|body| holding(turn, body)) })
    }

    async fn asker(&self, arrival: &Arrival, parts: &Parts) -> Result<Asker, Refusal> {
        let caller = arrival.caller(principal(&self.front, arrival, &parts.headers).await?);
        let mut request = GraphqlRequest::default();
        take_headers(&mut request, &parts.headers)?;
        let scope = if parts.headers.contains_key(HOP) { ToolScope::Documents } else { ToolScope::All };
        let expires_at = sse::expiry(&self.front, caller.principal.as_ref());
        Ok(Asker { caller, request, scope, expires_at })
    }
}

/// What a message asks for.
fn method(message: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    serde_json::from_slice::<Message<'_>>(message).ok().map(|message| message.method)
}

/// A body that gives a turn back when it has left but for its last piece, or is given up. It goes in pieces, as a connection
/// takes a whole one before it has sent anything.
fn holding(turn: OwnedSemaphorePermit, body: Body) -> Body {
    if body.size_hint().upper().is_some_and(|most| most <= PIECE as u64) {
        return body;
    }
    let mut whole = body.into_data_stream();
    Body::from_stream(async_stream::stream! {
        let _held = turn;
        while let Some(data) = whole.next().await {
            let mut rest = match data {
                Ok(data) => data,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            while rest.len() > PIECE {
                yield Ok(rest.split_to(PIECE));
            }
            yield Ok(rest);
        }
    })
}

/// The SDK's response as ours. What it says in plain text is said in the shape that refusals have.
fn read_back<B>(response: axum::http::Response<B>) -> Result<Response, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let is_text = response.status().as_u16() >= 400 && response.headers().get(CONTENT_TYPE).is_none_or(is_plain);
    if !is_text {
        let mut response = response.map(|body| Body::new(body.map_err(Into::into)));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
    match response.status() {
        // The content type was checked before: it is the message that the SDK cannot read.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let message = "Invalid Request: the body must be one message of MCP";
            Ok(protocol_error(ErrorData::invalid_request(message, None)))
        }
        status @ StatusCode::NOT_ACCEPTABLE => {
            let message = "the Accept header must name application/json and text/event-stream";
            Err(Refusal::new(status, ErrorCode::BadUserInput, message))
        }
        status if status.is_client_error() => {
            Err(Refusal::new(status, ErrorCode::BadUserInput, "the request does not follow MCP's transport"))
        }
        status => {
            tracing::error!(%status, "the MCP SDK could not answer");
            Err(Refusal::internal())
        }
    }
}

fn is_plain(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"text/plain")
}

fn protocol_error(error: ErrorData) -> Response {
    let body = serde_json::to_vec(&JsonRpcError::new(None, error)).expect("errors are made of text and numbers");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn forbidden(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
}

fn too_many() -> Refusal {
    let message = "as many requests as may be answered at once are being answered; try again";
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message);
    refusal.with(RETRY_AFTER, HeaderValue::from(1))
}
