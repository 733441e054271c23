//! JSON-RPC 2.0: calls become bytes, and bytes become one answer for each call.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refusal;
use crate::resilience::CallError;

/// The longest message of a refusal that is kept.
const LONGEST_MESSAGE: usize = 300;

/// One call of a method.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chains) struct Call {
    pub(in crate::chains) method: &'static str,
    pub(in crate::chains) params: Value,
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: usize,
    method: &'static str,
    params: &'a Value,
}

#[derive(Deserialize)]
struct Response {
    id: Option<u64>,
    /// Present and null where the answer is "there is none".
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
    data: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Responses {
    Many(Vec<Response>),
    One(Response),
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The body of a request: an object for one call, a batch for more.
pub(super) fn encode(calls: &[Call]) -> Bytes {
    let requests: Vec<_> = calls
        .iter()
        .enumerate()
        .map(|(id, Call { method, params })| Request { jsonrpc: "2.0", id, method, params })
        .collect();
    let bytes = match &requests[..] {
        [request] => serde_json::to_vec(request),
        requests => serde_json::to_vec(requests),
    };
    bytes.expect("texts and values can be written").into()
}

/// One answer for each of `count` calls, in their order, whatever the order of the body.
pub(super) fn decode(body: &[u8], count: usize) -> Result<Vec<Result<Value, Refusal>>, CallError> {
    let wrong = |detail: &str| CallError::Decode { detail: detail.into() };
    let responses = match serde_json::from_slice(body).map_err(|_| wrong("the body is no JSON-RPC answer"))? {
        // A batch that was refused as a whole has one error, and no id.
        Responses::One(Response { error: Some(error), .. }) => {
            let refusal = Refusal::from(error);
            return Ok(vec![Err(refusal); count]);
        }
        Responses::One(response) => vec![response],
        Responses::Many(responses) => responses,
    };
    let mut answers: Vec<Option<Result<Value, Refusal>>> = vec![None; count];
    for Response { id, result, error } in responses {
        let place = id.and_then(|id| usize::try_from(id).ok()).and_then(|id| answers.get_mut(id));
        let place = place.ok_or_else(|| wrong("an answer to nothing that was asked"))?;
        *place = match (error, result) {
            (Some(error), _) => Some(Err(error.into())),
            (None, Some(result)) => Some(Ok(result)),
            (None, None) => return Err(wrong("an answer with neither result nor error")),
        };
    }
    answers.into_iter().map(|answer| answer.ok_or_else(|| wrong("a call of the batch has no answer"))).collect()
}

impl From<ErrorObject> for Refusal {
    fn from(error: ErrorObject) -> Self {
        let mut message = error.message;
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        Self { code: error.code, message: message.into(), data: error.data }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(params: Value) -> Call {
        Call { method: "eth_getBalance", params }
    }

    #[test]
    fn one_call_is_an_object_and_several_are_a_batch() {
        let one: Value = serde_json::from_slice(&encode(&[call(json!(["a"]))])).unwrap();
        assert_eq!(one, json!({"jsonrpc": "2.0", "id": 0, "method": "eth_getBalance", "params": ["a"]}));
        let two: Value = serde_json::from_slice(&encode(&[call(json!(["a"])), call(json!(["b"]))])).unwrap();
        assert_eq!((two[0]["id"].clone(), two[1]["params"][0].clone()), (json!(0), json!("b")));
    }

    #[test]
    fn answers_are_put_in_the_order_of_the_calls() {
        let body = br#"[{"id":1,"result":"b"},{"id":2,"error":{"code":-32000,"message":"no"}},{"id":0,"result":null}]"#;
        let refusal = Refusal { code: -32_000, message: "no".into(), data: None };
        assert_eq!(decode(body, 3).unwrap(), [Ok(Value::Null), Ok(json!("b")), Err(refusal)]);
    }

    #[test]
    fn one_error_refuses_the_whole_batch() {
        let body = br#"{"id":null,"error":{"code":-32600,"message":"batch too large"}}"#;
        let answers = decode(body, 2).unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().code == -32_600), "{answers:?}");
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_not_a_panic() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"id":0}"#,
            r#"{"id":7,"result":1}"#,
            r#"{"id":"0","result":1}"#,
            r#"{"id":-1,"result":1}"#,
            r#"[{"id":0,"result":1},{"id":0,"result":2}]"#,
            r#"[{"id":0,"result":1}]"#,
        ] {
            assert!(matches!(decode(body.as_bytes(), 2), Err(CallError::Decode { .. })), "{body}");
        }
        let long = format!(r#"{{"id":0,"error":{{"code":1,"message":"{}"}}}}"#, "ä".repeat(1_000));
        let refusal = decode(long.as_bytes(), 1).unwrap().remove(0).unwrap_err();
        assert_eq!(refusal.message.len(), LONGEST_MESSAGE);
    }
}
