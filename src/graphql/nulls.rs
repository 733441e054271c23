//! Null semantics, held against graphql-js.
//!
//! The house rule: a nullable field that can fail returns `Option<Result<T, E>>`, never `Result<Option<T>, E>`. With
//! the first the library nulls the field and reports the error, as the specification wants; with the second it nulls
//! the parent. Lists of non-null items are `Rows`. `tests/it/architecture.rs` looks for the second in resolvers. What graphql-js answers on the same
//! schema is in `tests/fixtures/nulls/`, beside the program that asked it.

use async_graphql::{EmptyMutation, EmptySubscription, Error, Object, Schema};
use serde_json::{Value, json};

use super::rows::Rows;

type Failing = Result<i32, Error>;

fn fail() -> Failing {
    Err(Error::new("broken"))
}

struct Inner;

#[Object]
impl Inner {
    async fn fine(&self) -> i32 {
        1
    }

    async fn failing(&self) -> Option<Failing> {
        Some(fail())
    }

    async fn failing_required(&self) -> Failing {
        fail()
    }

    async fn inner(&self) -> Option<Inner> {
        Some(Inner)
    }

    async fn inner_required(&self) -> Inner {
        Inner
    }
}

struct Query;

#[Object]
impl Query {
    async fn fine(&self) -> i32 {
        1
    }

    async fn failing(&self) -> Option<Failing> {
        Some(fail())
    }

    async fn failing_required(&self) -> Failing {
        fail()
    }

    async fn inner(&self) -> Option<Inner> {
        Some(Inner)
    }

    async fn inner_required(&self) -> Inner {
        Inner
    }

    async fn missing(&self) -> Option<Inner> {
        None
    }

    async fn inners(&self) -> Option<Rows<Option<Inner>>> {
        Some(Rows(vec![Some(Inner), Some(Inner)]))
    }

    async fn inners_required(&self) -> Option<Rows<Inner>> {
        Some(Rows(vec![Inner, Inner]))
    }

    async fn inners_all_required(&self) -> Rows<Inner> {
        Rows(vec![Inner])
    }

    async fn numbers(&self) -> Option<Rows<Option<Failing>>> {
        Some(Rows(vec![Some(Ok(1)), Some(fail()), Some(Ok(3))]))
    }

    async fn numbers_required(&self) -> Option<Rows<Failing>> {
        Some(Rows(vec![Ok(1), fail(), Ok(3)]))
    }
}

/// Errors have no order among themselves.
fn sorted(errors: &Value) -> Vec<String> {
    let mut errors: Vec<String> = errors.as_array().into_iter().flatten().map(Value::to_string).collect();
    errors.sort_unstable();
    errors
}

#[tokio::test]
async fn failing_fields_null_what_graphql_js_nulls() {
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    let expected: Vec<Value> =
        serde_json::from_str(include_str!("../../tests/fixtures/nulls/graphql-js.json")).unwrap();
    assert!(expected.len() > 20, "the matrix is there");
    for case in expected {
        let document = case["document"].as_str().unwrap();
        let answer = serde_json::to_value(schema.execute(document).await).unwrap();
        // As bytes: the order of fields counts.
        assert_eq!(answer["data"].to_string(), case["data"].to_string(), "{document}");
        let errors = answer.get("errors").cloned().unwrap_or(json!([]));
        let in_order = |error: &Value| json!({"message": error["message"], "locations": error["locations"], "path": error["path"]});
        let errors = errors.as_array().unwrap().iter().map(in_order).collect();
        assert_eq!(sorted(&Value::Array(errors)), sorted(&case["errors"]), "{document}");
    }
}
