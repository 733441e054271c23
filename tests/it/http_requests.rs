//! Envelopes, methods, tokens and ids.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, header::AUTHORIZATION};
use serde_json::json;
use tidegate::model::{Clock, Role};

use crate::harness::{TYPENAME, TestApp, send};

#[tokio::test]
async fn envelopes_that_are_none_are_refused() {
    let app = TestApp::start().await;
    for (body, told) in [
        (&b""[..], "not valid JSON"),
        (b"{\"query\":", "not valid JSON"),
        (b"{\"query\":\"\xff\"}", "not valid UTF-8"),
        (b"7", "must be a JSON object"),
        (b"{}", "`query` is missing"),
        (br#"{"query":{}}"#, "`query` must be a string"),
        (br#"{"query":"{__typename}","operationName":1}"#, "`operationName` must be a string"),
        (br#"{"query":"{__typename}","variables":[]}"#, "`variables` must be an object"),
        (br#"{"query":"{__typename}","extensions":"x"}"#, "`extensions` must be an object"),
        (br#"[{"query":"{__typename}"}]"#, "batches are not accepted"),
    ] {
        let reply = app.anon().post_bytes(body.to_vec()).await;
        let message = reply.refused(400, "BAD_USER_INPUT");
        assert!(message.contains(told), "{message}");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn batches_are_answered_in_order_where_they_are_on() {
    let app = TestApp::builder().config(|config| config.http.max_batch_operations = 3).start().await;
    let batch = json!([{"query": TYPENAME}, {"query": "{"}, {"query": TYPENAME}]);
    let reply = app.anon().post(&batch).await;
    assert_eq!(reply.status.as_u16(), 200);
    let answers = reply.json();
    assert_eq!(answers[0]["data"]["__typename"], "Query");
    assert_eq!(answers[1]["errors"][0]["extensions"]["code"], "GRAPHQL_PARSE_FAILED");
    assert_eq!(answers[2]["data"]["__typename"], "Query");
    let four = app.anon().post(&json!(vec![json!({"query": TYPENAME}); 4])).await;
    four.refused(400, "BAD_USER_INPUT");
}

#[tokio::test]
async fn a_get_reads_and_never_writes() {
    let app = TestApp::start().await;
    let query = app.anon().get("/graphql?query=query%20A%7B__typename%7D&operationName=A&variables=%7B%7D").await;
    assert_eq!(query.json()["data"]["__typename"], "Query");
    let mutation = app.anon().get("/graphql?query=mutation%7B__typename%7D").await;
    assert_eq!((mutation.status.as_u16(), mutation.header("allow")), (405, "POST"));
    assert!(mutation.json().get("data").is_none());
    let stream = app.alice().request(Method::GET, "/graphql?query=mutation%7B__typename%7D");
    assert_eq!(send(stream.header("accept", "text/event-stream")).await.status.as_u16(), 405);
    for path in ["/graphql", "/graphql?query=%FF", "/graphql?query=a&query=b", "/graphql?query=a&variables=x"] {
        app.anon().get(path).await.refused(400, "BAD_USER_INPUT");
    }
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let app = TestApp::start().await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let reply = send(app.anon().request(method, "/graphql")).await;
        reply.refused(405, "BAD_USER_INPUT");
        assert_eq!(reply.header("allow"), "GET, HEAD, POST, OPTIONS");
    }
    let options = send(app.anon().request(Method::OPTIONS, "/graphql")).await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, "GET, HEAD, POST, OPTIONS"));
    let health = send(app.anon().request(Method::POST, "/health")).await;
    health.refused(405, "BAD_USER_INPUT");
}

#[tokio::test]
async fn a_bad_token_refuses_the_request() {
    let app = TestApp::start().await;
    let secret = app.auth().secret.expose().to_owned();
    let good = app.token("alice", Role::User, Duration::from_hours(1));
    let (head, rest) = good.split_once('.').expect("three parts");
    let none = "eyJhbGciOiJub25lIn0";
    let now = Clock::system().now().timestamp();
    let signed = |algorithm, expires: i64, secret: &[u8]| {
        let claims = json!({"sub": "alice", "role": "USER", "exp": expires});
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret)).expect("signed")
    };
    let public_key = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
    for (name, authorization) in [
        ("malformed", "Bearer nonsense".to_owned()),
        ("no bearer", format!("Basic {good}")),
        ("empty", "Bearer ".to_owned()),
        ("expired", format!("Bearer {}", signed(Algorithm::HS256, now - 3_600, secret.as_bytes()))),
        ("wrong secret", format!("Bearer {}", signed(Algorithm::HS256, now + 60, b"another secret of some length"))),
        ("wrong algorithm", format!("Bearer {}", signed(Algorithm::HS512, now + 60, secret.as_bytes()))),
        ("public key as secret", format!("Bearer {}", signed(Algorithm::HS256, now + 60, public_key))),
        ("algorithm none", format!("Bearer {none}.{rest}")),
        ("no signature", format!("Bearer {head}.{}.", rest.split_once('.').expect("three parts").0)),
        ("huge", format!("Bearer {}", "x".repeat(20_000))),
    ] {
        let request = app.anon().request(Method::POST, "/graphql").header(AUTHORIZATION, &authorization);
        let request = request.header("content-type", "application/json").body(json!({"query": TYPENAME}).to_string());
        let reply = send(request).await;
        let message = reply.refused(401, "UNAUTHENTICATED");
        assert_eq!(reply.header("www-authenticate"), r#"Bearer error="invalid_token""#, "{name}");
        assert!(!message.contains(good.as_str()) && !message.contains(&secret), "{name}: {message}");
    }
    assert_eq!(app.alice().query(TYPENAME).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let app = TestApp::start().await;
    let named = send(app.anon().request(Method::GET, "/health").header("x-request-id", "trace-1.a_b")).await;
    assert_eq!(named.header("x-request-id"), "trace-1.a_b");
    let long = "x".repeat(65);
    for bad in ["two words", "a;b", long.as_str()] {
        let reply = send(app.anon().request(Method::GET, "/health").header("x-request-id", bad)).await;
        assert_eq!(reply.header("x-request-id").len(), 36, "a new UUID instead of {bad}");
    }
}
