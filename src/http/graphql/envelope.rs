//! The envelope of a GraphQL request: `query`, `operationName`, `variables`, `extensions`.

use std::borrow::Cow;

use serde_json::{Map, Value};
use thiserror::Error;
use url::form_urlencoded;

use crate::{
    config::Secret,
    graphql::{GraphqlRequest, PersistedQuery},
    http::refusal::Refusal,
};

/// What is wrong with an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in crate::http) enum EnvelopeError {
    #[error("the request is not valid UTF-8")]
    NotUtf8,
    #[error("the request is not valid JSON: {0}")]
    NotJson(String),
    #[error("the request must be a JSON object")]
    NotAnObject,
    #[error("`query` is missing")]
    NoQuery,
    #[error("`{name}` must be {expected}")]
    WrongType { name: &'static str, expected: &'static str },
    #[error("`{0}` is given more than once")]
    Repeated(&'static str),
    #[error("`{0}` is not valid JSON")]
    ParameterNotJson(&'static str),
    #[error("batches are not accepted")]
    NoBatches,
    #[error("a batch must have 1 to {limit} operations")]
    BatchSize { limit: usize },
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// What a POST carries.
#[derive(Debug)]
pub(super) enum Payload {
    One(GraphqlRequest),
    Batch(Vec<GraphqlRequest>),
}

/// Reads the body of a POST. A `batch_limit` of 1 refuses lists.
pub(super) fn decode_body(bytes: &[u8], batch_limit: usize) -> Result<Payload, EnvelopeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| EnvelopeError::NotUtf8)?;
    // A list is recognised before it is read: where batches are off, its content costs nothing.
    if batch_limit <= 1 && text.trim_start().starts_with('[') {
        return Err(EnvelopeError::NoBatches);
    }
    match serde_json::from_str(text).map_err(|error| EnvelopeError::NotJson(error.to_string()))? {
        Value::Object(envelope) => Ok(Payload::One(request_of(envelope)?)),
        Value::Array(list) if (1..=batch_limit).contains(&list.len()) => {
            let requests = list.into_iter().map(|item| match item {
                Value::Object(envelope) => request_of(envelope),
                _ => Err(EnvelopeError::NotAnObject),
            });
            Ok(Payload::Batch(requests.collect::<Result<_, _>>()?))
        }
        Value::Array(_) => Err(EnvelopeError::BatchSize { limit: batch_limit }),
        _ => Err(EnvelopeError::NotAnObject),
    }
}

/// Reads the query string of a GET, where `variables` and `extensions` are JSON.
pub(super) fn decode_query(query: &str) -> Result<GraphqlRequest, EnvelopeError> {
    let mut envelope = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        // Bad bytes were replaced on decoding. Whoever really means the replacement character writes it out.
        if value.contains(char::REPLACEMENT_CHARACTER) && !query.to_ascii_uppercase().contains("%EF%BF%BD") {
            return Err(EnvelopeError::NotUtf8);
        }
        let Some((name, value)) = parameter(&name, value)? else { continue };
        if envelope.insert(name.to_owned(), value).is_some() {
            return Err(EnvelopeError::Repeated(name));
        }
    }
    request_of(envelope)
}

fn parameter(name: &str, value: Cow<'_, str>) -> Result<Option<(&'static str, Value)>, EnvelopeError> {
    let json = |name, text: &str| match text {
        "" => Ok(Some((name, Value::Null))),
        text => Ok(Some((name, serde_json::from_str(text).map_err(|_| EnvelopeError::ParameterNotJson(name))?))),
    };
    match name {
        "query" => Ok(Some(("query", Value::String(value.into_owned())))),
        "operationName" => Ok(Some(("operationName", Value::String(value.into_owned())))),
        "variables" => json("variables", &value),
        "extensions" => json("extensions", &value),
        _ => Ok(None),
    }
}

/// Reads an envelope that was already parsed; unknown members are ignored, as the specification asks.
pub(in crate::http) fn request_of(mut envelope: Map<String, Value>) -> Result<GraphqlRequest, EnvelopeError> {
    let mut take = |name| envelope.remove(name).unwrap_or(Value::Null);
    let query = text("query", take("query"))?;
    // Some clients send an empty name where they mean none.
    let operation_name = text("operationName", take("operationName"))?.filter(|name| !name.is_empty());
    let variables = object("variables", take("variables"))?;
    let mut extensions = object("extensions", take("extensions"))?;
    let mut word = |name| extensions.remove(name).unwrap_or(Value::Null);
    let idempotency_key = text("extensions.idempotencyKey", word("idempotencyKey"))?;
    let step_up = text("extensions.stepUpToken", word("stepUpToken"))?.map(Secret::from);
    let persisted = persisted(extensions)?;
    if query.is_none() && persisted.is_none() {
        return Err(EnvelopeError::NoQuery);
    }
    Ok(GraphqlRequest { query, operation_name, variables, persisted, idempotency_key, step_up })
}

