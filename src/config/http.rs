//! `[http]`: the listener, what it accepts and how long it waits.
//!
//! Owns limits of the transport only; what a GraphQL document may cost is `[graphql]`. A new setting is a field
//! here; `tests/it/config.rs` checks its key, doc comment and default.

use std::net::SocketAddr;

use confique::Config;
use ipnet::IpNet;

use super::Problem;

/// The listener, what it accepts and how long it waits.
#[derive(Debug, Clone, Config)]
pub struct HttpConfig {
    /// Address and port to listen on; port 0 picks a free one and prints it.
    #[config(env = "TIDEGATE_HTTP_LISTEN", default = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Browser origins that may call from other sites, such as `https://app.example.com`; `*` admits every origin,
    /// without credentials. Empty: same origin only. WebSocket upgrades obey the same list.
    #[config(env = "TIDEGATE_HTTP_ALLOWED_ORIGINS", default = [])]
    pub allowed_origins: Vec<String>,

    /// Networks of the proxies whose `X-Forwarded-For` and `Forwarded` headers are believed, such as `10.0.0.0/8`.
    /// Empty: the peer's address is the client's.
    #[config(env = "TIDEGATE_HTTP_TRUSTED_PROXIES", default = [])]
    pub trusted_proxies: Vec<IpNet>,

    /// Largest request body in bytes, 1024 to 67108864. The default leaves room for the longest allowed document and
    /// generous variables. Slow bodies can hold this much on every one of `max_connections`.
    #[config(env = "TIDEGATE_HTTP_MAX_BODY_BYTES", default = 1_048_576)]
    pub max_body_bytes: usize,

    /// Operations accepted in one batched request, 1 to 100; 1 refuses batches.
    #[config(env = "TIDEGATE_HTTP_MAX_BATCH_OPERATIONS", default = 1)]
    pub max_batch_operations: usize,

    /// Milliseconds until a request that has not been answered gets `TIMEOUT`, 100 to 600000.
    #[config(env = "TIDEGATE_HTTP_REQUEST_TIMEOUT_MS", default = 30_000)]
    pub request_timeout_ms: u64,

    /// Milliseconds a client may take to send its request head, 100 to 600000; slower ones are cut off.
    #[config(env = "TIDEGATE_HTTP_HEADER_READ_TIMEOUT_MS", default = 10_000)]
    pub header_read_timeout_ms: u64,

    /// Connections open at once, 1 to 1000000; further ones wait in the listener's backlog.
    #[config(env = "TIDEGATE_HTTP_MAX_CONNECTIONS", default = 10_000)]
    pub max_connections: usize,

    /// Milliseconds that running requests get to finish after a stop signal, up to 600000.
    #[config(env = "TIDEGATE_HTTP_SHUTDOWN_GRACE_MS", default = 10_000)]
    pub shutdown_grace_ms: u64,

    /// Serves GraphiQL at `/graphiql`. Off unless asked for, because it shows the schema to everyone; `sandbox` turns
    /// it on.
    #[config(env = "TIDEGATE_HTTP_GRAPHIQL", default = false)]
    pub graphiql: bool,

    /// Serves MCP at `/mcp`: trusted documents and the tools of MCP servers, as tools.
    #[config(env = "TIDEGATE_HTTP_MCP_ENABLED", default = true)]
    pub mcp_enabled: bool,

    /// Names under which `/mcp` is reached, such as `tidegate.example.com`, with a port or for all of them. Requests to
    /// another `Host` get 403, so that no page can have its own name lead here. Loopback names and IP addresses are
    /// always accepted.
    #[config(env = "TIDEGATE_HTTP_MCP_HOSTS", default = [])]
    pub mcp_hosts: Vec<String>,

    /// Requests to `/mcp` that are answered at once, 1 to 100000; further ones get 429.
    #[config(env = "TIDEGATE_HTTP_MCP_MAX_REQUESTS", default = 1_000)]
    pub mcp_max_requests: usize,

    /// Milliseconds between keep-alive comments on an idle event stream, 100 to 600000.
    #[config(env = "TIDEGATE_HTTP_SSE_KEEPALIVE_MS", default = 12_000)]
    pub sse_keepalive_ms: u64,

    /// WebSocket connections.
    #[config(nested)]
    pub ws: WebSocketConfig,
}

/// WebSocket connections.
#[derive(Debug, Clone, Config)]
pub struct WebSocketConfig {
    /// Milliseconds a client may take to send `connection_init`, 100 to 600000; then the socket closes with 4408.
    #[config(env = "TIDEGATE_HTTP_WS_INIT_TIMEOUT_MS", default = 3_000)]
    pub init_timeout_ms: u64,

    /// Milliseconds between pings, 100 to 600000.
    #[config(env = "TIDEGATE_HTTP_WS_PING_INTERVAL_MS", default = 15_000)]
    pub ping_interval_ms: u64,

    /// Milliseconds a client may take to answer a ping, 100 to 600000; then it counts as gone.
    #[config(env = "TIDEGATE_HTTP_WS_PONG_TIMEOUT_MS", default = 10_000)]
    pub pong_timeout_ms: u64,

    /// Operations running at once on one connection, 1 to 10000.
    #[config(env = "TIDEGATE_HTTP_WS_MAX_SUBSCRIPTIONS_PER_CONNECTION", default = 100)]
    pub max_subscriptions_per_connection: usize,

