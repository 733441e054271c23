//! Reading a request body without ever holding more of it than is allowed.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{graphql::ErrorCode, http::refusal::Refusal};

/// As much of a refused request's body is read and thrown away.
const MOST_DISCARDED: usize = 32 << 20;
/// And for as long.
const LONGEST_DISCARDING: Duration = Duration::from_secs(2);

/// The whole body, if it is at most `limit` bytes and arrives before `deadline`.
pub(super) async fn read(
    body: &mut Body,
    headers: &HeaderMap,
    limit: usize,
    deadline: Instant,
) -> Result<Bytes, Refusal> {
    // An announced length is believed when it is too large: nothing is kept then.
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut collected = BytesMut::new();
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Refusal::bad_request("the request body ended early")),
            Ok(None) => return Ok(collected.freeze()),
            Err(_) => return Err(too_slow()),
        };
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
}

/// Reads what is left of a refused request's body and throws it away.
///
/// Most callers write everything before they read the answer: a connection closed under them would lose the refusal.
pub(super) async fn discard(body: &mut Body) {
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
    let _ = timeout(LONGEST_DISCARDING, discarding).await;
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("the request body must not be larger than {limit} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::OperationTooComplex, message)
}

fn too_slow() -> Refusal {
    let message = "the request body took too long to arrive";
    Refusal::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, message)
}
