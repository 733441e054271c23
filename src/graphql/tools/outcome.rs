//! What a caller of a tool is told: GraphQL's answer in words for a model, and as data for a program.

use std::fmt::Write as _;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::graphql::{Answer, ErrorCode};

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutcome {
    /// The tool has failed; the content says why.
    pub is_error: bool,
    /// Blocks of content as MCP has them.
    pub content: Vec<Value>,
    /// The same for programs.
    pub structured: Option<Value>,
}

/// An error of an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GraphqlError {
    pub(super) message: String,
    #[serde(default)]
    path: Option<Value>,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    code: Option<String>,
    request_id: Option<String>,
    retry_after_ms: Option<u64>,
}

/// The body of an answer to an operation that is ours.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: Option<T>,
    #[serde(default = "Vec::new")]
    pub(super) errors: Vec<GraphqlError>,
}

/// Code and message of what an operation was refused for.
pub(super) fn first_error(answer: &Answer) -> (String, String) {
    let read = serde_json::from_slice::<Envelope<IgnoredAny>>(&answer.body);
    let first = read.ok().and_then(|read| read.errors.into_iter().next());
    let internal = || (ErrorCode::InternalServerError.as_str().to_owned(), "internal server error".to_owned());
    first.map_or_else(internal, |error| (error.code().to_owned(), error.message))
}

impl GraphqlError {
    pub(super) fn code(&self) -> &str {
        self.extensions.code.as_deref().unwrap_or(ErrorCode::InternalServerError.as_str())
    }

    fn told(&self) -> String {
        let mut text = format!("{}: {}", self.code(), self.message);
        if let Some(path) = self.path.as_ref().filter(|path| path.is_array()) {
            write!(text, " (at {path})").expect("strings grow");
        }
        if let Some(request_id) = &self.extensions.request_id {
            write!(text, " (request {request_id})").expect("strings grow");
        }
        text
    }
}

impl ToolOutcome {
    /// The outcome of a document's execution, or of its refusal.
    pub(super) fn of_document(answer: &Answer) -> Self {
        match serde_json::from_slice(&answer.body) {
            Ok(body) => {
                let wait = answer.retry_after.map(|wait| wait.as_millis().try_into().unwrap_or(u64::MAX));
                Self::of_body(body, wait)
            }
            Err(error) => {
                tracing::error!(%error, "an answer is not what answers are");
                Self::failed(ErrorCode::InternalServerError.as_str(), "internal server error")
            }
        }
    }

    fn of_body(Envelope { data, errors }: Envelope<Value>, wait_ms: Option<u64>) -> Self {
        let data = data.filter(|data| !data.is_null());
        let mut content = Vec::new();
        if let Some(first) = errors.first() {
            let mut told: Vec<String> = errors.iter().map(GraphqlError::told).collect();
            told.extend(advice(first.code(), wait_ms.or(first.extensions.retry_after_ms)));
            content.push(block(&told.join("\n")));
        }
        content.extend(data.as_ref().map(|data| block(&data.to_string())));
        Self { is_error: !errors.is_empty(), content, structured: data }
    }

    /// A call that did not get as far as an answer.
    pub(super) fn failed(code: &str, message: &str) -> Self {
        Self { is_error: true, ..Self::text(&format!("{code}: {message}")) }
    }

    pub(super) fn text(text: &str) -> Self {
        Self { is_error: false, content: vec![block(text)], structured: None }
    }
}

fn block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// What to do about it, where whoever reads this can do something.
fn advice(code: &str, wait_ms: Option<u64>) -> Option<String> {
    let advises = |known: ErrorCode| known.as_str() == code;
    if advises(ErrorCode::Unauthenticated) {
        return Some("Send a token in the header `Authorization: Bearer …`, and call again.".to_owned());
    }
    if advises(ErrorCode::Forbidden) {
        return Some("The token is good, but its role is too low: call with a token of a higher role.".to_owned());
    }
    let wait = wait_ms.map(|wait| wait.div_ceil(1_000));
    match wait {
        Some(seconds) => Some(format!("Call again in {seconds} s.")),
        None if advises(ErrorCode::RateLimited) => Some("Call again later.".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_outcomes() {
        let error =
            |code: &str| json!({ "message": "no", "path": ["a"], "extensions": { "code": code, "requestId": "r" } });
        let refused =
            |code: &str| json!({ "errors": [{ "message": "no", "extensions": { "code": code, "requestId": "r" } }] });
        for (body, wait, texts, structured) in [
            (json!({ "data": { "a": 1 } }), None, vec![r#"{"a":1}"#], Some(json!({ "a": 1 }))),
            (
                json!({ "data": { "a": null }, "errors": [error("TIMEOUT")] }),
                None,
                vec![r#"TIMEOUT: no (at ["a"]) (request r)"#, r#"{"a":null}"#],
                Some(json!({ "a": null })),
            ),
            (
                json!({ "data": null, "errors": [error("TIMEOUT")] }),
                None,
                vec![r#"TIMEOUT: no (at ["a"]) (request r)"#],
                None,
            ),
            (
                refused("UNAUTHENTICATED"),
                None,
                vec![
                    "UNAUTHENTICATED: no (request r)\nSend a token in the header `Authorization: Bearer …`, and call again.",
                ],
                None,
            ),
            (
                refused("FORBIDDEN"),
                None,
                vec![
                    "FORBIDDEN: no (request r)\nThe token is good, but its role is too low: call with a token of a higher role.",
                ],
                None,
            ),
            (refused("RATE_LIMITED"), Some(1_200), vec!["RATE_LIMITED: no (request r)\nCall again in 2 s."], None),
            (refused("RATE_LIMITED"), None, vec!["RATE_LIMITED: no (request r)\nCall again later."], None),
        ] {
            let outcome = ToolOutcome::of_body(serde_json::from_value(body.clone()).unwrap(), wait);
            let content: Vec<Value> = texts.into_iter().map(block).collect();
            let is_error = body.get("errors").is_some();
            assert_eq!(outcome, ToolOutcome { is_error, content, structured }, "{body}");
        }
    }
}
