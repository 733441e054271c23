//! The front door: listener, ordered middleware, GraphQL over HTTP, WebSocket and SSE, MCP, health, metrics, GraphiQL.
//!
//! Owns what is transport: bytes, headers, statuses, close codes, deadlines. It never parses GraphQL, never decides what
//! a caller may see (`graphql/` does) and never answers an error in another shape than [`Gateway::refuse`] makes,
//! but for the JSON-RPC errors of `mcp/`.
//! A new path gets a file here and a line in [`router`]; a new header of GraphQL answers goes to `graphql/respond.rs`.
//! `tests/it/http_*.rs`, `ws_*.rs` and `sse_*.rs` prove it from outside; docs/http.md says the same for callers.

mod arrival;
mod body;
mod client_ip;
mod cors;
mod graphiql;
mod graphql;
mod health;
mod mcp;
mod meters;
mod middleware;
mod origin;
mod readiness;
mod refusal;
mod server;
mod sse;
mod ws;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    routing::{any, get},
};
use tokio_util::sync::CancellationToken;

pub use graphiql::{DevelopmentToken, GraphiqlSettings};
pub use health::MetricsPage;
pub use readiness::{Part, Readiness};
pub use server::serve;

use crate::{auth::Authenticator, config::HttpConfig, graphql::Gateway, model::Clock};

/// Everything that answering takes; built once, in `app.rs`.
pub struct Front {
    /// Where GraphQL requests go.
    pub gateway: Gateway,
    /// Who turns tokens into principals.
    pub authenticator: Authenticator,
    /// The section `[http]`.
    pub config: HttpConfig,
    /// What `/metrics` shows.
    pub metrics: MetricsPage,
    /// What `/ready` shows.
    pub readiness: Readiness,
    /// What the GraphiQL page is told; only used when the configuration turns the page on.
    pub graphiql: GraphiqlSettings,
    /// The time.
    pub clock: Clock,
    /// Cancelled when the server begins to drain: `/ready` turns, streams complete, sockets close with 1001.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("config", &self.config).finish_non_exhaustive()
    }
}

/// All paths of the server. Hand it to [`serve`].
pub fn router(front: Front) -> Router {
    let front = Arc::new(front);
    let mut router = Router::new()
        .route("/graphql", any(graphql::handle))
        .route("/health", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(refusal::not_found)
        .method_not_allowed_fallback(refusal::method_not_allowed);
    if front.config.graphiql {
        router = router.merge(graphiql::routes());
    }
    if front.config.mcp_enabled {
        router = router.merge(mcp::routes(&front));
    }
    middleware::around(router, &front).with_state(front)
}
