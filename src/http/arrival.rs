//! What is known about a request before anybody looks at it: its id and where it comes from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::http::{HeaderName, HeaderValue, Request, header::USER_AGENT};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use uuid::Uuid;

use super::{Front, client_ip, meters::Present};
use crate::{
    graphql::{Caller, RequestId},
    model::{Origin, Principal},
};

/// The header that carries a request's id, in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST_REQUEST_ID: usize = 64;

/// The connection that a request came in on. `server.rs` puts it into every request.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// The other end of the socket.
    pub(super) peer: SocketAddr,
    /// Kept for as long as the connection counts as open, also by sockets that outlive their request.
    _slot: Arc<Slot>,
    /// Cancelled when the grace of a shutdown is over.
    pub(super) abandon: CancellationToken,
}

/// A connection's place under `http.max_connections`, in the count that a drain waits for, and in the metrics.
#[derive(Debug)]
struct Slot {
    _permit: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
    _present: Present,
}

impl Connection {
    /// A connection that counts under `permit` and keeps a drain waiting by `token`.
    pub(super) fn new(
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        token: TaskTrackerToken,
        abandon: CancellationToken,
    ) -> Self {
        let slot = Slot { _permit: permit, _token: token, _present: Present::connection() };
        Self { peer, abandon, _slot: Arc::new(slot) }
    }
}

/// A request's id and its client's address. `middleware.rs` puts it into every request.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) request_id: RequestId,
    pub(super) origin: Origin,
}

impl Arrival {
    pub(super) fn of<B>(request: &Request<B>, front: &Front) -> Self {
        let peer = request.extensions().get::<Connection>().map_or(IpAddr::from([0, 0, 0, 0]), |c| c.peer.ip());
        Self {
            request_id: request_id(request.headers().get(REQUEST_ID)),
            origin: Origin::new(
                client_ip::client_ip(peer, request.headers(), &front.config.trusted_proxies),
                request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()),
            ),
        }
    }

    pub(super) fn caller(&self, principal: Option<Principal>) -> Caller {
        Caller { principal, origin: self.origin.clone(), request_id: self.request_id.clone() }
    }
}

/// The caller's own id when it is fit for logs and headers, else a new one that sorts by time.
fn request_id(sent: Option<&HeaderValue>) -> RequestId {
    let sent = sent.and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    RequestId(sent.map_or_else(|| Arc::from(Uuid::now_v7().to_string()), Arc::from))
}

fn is_sane(id: &str) -> bool {
    (1..=LONGEST_REQUEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_request_ids_are_taken_over() {
        for (sent, kept) in [
            ("a", true),
            ("01.Trace_id-7", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            ("two words", false),
            ("semi;colon", false),
            ("quote\"", false),
        ] {
            let value = HeaderValue::from_str(sent).unwrap();
            assert_eq!(&*request_id(Some(&value)).0 == sent, kept, "{sent:?}");
        }
    }

    #[test]
    fn a_request_without_an_id_gets_a_new_one() {
        assert_ne!(request_id(None), request_id(None));
    }
}
