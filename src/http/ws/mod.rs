//! GraphQL over WebSocket: the server's side of `graphql-transport-ws`.
//!
//! Owns the upgrade, the protocol and the close codes. What a socket may hold is bounded everywhere: one message in,
//! one frame per operation out (`connection.rs` says why that suffices), a number of operations, a deadline for each
//! silence. `protocol.rs` reads and writes messages, `operations.rs` runs what was subscribed to, `queue.rs` holds what
//! a slow reader has not taken yet. `tests/it/ws_*.rs` prove it.

mod close;
mod connection;
mod operations;
mod protocol;
mod queue;
mod socket;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, WebSocketUpgrade},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{AUTHORIZATION, SEC_WEBSOCKET_VERSION, UPGRADE},
        request::Parts,
    },
    response::IntoResponse,
};

use self::{connection::Session, operations::Service};
use super::{
    Front,
    arrival::{Arrival, Connection},
    meters, origin,
    refusal::Refusal,
};
use crate::graphql::ErrorCode;

/// The sub-protocol, as RFC 6455 negotiates it.
const PROTOCOL: HeaderValue = HeaderValue::from_static("graphql-transport-ws");
/// What may wait between us and the system's socket buffer.
const WRITE_BUFFER: usize = 16 * 1024;
/// What is read at once. The library takes it per socket and at the start, and its own default is 128 KiB.
const READ_BUFFER: usize = 8 * 1024;

/// Whether the request asks for a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Switches protocols, or says why not.
pub(super) async fn upgrade(
    front: &Arc<Front>,
    arrival: &Arrival,
    mut parts: Parts,
) -> Result<Response<Body>, Refusal> {
    if !origin::may_connect(&parts.headers, &front.config.allowed_origins) {
        let message = "this origin may not open WebSockets here";
        return Err(Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message));
    }
    if front.shutdown.is_cancelled() {
        let message = "the server is shutting down";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::UpstreamUnavailable, message));
    }
    let connection = parts.extensions.get::<Connection>().cloned();
    let authorization = parts.headers.get(AUTHORIZATION).cloned();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|rejection| {
        let refusal = Refusal::new(rejection.status(), ErrorCode::BadUserInput, rejection.body_text());
        refusal.with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    })?;
    let (upgrade, is_spoken) = choose_protocol(upgrade);
    let session = Session {
        service: Service::new(front, arrival),
        // Text only: bytes that are none become a token that is refused.
        authorization: authorization.map(|value| value.to_str().unwrap_or_default().to_owned()),
        limits: front.config.ws.clone(),
        clock: front.clock.clone(),
        shutdown: front.shutdown.clone(),
    };
    let limit = front.config.ws.max_message_bytes;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
    Ok(upgrade
        .on_upgrade(move |socket| async move {
            let _present = meters::Present::socket();
            let abandoned = connection.as_ref().map(|connection| connection.abandon.clone()).unwrap_or_default();
            let conversation =
                async { if is_spoken { session.converse(socket).await } else { session.decline(socket).await } };
            tokio::select! {
                () = conversation => {}
                () = abandoned.cancelled() => {}
            }
            // The slot that the connection takes under `max_connections` is free only now.
            drop(connection);
        })
        .into_response())
}

/// Picks our protocol if it is offered. If another one is, that one is accepted for as long as it takes to close with
/// 4406: browsers hide every close code of a socket whose protocol was not accepted.
fn choose_protocol(mut upgrade: WebSocketUpgrade) -> (WebSocketUpgrade, bool) {
    let offered: Vec<HeaderValue> = upgrade.requested_protocols().cloned().collect();
    let is_spoken = offered.contains(&PROTOCOL);
    let chosen = if is_spoken { Some(PROTOCOL) } else { offered.into_iter().next() };
    if let Some(chosen) = chosen {
        upgrade.set_selected_protocol(chosen);
    }
    (upgrade, is_spoken)
}
