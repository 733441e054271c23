//! What `/mcp` tells while a request stays open: how far a call has come, and that the list has changed.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use tidegate::{config::Config, model::Role};
use tokio::time::timeout;

use crate::{
    harness::{McpServer, PATIENCE, TestApp, send, until},
    mcp_calls::until_up,
    mcp_endpoint::{Client, legacy, modern},
};

const ALL: &str = "mcpServers(first: 1) { nodes { id } }";

async fn started(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&[]) })).config(change).start().await;
    until_up(&app, 1).await;
    app
}

/// The messages of a stream; comments are skipped.
fn messages(text: &str) -> Vec<Value> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let data = whole.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| serde_json::from_str(data.trim()).expect("JSON")).collect()
}

/// A stream of messages, read one by one.
struct Messages {
    response: Response,
    text: String,
    read: usize,
}

impl Messages {
    async fn of(client: &Client<'_>, method: &str, params: Value) -> Self {
        let response = client.request(method, params).send().await.expect("the stream opens");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { response, text: String::new(), read: 0 }
    }

    /// The next one, or nothing where the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(message) = messages(&self.text).get(self.read) {
                self.read += 1;
                return Some(message.clone());
            }
            let chunk = timeout(PATIENCE, self.response.chunk())
                .await
                .expect("the server speaks")
                .expect("the stream lives")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

async fn listen(client: &Client<'_>) -> Messages {
    let wish = json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true } });
    let mut messages = Messages::of(client, "subscriptions/listen", wish).await;
    let first = messages.next().await.expect("an acknowledgment");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(first["params"]["notifications"], json!({ "toolsListChanged": true }), "there are no prompts");
    messages
}

/// Switches the only server off.
async fn disable(app: &TestApp) {
    let id = app.admin().query(&format!("{{ {ALL} }}")).await.json()["data"]["mcpServers"]["nodes"][0]["id"].take();
    let change = format!("mutation {{ mcpServerDisable(input: {{id: {id}}}) {{ userErrors {{ code }} }} }}");
    let reply = app.admin().query(&change).await.json();
    assert_eq!(reply["data"]["mcpServerDisable"]["userErrors"], json!([]), "{reply}");
}

#[tokio::test]
async fn the_progress_of_a_call_is_told_to_whoever_wants_to_know() {
    let app = started(|_| {}).await;
    for client in [legacy(app.alice()), modern(app.alice())] {
        for token in [json!("p"), json!(7)] {
            let arguments = json!({ "steps": 3, "ms": 100 });
            let call = json!({ "name": "one__progress", "arguments": arguments, "_meta": { "progressToken": token } });
            let reply = send(client.request("tools/call", call)).await;
            assert_eq!(reply.header("content-type"), "text/event-stream", "{}", reply.text);
            let mut told = messages(&reply.text);
            let result = told.pop().unwrap();
            assert_eq!((&result["id"], &result["result"]["content"][0]["text"]), (&json!(7), &json!("done")));
            // What is said with the answer may be lost.
            assert!(told.len() >= 2, "{told:?}");
            for (step, said) in (1_u32..).zip(&told) {
                let expected = json!({ "progressToken": token, "progress": f64::from(step), "total": 3.0, "message": format!("step {step}") });
                assert_eq!((&said["method"], &said["params"]), (&json!("notifications/progress"), &expected));
            }
        }
        let silent = client.call("one__progress", json!({ "steps": 3 })).await;
        assert_eq!(silent["content"][0]["text"], "done", "who does not ask gets one document");
    }
}

#[tokio::test]
async fn who_listens_is_told_that_the_list_has_changed() {
    let app = started(|_| {}).await;
    let alice = modern(app.alice());
    assert!(!alice.tool_names().await.is_empty());
    let mut heard = listen(&alice).await;
    assert!(app.metric("tidegate_mcp_listeners").await >= 1.0);
    disable(&app).await;
    let told = heard.next().await.unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7, "{told}");
    assert_eq!(alice.tool_names().await, [""; 0], "whoever asks at once gets the new one");
    app.shutdown.cancel();
    let last = heard.next().await.unwrap();
    assert_eq!((&last["id"], last.get("error")), (&json!(7), None), "a server that stops says so: {last}");
    assert_eq!(heard.next().await, None);
    app.stopped().await;
}

#[tokio::test]
async fn nobody_listens_for_longer_than_their_token_is_good() {
    let app = started(|config| config.auth.clock_skew_seconds = 0).await;
    let short = app.token("alice", Role::User, Duration::from_secs(2));
    for (client, told) in
        [(modern(app.bearing(Some(short))), "the token has expired"), (modern(app.anon()), "needs a token")]
    {
        let last = listen(&client).await.next().await.unwrap();
        assert_eq!(last["error"]["data"]["code"], "UNAUTHENTICATED", "{last}");
        assert!(last["error"]["message"].as_str().unwrap().contains(told), "{last}");
    }
    let reply = send(legacy(app.alice()).request("subscriptions/listen", json!({ "notifications": {} }))).await;
    assert_eq!(reply.json()["error"]["code"], -32601, "the older era has none: {}", reply.text);
}

#[tokio::test]
async fn whoever_listens_takes_nobodys_place_and_leaves_nothing() {
    let app = started(|config| {
        config.http.mcp_max_requests = 1;
        config.graphql.max_live_groups = 1;
    })
    .await;
    let alice = modern(app.alice());
    let mut listening = Vec::new();
    for _ in 0..8 {
        listening.push(listen(&alice).await);
    }
    assert!(!alice.tool_names().await.is_empty(), "the only place is free");
    drop(listening);
    let call =
        json!({ "name": "one__progress", "arguments": { "steps": 2, "ms": 1000 }, "_meta": { "progressToken": 1 } });
    let followed = async || messages(&send(alice.request("tools/call", call.clone())).await.text).len() > 1;
    until("the only subscription is another's", followed).await;
    // A call has its place until the end of its stream.
    let mut calling = Messages::of(&alice, "tools/call", call.clone()).await;
    send(alice.request("tools/list", json!({}))).await.refused(429, "RATE_LIMITED");
    while calling.next().await.is_some() {}
    assert!(!alice.tool_names().await.is_empty());
}
