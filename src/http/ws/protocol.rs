//! The messages of `graphql-transport-ws`.

use std::{borrow::Cow, sync::Arc};

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::close::Ending;
use crate::{graphql::GraphqlRequest, http::graphql::request_of};

/// Ids come back with every message of their operation, so they must not be large.
const LONGEST_ID: usize = 256;

/// A message from the client.
#[derive(Debug)]
pub(super) enum ClientMessage {
    /// Opens the conversation, with a token if the client has one.
    Init { authorization: Option<String> },
    /// Wants a pong with the same payload.
    Ping { payload: Option<Value> },
    /// Answers our ping.
    Pong,
    /// Starts an operation.
    Subscribe { id: OperationId, request: Box<GraphqlRequest> },
    /// Ends an operation.
    Complete { id: OperationId },
}

/// The client's name for an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OperationId(Arc<str>);

impl OperationId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    payload: Value,
}

/// Reads a message; what is none of the protocol's ends the socket with 4400.
pub(super) fn parse(text: &str) -> Result<ClientMessage, Ending> {
    let bad = |reason: &'static str| Ending::BadMessage(reason.into());
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|_| bad("a message must be a JSON object with a text `type`"))?;
    match &*envelope.kind {
        "connection_init" => Ok(ClientMessage::Init { authorization: authorization(optional_map(envelope.payload)?)? }),
        "ping" => Ok(ClientMessage::Ping { payload: optional_map(envelope.payload)?.map(Value::Object) }),
        "pong" => optional_map(envelope.payload).map(|_| ClientMessage::Pong),
        "complete" => Ok(ClientMessage::Complete { id: id(envelope.id)? }),
        "subscribe" => {
            let id = id(envelope.id)?;
            let Value::Object(payload) = envelope.payload else { return Err(bad("`payload` must be an object")) };
            let request = request_of(payload).map_err(|error| Ending::BadMessage(error.to_string().into()))?;
            Ok(ClientMessage::Subscribe { id, request: Box::new(request) })
        }
        _ => Err(bad("unknown message type")),
    }
}

fn id(value: Value) -> Result<OperationId, Ending> {
    match value {
        Value::String(id) if (1..=LONGEST_ID).contains(&id.len()) => Ok(OperationId(id.into())),
        _ => Err(Ending::BadMessage("`id` must be a text of 1 to 256 bytes".into())),
    }
}

fn optional_map(value: Value) -> Result<Option<Map<String, Value>>, Ending> {
    match value {
        Value::Null => Ok(None),
        Value::Object(map) => Ok(Some(map)),
        _ => Err(Ending::BadMessage("`payload` must be an object".into())),
    }
}

/// The token, from wherever clients put it: `Authorization` in any case, the same inside of `headers`, or a bare
/// `token`. What is there and is no token, or another one than elsewhere, is refused: its sender believes to be signed
/// in, as somebody in particular. `null` is how JavaScript says that there is none.
fn authorization(payload: Option<Map<String, Value>>) -> Result<Option<String>, Ending> {
    let Some(mut payload) = payload else { return Ok(None) };
    let mut found = Vec::new();
    match payload.remove("headers").unwrap_or_default() {
        Value::Null => {}
        Value::Object(headers) => take_headers(headers, &mut found)?,
        _ => return Err(forbidden("`headers` must be an object")),
    }
    if let Some(token) = payload.remove("token").map(text).transpose()?.flatten() {
        found.push(if token.starts_with("Bearer ") { token } else { format!("Bearer {token}") });
    }
    take_headers(payload, &mut found)?;
    let first = found.pop();
    if found.iter().any(|other| Some(other) != first.as_ref()) {
        return Err(forbidden("the payload has two different tokens"));
    }
    Ok(first)
}

fn take_headers(map: Map<String, Value>, found: &mut Vec<String>) -> Result<(), Ending> {
    for (name, value) in map {
        if name.eq_ignore_ascii_case("authorization") {
            found.extend(text(value)?);
        }
    }
    Ok(())
}

fn text(value: Value) -> Result<Option<String>, Ending> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if !text.is_empty() => Ok(Some(text)),
        _ => Err(forbidden("a token must be a text that is not empty")),
    }
}

fn forbidden(reason: &str) -> Ending {
    Ending::Forbidden(reason.to_owned())
}

