//! graphql-transport-ws, as its specification has it.

use std::time::Duration;

use serde_json::json;
use tidegate::model::Role;

use crate::harness::{Heard, TICKS, TYPENAME, TestApp, Wire, frame, subscribe};

#[tokio::test]
async fn a_query_gives_one_result_and_completes() {
    let app = TestApp::start().await;
    let mut socket = app.anon().connect().await;
    socket.send(subscribe("a\"1", TYPENAME)).await;
    let next = json!({"id": "a\"1", "type": "next", "payload": {"data": {"__typename": "Query"}}});
    assert_eq!(socket.message().await, next);
    assert_eq!(socket.message().await, json!({"id": "a\"1", "type": "complete"}));
    socket.send(subscribe("a\"1", TYPENAME)).await;
    assert_eq!(socket.message().await, next, "the id is free again");
}

#[tokio::test]
async fn a_subscription_ticks_until_it_is_completed() {
    let app = TestApp::start().await;
    let mut socket = app.alice().connect().await;
    socket.send(subscribe("1", TICKS)).await;
    for _ in 0..3 {
        let message = socket.message().await;
        assert_eq!((&message["id"], &message["type"]), (&json!("1"), &json!("next")), "{message}");
        assert!(message["payload"]["data"]["priceUpdates"].is_object(), "{message}");
    }
    socket.send(json!({"id": "1", "type": "complete"})).await;
    socket.send(json!({"type": "ping", "payload": {"x": 1}})).await;
    // At most what was already under way comes before the pong, and nothing after it.
    let mut message = socket.message().await;
    while message["type"] == "next" {
        message = socket.message().await;
    }
    assert_eq!(message, json!({"type": "pong", "payload": {"x": 1}}));
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.message().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn errors_before_execution_are_error_messages() {
    let app = TestApp::start().await;
    let mut socket = app.anon().connect().await;
    for (document, code) in [("{", "GRAPHQL_PARSE_FAILED"), (TICKS, "UNAUTHENTICATED")] {
        socket.send(subscribe("1", document)).await;
        let message = socket.message().await;
        assert_eq!((&message["id"], &message["type"]), (&json!("1"), &json!("error")), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{message}");
    }
    socket.send(subscribe("1", TYPENAME)).await;
    assert_eq!(socket.message().await["type"], "next", "the socket and the id live on");
}

#[tokio::test]
async fn a_wrong_protocol_is_4406() {
    let app = TestApp::start().await;
    for headers in [&[][..], &[("sec-websocket-protocol", "graphql-ws")]] {
        let mut socket = app.anon().dial_with(headers).await.expect("accepted, to be told");
        assert_eq!(socket.closed().await, (4406, "Subprotocol not acceptable".into()));
    }
}

#[tokio::test]
async fn conversations_out_of_order_are_closed_with_their_code() {
    let app = TestApp::start().await;
    let init = json!({"type": "connection_init"});
    let tick = subscribe("1", TICKS);
    let init_with = |payload| json!({"type": "connection_init", "payload": payload});
    let bearer = format!("Bearer {}", app.token("alice", Role::User, Duration::from_hours(1)));
    for (name, said, code, reason) in [
        ("subscribe before init", vec![tick.clone()], 4401, "Unauthorized"),
        ("two inits", vec![init.clone(), init.clone()], 4429, "Too many initialisation requests"),
        ("bad token", vec![init_with(json!({"Authorization": "Bearer nonsense"}))], 4403, "Forbidden"),
        ("no text", vec![init_with(json!({"Authorization": 5}))], 4403, "must be a text"),
        ("empty token", vec![init_with(json!({"token": ""}))], 4403, "not empty"),
        ("two tokens", vec![init_with(json!({"Authorization": bearer, "token": "other"}))], 4403, "two different"),
        ("no type", vec![json!({})], 4400, "type"),
        ("unknown type", vec![json!({"type": "connection_terminate"})], 4400, "unknown message type"),
        ("no query", vec![init, json!({"type": "subscribe", "id": "1", "payload": {}})], 4400, "query"),
    ] {
        let mut socket = app.anon().dial().await;
        for message in said {
            socket.send(message).await;
        }
        let (closed, told) = socket.closed().await;
        assert_eq!(closed, code, "{name}: {told}");
        assert!(told.contains(reason), "{name}: {told}");
    }
    let mut socket = app.alice().connect().await;
    socket.send(tick.clone()).await;
    socket.send(tick).await;
    assert_eq!(socket.closed().await, (4409, "Subscriber for 1 already exists".into()));
}

#[tokio::test]
async fn a_subscribe_right_behind_the_init_waits_for_the_ack() {
    let app = TestApp::start().await;
    let messages = [json!({"type": "connection_init"}), subscribe("1", TYPENAME)];
    let both = messages.map(|message| frame(1, message.to_string().as_bytes())).concat();
    for _ in 0..20 {
        // In one write, so that the server has both before it looks at the first.
        let mut wire = Wire::upgraded(&app).await;
        wire.write(&both).await;
        wire.read_until(br#"{"type":"connection_ack"}"#).await;
        wire.read_until(br#""payload":{"data":{"__typename":"Query"}}}"#).await;
    }
}

#[tokio::test]
async fn silence_instead_of_init_is_4408() {
    let app = TestApp::builder().config(|config| config.http.ws.init_timeout_ms = 100).start().await;
    let mut socket = app.anon().dial().await;
    assert_eq!(socket.closed().await, (4408, "Connection initialisation timeout".into()));
}

#[tokio::test]
async fn the_token_may_come_in_the_header() {
    let app = TestApp::start().await;
    let bearer = format!("Bearer {}", app.token("alice", Role::User, Duration::from_hours(1)));
    let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("authorization", bearer.as_str())];
    let mut socket = app.anon().dial_with(&headers).await.expect("the upgrade succeeds");
    socket.send(json!({"type": "connection_init"})).await;
    assert_eq!(socket.message().await, json!({"type": "connection_ack"}));
    socket.send(subscribe("1", TICKS)).await;
    assert_eq!(socket.message().await["type"], "next");
}

#[tokio::test]
async fn a_token_that_ends_takes_its_subscriptions_along() {
    let app = TestApp::builder().config(|config| config.auth.clock_skew_seconds = 0).start().await;
    let mut socket = app.bearing(Some(app.token("alice", Role::User, Duration::from_secs(2)))).connect().await;
    socket.send(subscribe("1", TICKS)).await;
    let mut message = socket.message().await;
    assert_eq!(message["type"], "next", "the token was good at first");
    while message["type"] == "next" {
        message = socket.message().await;
    }
    assert_eq!((&message["id"], &message["type"]), (&json!("1"), &json!("error")), "{message}");
    assert_eq!(message["payload"][0]["extensions"]["code"], "UNAUTHENTICATED");
    socket.send(subscribe("2", TYPENAME)).await;
    assert_eq!(socket.message().await["payload"][0]["extensions"]["code"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn operations_of_a_socket_are_counted() {
    let app = TestApp::builder().config(|c| c.http.ws.max_subscriptions_per_connection = 2).start().await;
    let mut socket = app.alice().connect().await;
    for id in ["1", "2", "3"] {
        socket.send(subscribe(id, TICKS)).await;
    }
    let mut message = socket.message().await;
    while message["type"] == "next" {
        message = socket.message().await;
    }
    assert_eq!((&message["id"], &message["type"]), (&json!("3"), &json!("error")), "{message}");
    assert_eq!(message["payload"][0]["extensions"]["code"], "OPERATION_TOO_COMPLEX");
    assert!(matches!(socket.heard().await, Heard::Message(_)), "the others go on");
}
