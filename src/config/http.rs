//! `[http]`: the listener and what it accepts.

use std::net::SocketAddr;

use confique::Config;

/// The listener and what it accepts.
#[derive(Debug, Clone, Config)]
pub struct HttpConfig {
    /// Address and port to listen on; port 0 picks a free one and prints it.
    #[config(env = "TIDEGATE_HTTP_LISTEN", default = "127.0.0.1:8080")]
    pub listen: SocketAddr,
}
