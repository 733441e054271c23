//! Reading a request body without ever holding more of it than is allowed.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{graphql::ErrorCode, http::refusal::Refusal};

/// As much of a refused request's body is read and thrown away.
const MOST_DISCARDED: usize = 32 << 20;
/// And for as long.
const LONGEST_DISCARDING: Duration = Duration::from_secs(2);
/// How long a body may still arrive once the server drains; one that stalls must not hold it up.
const LAST_CALL: Duration = Duration::from_secs(1);
/// And the rest of a refused one.
const LAST_DISCARDING: Duration = Duration::from_millis(250);

/// The whole body, if it is at most `limit` bytes and arrives before `deadline`, or soon after `shutdown`.
pub(super) async fn read(
    body: &mut Body,
    headers: &HeaderMap,
    limit: usize,
    deadline: Instant,
    shutdown: &CancellationToken,
) -> Result<Bytes, Refusal> {
    tokio::select! {
        // First, so that bodies that are here already cost no registration at the token.
        biased;
        collected = timeout_at(deadline, collect(body, headers, limit)) => collected.unwrap_or_else(|_| Err(too_slow())),
        () = after(shutdown, LAST_CALL) => Err(too_slow()),
    }
}

async fn collect(body: &mut Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Refusal> {
    // An announced length is believed when it is too large: nothing is kept then.
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("the request body ended early"))?;
        // Trailers say nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if collected.is_empty() && announced == Some(data.len()) {
            return Ok(data);
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// Reads what is left of a refused request's body and throws it away.
///
/// Most callers write everything before they read the answer: a connection closed under them would lose the refusal.
pub(super) async fn discard(body: &mut Body, shutdown: &CancellationToken) {
    let discarding = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > MOST_DISCARDED {
                return;
            }
        }
    };
    // Whether the end was reached or not, the answer is the same.
    tokio::select! {
        biased;
        () = discarding => {}
        () = sleep(LONGEST_DISCARDING) => {}
        () = after(shutdown, LAST_DISCARDING) => {}
    }
}

async fn after(shutdown: &CancellationToken, wait: Duration) {
    shutdown.cancelled().await;
    sleep(wait).await;
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("the request body must not be larger than {limit} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::OperationTooComplex, message)
}

fn too_slow() -> Refusal {
    let message = "the request body took too long to arrive";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, message)
}
