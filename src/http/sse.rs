//! GraphQL over server-sent events, distinct connections mode: one operation per response.
//!
//! The stream is pulled by the connection: a slow reader slows the operation down, and one that leaves ends it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE, VARY},
    },
    response::Response,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{Front, arrival::Arrival, meters::Present};
use crate::{
    graphql::{ErrorCode, Frame, Frames},
    model::Principal,
};

const COMPLETE: Bytes = Bytes::from_static(b"event: complete\ndata:\n\n");
/// A comment: clients ignore it, dead connections are found by it.
const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");
/// Further off than any timer can be.
const NEVER: Duration = Duration::from_hours(30 * 24);

/// The response that carries `frames`, until they end, the token expires or the server shuts down.
pub(super) fn respond(
    front: &Arc<Front>,
    arrival: &Arrival,
    frames: Frames,
    principal: Option<&Principal>,
) -> Response {
    let events = events(Arc::clone(front), arrival.clone(), frames, expiry(front, principal));
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    response.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (VARY, HeaderValue::from_static("Accept, Authorization")),
        // Proxies that buffer answers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]);
    response
}

/// When a stream of this caller ends at the latest.
pub(super) fn expiry(front: &Front, principal: Option<&Principal>) -> Instant {
    let end = principal.and_then(|principal| principal.expires_at);
    let left = end.map(|end| end.signed_duration_since(front.clock.now()).to_std().unwrap_or_default());
    front.clock.instant() + left.unwrap_or(NEVER).min(NEVER)
}

fn events(
    front: Arc<Front>,
    arrival: Arrival,
    mut frames: Frames,
    expires_at: Instant,
) -> impl Stream<Item = Bytes> + Send {
    async_stream::stream! {
        let _present = Present::event_stream();
        let pause = Duration::from_millis(front.config.sse_keepalive_ms);
        // Sent at once, so that the headers leave and the client knows that it is connected.
        yield KEEP_ALIVE;
        loop {
            let silence_ends = front.clock.instant() + pause;
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(Frame::Next(result)) => yield next(&result),
                    Some(Frame::Error(errors)) => {
                        yield next(&as_result(&errors));
                        break;
                    }
                    None => break,
                },
                () = sleep_until(silence_ends) => yield KEEP_ALIVE,
                () = sleep_until(expires_at) => {
                    let (code, message) = (ErrorCode::Unauthenticated, "the token has expired");
                    yield next(&front.gateway.refuse(code, message, &arrival.request_id).body);
                    break;
                }
                () = front.shutdown.cancelled() => break,
            }
        }
        drop(frames);
        yield COMPLETE;
    }
}

fn next(result: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(result.len() + 32);
    event.put_slice(b"event: next\ndata: ");
    // Line ends are the one thing that a field cannot hold. In JSON they are white space.
    event.extend(result.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    event.put_slice(b"\n\n");
    event.freeze()
}

fn as_result(errors: &[u8]) -> Vec<u8> {
    [b"{\"errors\":", errors, b"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data() {
        assert_eq!(next(b"{\n\"data\":1}"), "event: next\ndata: { \"data\":1}\n\n");
        assert_eq!(as_result(b"[1]"), b"{\"errors\":[1]}");
    }
}
