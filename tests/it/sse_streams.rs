//! Event streams: one operation per response.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Actor, PATIENCE, TICKS, TYPENAME, TestApp, send};

fn post(actor: &Actor<'_>, document: &str) -> RequestBuilder {
    let request = actor.request(Method::POST, "/graphql").header("accept", "text/event-stream");
    request.header("content-type", "application/json").body(json!({"query": document}).to_string())
}

/// The events of a stream as (name, data); comments are skipped.
fn events(text: &str) -> Vec<(String, Option<Value>)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let event = |block: &str| {
        let field = |name| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let name = field("event:").expect("events have a name").to_owned();
        (name, field("data:").filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).expect("JSON")))
    };
    blocks.map(event).collect()
}

#[tokio::test]
async fn a_query_is_one_event_and_the_end() {
    let app = TestApp::start().await;
    let get = "/graphql?query=%7B__typename%7D";
    let requests =
        [post(&app.anon(), TYPENAME), app.anon().request(Method::GET, get).header("accept", "text/event-stream")];
    for request in requests {
        let reply = send(request).await;
        assert_eq!(reply.header("content-type"), "text/event-stream; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-store");
        let next = ("next".to_owned(), Some(json!({"data": {"__typename": "Query"}})));
        assert_eq!(events(&reply.text), [next, ("complete".to_owned(), None)]);
    }
}

#[tokio::test]
async fn a_subscription_ticks_as_long_as_it_is_read() {
    let app = TestApp::start().await;
    let mut response = post(&app.alice(), TICKS).send().await.expect("the stream opens");
    let mut text = String::new();
    while events(text.rsplit_once("\n\n").map_or("", |(whole, _)| whole)).len() < 3 {
        let chunk = timeout(PATIENCE, response.chunk()).await.expect("the server ticks").expect("the stream lives");
        text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).expect("UTF-8"));
    }
    assert!(text.starts_with(":\n\n"), "a comment opens the stream: {text}");
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer() {
    let app = TestApp::start().await;
    for (actor, document, status, code) in
        [(app.anon(), "{", 400, "GRAPHQL_PARSE_FAILED"), (app.anon(), TICKS, 401, "UNAUTHENTICATED")]
    {
        let reply = send(post(&actor, document)).await;
        reply.refused(status, code);
        assert!(reply.header("content-type").starts_with("application/graphql-response+json"));
    }
    send(post(&app.bearing(Some("nonsense".into())), TYPENAME)).await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_token_that_ends_takes_the_stream_along() {
    let app = TestApp::builder().config(|config| config.auth.clock_skew_seconds = 0).start().await;
    let token = app.token("alice", tidegate::model::Role::User, std::time::Duration::from_secs(2));
    let reply = send(post(&app.bearing(Some(token)), TICKS)).await;
    let events = events(&reply.text);
    let [.., (_, Some(last)), (end, None)] = &events[..] else { panic!("{}", reply.text) };
    assert_eq!(last["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(end, "complete");
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let app = TestApp::builder().config(|config| config.http.sse_keepalive_ms = 10).start().await;
    let mut response = post(&app.alice(), TICKS).send().await.expect("the stream opens");
    let mut comments = 0;
    while comments < 3 {
        let chunk = timeout(PATIENCE, response.chunk()).await.expect("the server speaks").expect("the stream lives");
        comments += usize::from(chunk.expect("the stream goes on").starts_with(b":"));
    }
}
