//! What transports hand in and get back: plain values, so that HTTP, WebSocket and SSE share one front door.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Map, Value};

use super::ErrorCode;
use crate::{
    config::Secret,
    model::{Origin, Principal},
};

/// One GraphQL request, decoded by a transport and not yet looked at.
#[derive(Debug, Clone, Default)]
pub struct GraphqlRequest {
    /// The document; absent when only a persisted hash was sent.
    pub query: Option<String>,
    /// Which operation of the document to run.
    pub operation_name: Option<String>,
    /// The variables as sent.
    pub variables: Map<String, Value>,
    /// `extensions.persistedQuery`.
    pub persisted: Option<PersistedQuery>,
    /// `extensions.idempotencyKey`, or the header that stands for it: a mutation under the same key is done once.
    pub idempotency_key: Option<String>,
    /// `extensions.stepUpToken`, or the header that stands for it: proof of a second factor.
    pub step_up: Option<Secret>,
}

/// The hash of an automatic persisted query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersistedQuery {
    /// The protocol version; only 1 exists.
    pub version: u64,
    /// SHA-256 of the document, in hexadecimal.
    pub sha256: String,
}

/// Names one request in logs and errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is asking, from where.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The authenticated principal, if a good token came along.
    pub principal: Option<Principal>,
    /// Where it comes from.
    pub origin: Origin,
    /// The id of the request (of the connection's upgrade request for WebSocket).
    pub request_id: RequestId,
}

/// Which kinds of operation the transport allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// GET: nothing that changes state.
    Queries,
    /// POST and WebSocket.
    QueriesAndMutations,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It executed; the body has `data`, perhaps with errors beside it.
    Executed,
    /// It was refused before execution; the body has only `errors`.
    Refused(ErrorCode),
    /// A mutation came over a transport that only permits queries.
    MutationNotPermitted,
    /// A subscription came over a transport that gives single answers.
    SubscriptionNotPermitted,
}

/// A finished answer to one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How the request ended.
    pub outcome: Outcome,
    /// The response as JSON text.
    pub body: Bytes,
    /// The value of the `Cache-Control` header.
    pub cache_control: String,
    /// Seconds since the answer was made, when it came from the response cache.
    pub age: Option<u64>,
    /// What is left of every limit that the request drew from.
    pub limits: Vec<LimitState>,
    /// How long to wait before trying again, when a limit or a breaker refused.
    pub retry_after: Option<Duration>,
}

/// What is left of one rate limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// The limit's name, as in `Query.cryptoPrices`.
    pub name: Arc<str>,
    /// Tokens in a window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
    /// Tokens left.
    pub remaining: u32,
    /// When all tokens are back.
    pub reset: Duration,
}

/// One message of a running operation. The stream ending is `complete`.
#[derive(Debug, Clone)]
pub enum Frame {
    /// An execution result: `{"data": …}`. Shared between all sockets of a live group.
    Next(Bytes),
    /// The operation ends with errors: a JSON list of errors, as graphql-transport-ws's `error` wants it.
    Error(Bytes),
}

/// The messages of a running operation.
pub type Frames = Pin<Box<dyn Stream<Item = Frame> + Send>>;
