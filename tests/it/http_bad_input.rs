//! What bad input gets: a clear coded error, cheaply, and a server that goes on as before.
//!
//! Bad tokens are in `http_requests.rs`, broken sockets in `ws_faults.rs`, broken connections in `http_connections.rs`.

use serde_json::{Value, json};

use crate::harness::{Actor, Reply, TYPENAME, TestApp, Wire};

/// Of processor time for one request, client included. Unoptimised code gets ten times as much.
const MOST_MILLISECONDS: u64 = if cfg!(debug_assertions) { 500 } else { 50 };

/// Processor time of this thread in milliseconds. Test servers run on the thread of their test.
#[cfg(target_os = "linux")]
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel keeps scheduler statistics");
    let nanoseconds: u64 = text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds");
    nanoseconds / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn spent() -> u64 {
    0
}

async fn cheaply(name: &str, actor: Actor<'_>, body: Vec<u8>) -> Reply {
    let before = spent();
    let reply = actor.post_bytes(body).await;
    let spent = spent() - before;
    assert!(spent <= MOST_MILLISECONDS, "{name} took {spent} ms");
    reply
}

fn document(text: &str) -> Vec<u8> {
    json!({"query": text}).to_string().into_bytes()
}

fn prices(coins: &Value) -> Vec<u8> {
    let query = "query($coins: [String!]!) { cryptoPrices(coins: $coins) { coin } }";
    json!({"query": query, "variables": {"coins": coins}}).to_string().into_bytes()
}

#[tokio::test]
async fn documents_that_are_too_much_are_refused() {
    let app = TestApp::start().await;
    let nested = "{ a ".repeat(200) + &"}".repeat(200);
    let doubling: Vec<_> =
        (0..22).map(|n| format!("fragment f{n} on Query {{ ...f{} ...f{} }}", n + 1, n + 1)).collect();
    let doubling = format!("{{ ...f0 }} {} fragment f22 on Query {{ __typename }}", doubling.join(" "));
    let aliases: Vec<_> = (0..10_000).map(|n| format!("a{n}:__typename")).collect();
    let aliases = aliases.join(" ");
    let cycle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
    for (name, text, code) in [
        ("200 levels", nested.as_str(), "OPERATION_TOO_COMPLEX"),
        ("22 doubling fragments", &doubling, "OPERATION_TOO_COMPLEX"),
        ("10,000 aliases", &format!("{{ {aliases} }}"), "OPERATION_TOO_COMPLEX"),
        ("a cycle of fragments", cycle, "GRAPHQL_VALIDATION_FAILED"),
        ("a long document", &format!("{{ __typename }} #{}", "x".repeat(100_000)), "OPERATION_TOO_COMPLEX"),
        ("emoji", "{ 🌊 }", "GRAPHQL_PARSE_FAILED"),
        ("nothing", "", "BAD_USER_INPUT"),
    ] {
        cheaply(name, app.anon(), document(text)).await.refused(400, code);
    }
    assert_eq!(app.anon().query(TYPENAME).await.status.as_u16(), 200);
}

#[tokio::test]
async fn coins_that_are_none_are_told() {
    let app = TestApp::start().await;
    let thousand: Vec<String> = (0..1_000).map(|n| format!("coin-{n}")).collect();
    for (name, coins, code) in [
        ("unknown", json!(["no-such-coin"]), "NOT_FOUND"),
        ("empty", json!([]), "BAD_USER_INPUT"),
        ("1,000", json!(thousand), "BAD_USER_INPUT"),
        ("duplicate", json!(["bitcoin", "bitcoin"]), "BAD_USER_INPUT"),
        ("emoji", json!(["🌊"]), "NOT_FOUND"),
        ("null", json!([null]), "BAD_USER_INPUT"),
        ("a number", json!([7]), "BAD_USER_INPUT"),
        ("a text", json!({"bitcoin": 1}), "BAD_USER_INPUT"),
    ] {
        let reply = cheaply(name, app.anon(), prices(&coins)).await;
        assert_eq!(reply.code(), code, "{name}: {}", reply.text);
        assert!(reply.json().get("data").is_none_or(Value::is_null), "{name}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_large_body_is_refused_without_being_kept() {
    let app = TestApp::start().await;
    let envelope = json!({"query": TYPENAME, "variables": {"x": "y".repeat(10 * 1024 * 1024)}}).to_string();
    cheaply("10 MB", app.anon(), envelope.into_bytes()).await.refused(413, "OPERATION_TOO_COMPLEX");
    assert_eq!(app.anon().query(TYPENAME).await.status.as_u16(), 200);
}

#[tokio::test]
async fn nested_json_is_refused() {
    let app = TestApp::start().await;
    let levels = ["{\"a\":".repeat(200), "1".to_owned(), "}".repeat(200)].concat();
    let deep = format!(r#"{{"query":"{{__typename}}","variables":{levels}}}"#);
    cheaply("200 levels", app.anon(), deep.into_bytes()).await.refused(400, "BAD_USER_INPUT");
    let open = format!(r#"{{"query":"{{__typename}}","variables":{{"a":{}"#, "[".repeat(500_000));
    cheaply("500,000 levels", app.anon(), open.into_bytes()).await.refused(400, "BAD_USER_INPUT");
}

#[tokio::test]
async fn a_request_that_does_not_say_whom_it_is_for_is_refused() {
    let app = TestApp::start().await;
    for (version, hosts, status) in [
        ("1.1", "", "400"),
        ("1.1", "Host: a\r\nHost: b\r\n", "400"),
        ("1.1", "Host: a\r\n", "200"),
        ("1.0", "", "200"),
    ] {
        let mut wire = Wire::open(&app).await;
        let request = format!("GET /health HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        wire.write(request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request} got {answer}");
        assert_eq!(answer.contains("BAD_USER_INPUT"), status == "400", "{answer}");
    }
}
