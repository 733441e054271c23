//! JSON-RPC 2.0 as nodes speak it: one call or a batch, and an answer to each.

use std::sync::Arc;

use axum::{Router, body::Bytes, routing::post};
use serde_json::{Value, json};

use super::vendor::Stand;

/// Why a node gives no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

/// What a node says to one call.
pub(super) type Answer = Result<Value, Refusal>;

/// A node of a chain.
pub(super) trait Node: Send + Sync + 'static {
    /// Answers a method with its arguments.
    fn answer(&self, method: &str, params: &Value) -> Answer;
}

impl Refusal {
    pub(super) fn new(code: i64, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }

    /// Arguments that no node would take.
    pub(super) fn invalid(what: &str) -> Self {
        Self::new(-32_602, what)
    }

    pub(super) fn unknown(method: &str) -> Self {
        Self::new(-32_601, &format!("the method {method} does not exist or is not simulated"))
    }
}

/// Serves a node at the root of its path.
pub(super) fn router(stand: Stand, node: impl Node) -> Router {
    let node = Arc::new(node);
    let answer = async move |body: Bytes| {
        let (calls, answers) = reply(&*node, &body);
        stand.answer_calls(calls, answers.to_string()).await
    };
    Router::new().route("/", post(answer))
}

/// How many calls there are, and the answers.
fn reply(node: &dyn Node, body: &[u8]) -> (usize, Value) {
    match serde_json::from_slice(body) {
        Err(_) => (0, write(&Value::Null, Err(Refusal::new(-32_700, "parse error")))),
        Ok(Value::Array(calls)) if !calls.is_empty() => {
            (calls.len(), calls.iter().map(|call| answer(node, call)).collect())
        }
        Ok(call) => (1, answer(node, &call)),
    }
}

fn answer(node: &dyn Node, call: &Value) -> Value {
    let said = match call["method"].as_str() {
        Some(method) => node.answer(method, &call["params"]),
        None => Err(Refusal::new(-32_600, "invalid request")),
    };
    write(&call["id"], said)
}

fn write(id: &Value, said: Answer) -> Value {
    match said {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(Refusal { code, message }) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Node for Echo {
        fn answer(&self, method: &str, params: &Value) -> Answer {
            if method == "echo" { Ok(params.clone()) } else { Err(Refusal::unknown(method)) }
        }
    }

    #[test]
    fn every_call_has_its_answer_and_what_is_no_call_has_an_error() {
        let codes = |body: &str| {
            let (calls, answers) = reply(&Echo, body.as_bytes());
            let answers = if answers.is_array() { answers } else { json!([answers]) };
            let code = |answer: &Value| answer["error"]["code"].as_i64().unwrap_or_default();
            (calls, answers.as_array().unwrap().iter().map(code).collect::<Vec<_>>())
        };
        let one = r#"{"jsonrpc":"2.0","id":7,"method":"echo","params":[null]}"#;
        let answer = json!({"jsonrpc": "2.0", "id": 7, "result": [null]});
        assert_eq!(reply(&Echo, one.as_bytes()), (1, answer.clone()));
        assert_eq!(reply(&Echo, format!("[{one}]").as_bytes()), (1, json!([answer])));
        assert_eq!(codes(&format!(r#"[{one}, 1, {{"id":1,"method":"other"}}]"#)), (3, vec![0, -32_600, -32_601]));
        assert_eq!(codes("[]"), (1, vec![-32_600]));
        assert_eq!(codes("{"), (0, vec![-32_700]));
    }
}
