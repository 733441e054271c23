//! Every metric of this room, with handles that hot paths keep.

use std::{collections::HashMap, sync::LazyLock};

use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::RwLock;

/// A path as metrics name it: a closed set, so that made-up paths cannot fill the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Route {
    Graphql,
    Mcp,
    Graphiql,
    Health,
    Ready,
    Metrics,
    Other,
}

impl Route {
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/graphql" => Self::Graphql,
            "/mcp" => Self::Mcp,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ if path == "/graphiql" || path.starts_with("/graphiql/") => Self::Graphiql,
            _ => Self::Other,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Graphql => "/graphql",
            Self::Mcp => "/mcp",
            Self::Graphiql => "/graphiql",
            Self::Health => "/health",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
            Self::Other => "other",
        }
    }

    /// Machines ask these every few seconds; their log lines would bury the others.
    pub(super) fn is_probe(self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Metrics)
    }
}

/// Handles of the two request metrics. Registries look a metric up by its labels, which costs more than counting.
#[derive(Debug, Default)]
pub(super) struct RequestMeters(RwLock<HashMap<(Route, &'static str, StatusCode), Handles>>);

#[derive(Debug, Clone)]
struct Handles {
    requests: Counter,
    seconds: Histogram,
}

impl RequestMeters {
    pub(super) fn record(&self, route: Route, method: &Method, status: StatusCode, seconds: f64) {
        let key = (route, method_label(method), status);
        let known = self.0.read().get(&key).cloned();
        let handles = known.unwrap_or_else(|| self.0.write().entry(key).or_insert_with(|| Handles::new(key)).clone());
        handles.requests.increment(1);
        handles.seconds.record(seconds);
    }
}

impl Handles {
    fn new((route, method, status): (Route, &'static str, StatusCode)) -> Self {
        let (route, status) = (route.label(), status.as_u16().to_string());
        Self {
            requests: counter!("tidegate_http_requests_total", "route" => route, "method" => method, "status" => status),
            seconds: histogram!("tidegate_http_request_seconds", "route" => route),
        }
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Counts something that exists for as long as the value does.
#[derive(Debug)]
pub(super) struct Present(Gauge);

impl Present {
    /// An open TCP connection.
    pub(super) fn connection() -> Self {
        static CONNECTIONS: LazyLock<Gauge> = LazyLock::new(|| gauge!("tidegate_http_connections"));
        Self::counted_by(&CONNECTIONS)
    }

    /// An open WebSocket.
    pub(super) fn socket() -> Self {
        static SOCKETS: LazyLock<Gauge> = LazyLock::new(|| gauge!("tidegate_ws_connections"));
        Self::counted_by(&SOCKETS)
    }

    /// An operation on a WebSocket.
    pub(super) fn operation() -> Self {
        static OPERATIONS: LazyLock<Gauge> = LazyLock::new(|| gauge!("tidegate_ws_operations"));
        Self::counted_by(&OPERATIONS)
    }

    /// An open event stream.
    pub(super) fn event_stream() -> Self {
        static STREAMS: LazyLock<Gauge> = LazyLock::new(|| gauge!("tidegate_sse_streams"));
        Self::counted_by(&STREAMS)
    }

    /// A client of `/mcp` that listens for changes.
    pub(super) fn listener() -> Self {
        static LISTENERS: LazyLock<Gauge> = LazyLock::new(|| gauge!("tidegate_mcp_listeners"));
        Self::counted_by(&LISTENERS)
    }

    fn counted_by(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A WebSocket closed; `code` is one of ours or `"peer"` when the other side left.
pub(super) fn socket_closed(code: &'static str) {
    counter!("tidegate_ws_closes_total", "code" => code).increment(1);
}

/// A message went to a WebSocket.
pub(super) fn socket_messages() -> Counter {
    counter!("tidegate_ws_messages_sent_total")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_paths_and_methods_share_one_label() {
        assert_eq!(Route::of("/wp-admin").label(), "other");
        assert_eq!(Route::of("/graphiql/assets/index-1a2b.js").label(), "/graphiql");
        assert_eq!(Route::of("/graphiqlx").label(), "other");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