/// `connection_ack`.
pub(super) fn ack() -> Message {
    Message::Text(Utf8Bytes::from_static(r#"{"type":"connection_ack"}"#))
}

/// `pong`, with the payload of the ping.
pub(super) fn pong(payload: Option<Value>) -> Message {
    match payload {
        None => Message::Text(Utf8Bytes::from_static(r#"{"type":"pong"}"#)),
        Some(payload) => Message::Text(format!(r#"{{"type":"pong","payload":{payload}}}"#).into()),
    }
}

/// One result of an operation.
pub(super) fn next(id: &OperationId, result: &Bytes) -> Result<Message, Ending> {
    about(id, "next", result)
}

/// The end of an operation that failed; `errors` is a JSON list.
pub(super) fn error(id: &OperationId, errors: &Bytes) -> Result<Message, Ending> {
    about(id, "error", errors)
}

/// The end of an operation.
pub(super) fn complete(id: &OperationId) -> Message {
    Message::Text(format!(r#"{{"id":{},"type":"complete"}}"#, escaped(id)).into())
}

fn about(id: &OperationId, kind: &str, payload: &Bytes) -> Result<Message, Ending> {
    let payload = std::str::from_utf8(payload).map_err(|_| Ending::Internal)?;
    Ok(Message::Text(format!(r#"{{"id":{},"type":"{kind}","payload":{payload}}}"#, escaped(id)).into()))
}

fn escaped(id: &OperationId) -> String {
    serde_json::to_string(id.as_str()).expect("texts have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_wherever_clients_put_them() {
        for (payload, expected) in [
            (r"null", None),
            (r"{}", None),
            (r#"{"Authorization":"Bearer a"}"#, Some("Bearer a")),
            (r#"{"authorization":"Bearer a"}"#, Some("Bearer a")),
            (r#"{"headers":{"AUTHORIZATION":"Bearer a"}}"#, Some("Bearer a")),
            (r#"{"token":"a"}"#, Some("Bearer a")),
            (r#"{"token":"Bearer a"}"#, Some("Bearer a")),
            (r#"{"authorization":null,"headers":null,"token":null}"#, None),
            (r#"{"Authorization":"Bearer a","token":"a","headers":{"authorization":"Bearer a"}}"#, Some("Bearer a")),
        ] {
            let text = format!(r#"{{"type":"connection_init","payload":{payload}}}"#);
            let Ok(ClientMessage::Init { authorization }) = parse(&text) else { panic!("{text}") };
            assert_eq!(authorization.as_deref(), expected, "{payload}");
        }
    }

    #[test]
    fn what_is_no_token_or_two_is_refused() {
        for payload in [
            r#"{"authorization":7}"#,
            r#"{"Authorization":["Bearer a"]}"#,
            r#"{"authorization":""}"#,
            r#"{"token":""}"#,
            r#"{"token":{}}"#,
            r#"{"headers":{"Authorization":false}}"#,
            r#"{"headers":"Authorization: Bearer a"}"#,
            r#"{"Authorization":"Bearer a","authorization":"Bearer b"}"#,
            r#"{"Authorization":"Bearer a","headers":{"Authorization":"Bearer b"}}"#,
            r#"{"Authorization":"Bearer a","token":"b"}"#,
            r#"{"Authorization":"Bearer a","token":5}"#,
        ] {
            let text = format!(r#"{{"type":"connection_init","payload":{payload}}}"#);
            assert!(matches!(parse(&text), Err(Ending::Forbidden(_))), "{payload}");
        }
    }

    #[test]
    fn whatever_is_not_of_the_protocol_is_refused_with_a_reason() {
        for (text, expected) in [
            ("", "JSON object"),
            ("[]", "JSON object"),
            ("{\"type\":7}", "JSON object"),
            (r#"{"type":"start"}"#, "unknown message type"),
            (r#"{"type":"connection_init","payload":"x"}"#, "`payload` must be an object"),
            (r#"{"type":"ping","payload":[]}"#, "`payload` must be an object"),
            (r#"{"type":"complete"}"#, "`id` must be"),
            (r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#, "`id` must be"),
            (r#"{"type":"subscribe","id":7,"payload":{"query":"{a}"}}"#, "`id` must be"),
            (r#"{"type":"subscribe","id":"1"}"#, "`payload` must be an object"),
            (r#"{"type":"subscribe","id":"1","payload":{}}"#, "`query` is missing"),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":3}}"#, "`variables` must be"),
        ] {
            let Err(Ending::BadMessage(reason)) = parse(text) else { panic!("{text}") };
            assert!(reason.contains(expected), "{reason} for {text}");
        }
    }

    #[test]
    fn ids_are_escaped_on_the_way_back() {
        let Ok(ClientMessage::Complete { id }) = parse(r#"{"type":"complete","id":"a\"b"}"#) else {
            panic!("complete")
        };
        let Ok(Message::Text(text)) = next(&id, &Bytes::from_static(b"{\"data\":null}")) else { panic!("text") };
        assert_eq!(text.as_str(), r#"{"id":"a\"b","type":"next","payload":{"data":null}}"#);
    }
}