fn persisted(mut extensions: Map<String, Value>) -> Result<Option<PersistedQuery>, EnvelopeError> {
    let wrong = || EnvelopeError::WrongType {
        name: "extensions.persistedQuery",
        expected: "an object with a number `version` and a text `sha256Hash`",
    };
    match extensions.remove("persistedQuery") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(mut hash)) => {
            let version = hash.get("version").and_then(Value::as_u64).ok_or_else(wrong)?;
            match hash.remove("sha256Hash") {
                Some(Value::String(sha256)) => Ok(Some(PersistedQuery { version, sha256 })),
                _ => Err(wrong()),
            }
        }
        Some(_) => Err(wrong()),
    }
}

fn text(name: &'static str, value: Value) -> Result<Option<String>, EnvelopeError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(EnvelopeError::WrongType { name, expected: "a string" }),
    }
}

fn object(name: &'static str, value: Value) -> Result<Map<String, Value>, EnvelopeError> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map),
        _ => Err(EnvelopeError::WrongType { name, expected: "an object" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug, EnvelopeError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_whole_envelope_is_read() {
        let body = br#"{"query":"{a}","operationName":"A","variables":{"x":1},"unknown":7,
            "extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#;
        let Payload::One(request) = decode_body(body, 1).unwrap() else { panic!("one request") };
        assert_eq!(request.query.as_deref(), Some("{a}"));
        assert_eq!(request.operation_name.as_deref(), Some("A"));
        assert_eq!(request.variables["x"], 1);
        assert_eq!(request.persisted, Some(PersistedQuery { version: 1, sha256: "ab".into() }));
    }

    #[test]
    fn every_flaw_is_named() {
        let deep = format!("{{\"query\":\"{{a}}\",\"variables\":{{\"x\":{}1{}}}}}", "[".repeat(200), "]".repeat(200));
        for (body, expected) in [
            (&b"\xff{}"[..], "not valid UTF-8"),
            (b"", "not valid JSON"),
            (b"{\"query\":", "not valid JSON"),
            (b"3", "must be a JSON object"),
            (b"{}", "`query` is missing"),
            (br#"{"query":null}"#, "`query` is missing"),
            (br#"{"query":7}"#, "`query` must be a string"),
            (br#"{"query":"{a}","operationName":[]}"#, "`operationName` must be a string"),
            (br#"{"query":"{a}","variables":"x"}"#, "`variables` must be an object"),
            (br#"{"query":"{a}","variables":[1]}"#, "`variables` must be an object"),
            (br#"{"query":"{a}","extensions":true}"#, "`extensions` must be an object"),
            (br#"{"extensions":{"persistedQuery":{"version":"1","sha256Hash":"x"}}}"#, "`extensions.persistedQuery`"),
            (br#"[{"query":"{a}"}]"#, "batches are not accepted"),
            (b" [[[[", "batches are not accepted"),
            (deep.as_bytes(), "recursion limit"),
        ] {
            let told = message(decode_body(body, 1));
            assert!(told.contains(expected), "{told} for {}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn batches_are_bounded_where_they_are_on() {
        let batch = |n: usize| format!("[{}]", vec![r#"{"query":"{a}"}"#; n].join(","));
        let Payload::Batch(requests) = decode_body(batch(3).as_bytes(), 3).unwrap() else { panic!("a batch") };
        assert_eq!(requests.len(), 3);
        for size in [0, 4] {
            assert_eq!(message(decode_body(batch(size).as_bytes(), 3)), "a batch must have 1 to 3 operations");
        }
        assert_eq!(message(decode_body(b"[1]", 3)), "the request must be a JSON object");
    }

    #[test]
    fn a_query_string_is_read() {
        let request = decode_query("query=%7Ba%7D&variables=%7B%22x%22%3A1%7D&operationName=&utm=1").unwrap();
        assert_eq!(request.query.as_deref(), Some("{a}"));
        assert_eq!(request.operation_name, None);
        assert_eq!(request.variables["x"], 1);
        for (query, expected) in [
            ("", "`query` is missing"),
            ("query=%FF", "the request is not valid UTF-8"),
            ("query={a}&query={b}", "`query` is given more than once"),
            ("query={a}&variables=x", "`variables` is not valid JSON"),
            ("query={a}&variables=[]", "`variables` must be an object"),
        ] {
            assert_eq!(message(decode_query(query)), expected, "{query}");
        }
        assert!(decode_query("query=%7Ba(x:%22%EF%BF%BD%22)%7D").is_ok());
    }
}
