//! The listener: bounded connections, deadlines for slow ones, a shutdown that drains.
//!
//! HTTP/1.1 and HTTP/2 without TLS are told apart by the first bytes; TLS ends at the proxy in front.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::HttpBody, http::Request};
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::arrival::Connection;
use crate::config::HttpConfig;

/// What a request head may weigh.
const LONGEST_HEAD: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS_PER_CONNECTION: u32 = 128;
/// HTTP/2 connections that do not answer a ping are dropped.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// How long a connection that has not asked for anything yet may still do so once the server drains.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long to wait after the system refused to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is cancelled, then drains: the port is closed at once, running requests, streams and
/// sockets get `shutdown_grace_ms` to finish, and what is left after that is dropped.
pub async fn serve(listener: TcpListener, router: Router, config: &HttpConfig, shutdown: CancellationToken) {
    let server = Server {
        router,
        builder: builder(config),
        header_timeout: Duration::from_millis(config.header_read_timeout_ms),
        shutdown,
        abandon: CancellationToken::new(),
    };
    let open = TaskTracker::new();
    accept(listener, &server, &open, config.max_connections).await;

    open.close();
    tracing::info!(connections = open.len(), "draining");
    if timeout(Duration::from_millis(config.shutdown_grace_ms), open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "dropping what did not finish in time");
        server.abandon.cancel();
        open.wait().await;
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    builder: Builder<TokioExecutor>,
    header_timeout: Duration,
    shutdown: CancellationToken,
    abandon: CancellationToken,
}

fn builder(config: &HttpConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_read_timeout_ms))
        .max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(u32::try_from(LONGEST_HEAD).expect("64 KiB"))
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

/// Returns when shutdown begins; the listener is dropped with it, so that new connections are refused.
async fn accept(listener: TcpListener, server: &Server, open: &TaskTracker, max_connections: usize) {
    let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let next = async {
            // The slot is taken before accepting: connections beyond the cap wait in the system's backlog, for free.
            let permit = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = server.shutdown.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = Connection::new(peer, permit, open.token(), server.abandon.clone());
                open.spawn(server.clone().converse(stream, connection));
            }
            Err(error) => recover(&error).await,
        }
    }
}

/// A connection that died while waiting is its client's matter; anything else is ours and may take a moment.
async fn recover(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl Server {
    async fn converse(self, stream: TcpStream, connection: Connection) {
        // Answers are written whole, so waiting for more to send only adds latency. Failing means the peer has left.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let peer: SocketAddr = connection.peer;
        let asked = Arc::new(AtomicBool::new(false));
        let service = PerConnection { router: self.router, connection, asked: Arc::clone(&asked) };
        let conversation =
            self.builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut conversation = std::pin::pin!(conversation);
        let mut silent = std::pin::pin!(tokio::time::sleep(self.header_timeout));
        let mut watching = true;
        let mut draining = false;
        loop {
            tokio::select! {
                result = conversation.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, error, "a connection ended early");
                    }
                    return;
                }
                // The library's own timeout only begins once it knows the HTTP version, which a client that sends
                // nothing, or only a `P`, never lets it find out.
                () = silent.as_mut(), if watching => {
                    watching = false;
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                }
                () = self.shutdown.cancelled(), if !draining => {
                    draining = true;
                    conversation.as_mut().graceful_shutdown();
                    // The library closes what is idle; half of a first head is not, and would hold the drain up.
                    silent.set(tokio::time::sleep(LAST_CALL.min(self.header_timeout)));
                }
                () = self.abandon.cancelled() => return,
            }
        }
    }
}

/// The router, as one connection sees it: every request carries where it came from.
#[derive(Clone)]
struct PerConnection {
    router: Router,
    connection: Connection,
    asked: Arc<AtomicBool>,
}

impl<B> Service<Request<B>> for PerConnection
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        Service::<Request<B>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(self.connection.clone());
        self.router.call(request)
    }
}
