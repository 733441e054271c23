//! Sockets and streams when the server goes.

use reqwest::Method;
use serde_json::json;

use crate::harness::{TICKS, TestApp, Wire, subscribe};

#[tokio::test]
async fn a_drain_completes_subscriptions_and_closes_with_1001() {
    let app = TestApp::start().await;
    let mut socket = app.alice().connect().await;
    socket.send(subscribe("1", TICKS)).await;
    assert_eq!(socket.message().await["type"], "next");
    let mut idle = app.anon().dial().await;
    app.shutdown.cancel();
    let mut message = socket.message().await;
    while message["type"] == "next" {
        message = socket.message().await;
    }
    assert_eq!(message, json!({"id": "1", "type": "complete"}));
    assert_eq!(socket.closed().await, (1001, "the server is shutting down".into()));
    assert_eq!(idle.closed().await.0, 1001);
    app.stopped().await;
}

#[tokio::test]
async fn a_drain_completes_event_streams() {
    let app = TestApp::start().await;
    let body = json!({"query": TICKS}).to_string();
    let request = app.alice().request(Method::POST, "/graphql").header("accept", "text/event-stream");
    let stream = request.header("content-type", "application/json").body(body).send().await.expect("the stream opens");
    app.shutdown.cancel();
    let text = stream.text().await.expect("the stream ends as it should");
    assert!(text.ends_with("event: complete\ndata:\n\n"), "{text}");
    app.stopped().await;
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_dropped() {
    let app = TestApp::builder().config(|config| config.http.shutdown_grace_ms = 100).start().await;
    let mut wire = Wire::open(&app).await;
    wire.write(b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .await;
    // Another round trip, so that the half request has surely begun.
    app.anon().query("{ __typename }").await;
    app.stop().await;
    assert!(wire.read_to_end().await.is_empty());
}