    /// Largest message from a client in bytes, 1024 to 16777216.
    #[config(env = "TIDEGATE_HTTP_WS_MAX_MESSAGE_BYTES", default = 262_144)]
    pub max_message_bytes: usize,

    /// Bytes queued for one slow client, 16384 to 67108864; a client that falls further behind is disconnected.
    #[config(env = "TIDEGATE_HTTP_WS_MAX_QUEUE_BYTES", default = 1_048_576)]
    pub max_queue_bytes: usize,
}

const TIMES: std::ops::RangeInclusive<u64> = 100..=600_000;
const TIMES_EXPECTED: &str = "100 to 600000 milliseconds";

impl HttpConfig {
    /// The section as it is when nobody sets anything.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = vec![
            Problem::unless(
                (1_024..=67_108_864).contains(&self.max_body_bytes),
                "http.max_body_bytes",
                &self.max_body_bytes,
                "1024 to 67108864 bytes",
            ),
            Problem::unless(
                (1..=100).contains(&self.max_batch_operations),
                "http.max_batch_operations",
                &self.max_batch_operations,
                "1 to 100 operations",
            ),
            time("http.request_timeout_ms", self.request_timeout_ms),
            time("http.header_read_timeout_ms", self.header_read_timeout_ms),
            Problem::unless(
                (1..=1_000_000).contains(&self.max_connections),
                "http.max_connections",
                &self.max_connections,
                "1 to 1000000 connections",
            ),
            Problem::unless(
                self.shutdown_grace_ms <= 600_000,
                "http.shutdown_grace_ms",
                &self.shutdown_grace_ms,
                "0 to 600000 milliseconds",
            ),
            Problem::unless(
                (1..=100_000).contains(&self.mcp_max_requests),
                "http.mcp_max_requests",
                &self.mcp_max_requests,
                "1 to 100000 requests",
            ),
            time("http.sse_keepalive_ms", self.sse_keepalive_ms),
        ];
        problems.extend(self.allowed_origins.iter().map(|origin| {
            Problem::unless(
                is_origin(origin),
                "http.allowed_origins",
                &origin,
                "origins such as https://app.example.com, without a path, or *",
            )
        }));
        problems.extend(self.mcp_hosts.iter().map(|host| {
            let expected = "names such as tidegate.example.com or tidegate.example.com:8443";
            Problem::unless(is_host(host), "http.mcp_hosts", &host, expected)
        }));
        problems.into_iter().flatten().chain(self.ws.problems()).collect()
    }
}

impl WebSocketConfig {
    fn problems(&self) -> Vec<Problem> {
        let checks = [
            time("http.ws.init_timeout_ms", self.init_timeout_ms),
            time("http.ws.ping_interval_ms", self.ping_interval_ms),
            time("http.ws.pong_timeout_ms", self.pong_timeout_ms),
            Problem::unless(
                (1..=10_000).contains(&self.max_subscriptions_per_connection),
                "http.ws.max_subscriptions_per_connection",
                &self.max_subscriptions_per_connection,
                "1 to 10000 operations",
            ),
            Problem::unless(
                (1_024..=16_777_216).contains(&self.max_message_bytes),
                "http.ws.max_message_bytes",
                &self.max_message_bytes,
                "1024 to 16777216 bytes",
            ),
            Problem::unless(
                (16_384..=67_108_864).contains(&self.max_queue_bytes),
                "http.ws.max_queue_bytes",
                &self.max_queue_bytes,
                "16384 to 67108864 bytes",
            ),
        ];
        checks.into_iter().flatten().collect()
    }
}

fn time(key: &'static str, milliseconds: u64) -> Option<Problem> {
    Problem::unless(TIMES.contains(&milliseconds), key, &milliseconds, TIMES_EXPECTED)
}

/// Browsers send an origin as scheme, host and port only; anything longer would never match.
fn is_origin(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return text == "*" };
    matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
}

/// What a `Host` header can say: a name, perhaps with a port.
fn is_host(text: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("http://{text}")) else { return false };
    !text.contains(['/', '?', '#', '@', '*']) && url.host_str().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problem() {
        assert_eq!(HttpConfig::defaults().problems(), []);
    }

    #[test]
    fn every_value_out_of_bounds_is_named() {
        let mut config = HttpConfig::defaults();
        config.max_body_bytes = 0;
        config.request_timeout_ms = 1;
        config.allowed_origins =
            vec!["https://ok.example".into(), "https://bad.example/path".into(), "nonsense".into()];
        config.mcp_hosts = vec!["ok.example".into(), "ok.example:8443".into(), "https://bad.example".into()];
        config.mcp_max_requests = 0;
        config.ws.max_queue_bytes = 1;
        let named: Vec<_> = config.problems().into_iter().map(|problem| (problem.key, problem.value)).collect();
        let expected = [
            ("http.max_body_bytes", "0"),
            ("http.request_timeout_ms", "1"),
            ("http.mcp_max_requests", "0"),
            ("http.allowed_origins", "https://bad.example/path"),
            ("http.allowed_origins", "nonsense"),
            ("http.mcp_hosts", "https://bad.example"),
            ("http.ws.max_queue_bytes", "1"),
        ];
        assert_eq!(named, expected.map(|(key, value)| (key, value.to_owned())));
    }
}
