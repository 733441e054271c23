//! Tidegate as an MCP server at `/mcp`, in both eras: what is a tool, who may call it, and what is refused at the door.

use std::{collections::BTreeMap, io::Write as _};

use reqwest::{
    Method, RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tidegate::{
    config::Config,
    sandbox::{Fault, Vendor},
};

use crate::harness::{Actor, Reply, TYPENAME, TestApp, send, until};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

const PRICES: &str = "# What coins are worth.\n# In dollars.\n\
    query crypto_prices($coins: [String!]!, $withTime: Boolean! = false) { \
    cryptoPrices(coins: $coins) { coin amount asOf @include(if: $withTime) } }";
const REMEMBER: &str = "mutation remember($content: String!) { addMemory(content: $content) { id content } }";
const WHO: &str = "query WhoAmI { me { subject role } }";
/// None of these is a tool.
const NO_TOOLS: [&str; 5] = [
    TYPENAME,
    "subscription ticks { priceUpdates(coins: [\"bitcoin\"]) { coin } }",
    "query misspelt { cryptoPrice }",
    "query twice { __typename }",
    "query twice { again: __typename }",
];

/// A list of trusted documents, which goes with the value.
fn manifest<'a>(documents: impl IntoIterator<Item = &'a str>) -> NamedTempFile {
    let hash = |document: &str| Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let listed: BTreeMap<String, &str> = documents.into_iter().map(|document| (hash(document), document)).collect();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(json!(listed).to_string().as_bytes()).unwrap();
    file
}

async fn started(change: impl FnOnce(&mut Config)) -> TestApp {
    let file = manifest([PRICES, REMEMBER, WHO].into_iter().chain(NO_TOOLS));
    let trusted = Some(file.path().to_owned());
    TestApp::builder().config(|config| config.graphql.trusted_documents = trusted).config(change).start().await
}

/// A client of one era.
pub(crate) struct Client<'a> {
    actor: Actor<'a>,
    version: &'static str,
    /// Says that it is a Tidegate itself.
    hops: bool,
}

impl Client<'_> {
    /// Sends a request and gives its result.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let reply = self.send(method, params).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!((reply.header("cache-control"), reply.header("mcp-session-id")), ("no-store", ""));
        let json = reply.json();
        assert_eq!((&json["jsonrpc"], &json["id"]), (&json!("2.0"), &json!(7)), "{json}");
        json["result"].clone()
    }

    async fn send(&self, method: &str, params: Value) -> Reply {
        send(self.request(method, params)).await
    }

    pub(crate) fn request(&self, method: &str, mut params: Value) -> RequestBuilder {
        let mut request = posted(&self.actor);
        if self.hops {
            request = request.header("tidegate-hop", "1");
        }
        if method != "initialize" {
            request = request.header("mcp-protocol-version", self.version);
        }
        if self.version == MODERN {
            request = request.header("mcp-method", method);
            if let Some(name) = params["name"].as_str() {
                request = request.header("mcp-name", name);
            }
            let meta = params["_meta"].as_object().cloned().unwrap_or_default();
            params["_meta"] = json!(meta);
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "test", "version": "1" });
        }
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        request.body(message.to_string())
    }

    pub(crate) async fn call(&self, name: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": name, "arguments": arguments })).await
    }

    pub(crate) async fn tool_names(&self) -> Vec<String> {
        let list = self.ask("tools/list", json!({})).await;
        let names = list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned());
        names.collect()
    }
}

pub(crate) fn legacy(actor: Actor<'_>) -> Client<'_> {
    Client { actor, version: LEGACY, hops: false }
}

pub(crate) fn modern(actor: Actor<'_>) -> Client<'_> {
    Client { actor, version: MODERN, hops: false }
}

fn posted(actor: &Actor<'_>) -> RequestBuilder {
    let request = actor.request(Method::POST, "/mcp").header(CONTENT_TYPE, "application/json");
    request.header(ACCEPT, "application/json, text/event-stream")
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}"))
}

fn greeting(version: &str) -> Value {
    json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } })
}

#[tokio::test]
async fn clients_with_a_handshake_are_served_without_a_session() {
    let app = started(|_| {}).await;
    let client = legacy(app.alice());
    for version in [LEGACY, "2025-06-18", "2025-03-26", "2024-11-05"] {
        let greeted = client.ask("initialize", greeting(version)).await;
        assert_eq!(greeted["protocolVersion"], version);
        assert_eq!(
            (&greeted["serverInfo"]["name"], &greeted["capabilities"]),
            (&json!("tidegate"), &json!({ "tools": {} }))
        );
    }
    let ready = posted(&client.actor).header("mcp-protocol-version", LEGACY);
    let ready = send(ready.body(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string())).await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (202, ""));
    assert_eq!(client.ask("ping", json!({})).await, json!({}));
    assert_eq!(client.tool_names().await, ["WhoAmI", "crypto_prices", "remember"]);
    let called = client.call("WhoAmI", json!({})).await;
    let data = json!({ "me": { "subject": "alice", "role": "USER" } });
    assert_eq!((&called["isError"], &called["structuredContent"]), (&json!(false), &data));
    assert_eq!(serde_json::from_str::<Value>(text(&called)).unwrap(), data);
    assert!(called.get("resultType").is_none(), "an older client does not know it: {called}");
}

#[tokio::test]
async fn clients_without_a_handshake_are_served_too() {
    let app = started(|_| {}).await;
    let client = modern(app.alice());
    let found = client.ask("server/discover", json!({})).await;
    let versions = found["supportedVersions"].as_array().unwrap();
    assert!([LEGACY, MODERN].iter().all(|version| versions.contains(&json!(version))), "{found}");
    let list = client.ask("tools/list", json!({})).await;
    // Tools of servers depend on who asks.
    assert_eq!((&list["resultType"], &list["cacheScope"]), (&json!("complete"), &json!("private")));
    assert_eq!(client.tool_names().await, ["WhoAmI", "crypto_prices", "remember"]);
    let called = client.call("crypto_prices", json!({ "coins": ["bitcoin"] })).await;
    assert_eq!((&called["isError"], &called["resultType"]), (&json!(false), &json!("complete")));
    assert_eq!(called["structuredContent"]["cryptoPrices"][0]["coin"], "bitcoin", "{called}");
}

#[tokio::test]
async fn headers_of_the_new_era_must_say_what_the_body_says() {
    let app = started(|_| {}).await;
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "WhoAmI", "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    } } });
    for (version, method, name, status) in [
        (MODERN, "tools/call", "WhoAmI", 200),
        (MODERN, "tools/list", "WhoAmI", 400),
        (MODERN, "tools/call", "remember", 400),
        (LEGACY, "tools/call", "WhoAmI", 400),
        ("2031-01-01", "tools/call", "WhoAmI", 400),
    ] {
        let request = posted(&app.anon()).header("mcp-protocol-version", version).header("mcp-method", method);
        let reply = send(request.header("mcp-name", name).body(body.to_string())).await;
        assert_eq!(reply.status.as_u16(), status, "{version} {method} {name}: {}", reply.text);
        assert_eq!(reply.json().get("error").is_some(), status != 200, "{}", reply.text);
    }
}

#[tokio::test]
async fn a_trusted_document_is_a_tool() {
    let app = started(|_| {}).await;
    let list = modern(app.anon()).ask("tools/list", json!({})).await;
    let tool = |name: &str| list["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap();
    let prices = tool("crypto_prices");
    assert_eq!(prices["description"], "What coins are worth.\nIn dollars.");
    assert_eq!(prices["inputSchema"]["required"], json!(["coins"]));
    assert_eq!(prices["inputSchema"]["properties"]["coins"]["items"], json!({ "type": "string" }));
    assert_eq!(prices["inputSchema"]["properties"]["withTime"], json!({ "type": "boolean", "default": false }));
    assert_eq!(
        prices["annotations"],
        json!({ "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": true })
    );
    let remember = tool("remember");
    let description = remember["description"].as_str().unwrap();
    assert!(description.starts_with("Runs the trusted document remember.\n\naddMemory: "), "{description}");
    assert_eq!(
        remember["inputSchema"]["properties"]["content"]["description"],
        "What to remember, 1 to 8000 characters."
    );
    assert_eq!(
        remember["annotations"],
        json!({ "readOnlyHint": false, "destructiveHint": true, "openWorldHint": true })
    );
}

#[tokio::test]
async fn whoever_may_not_call_a_tool_is_told_what_to_do() {
    let app = started(|config| {
        config.limits.overrides = vec!["Query.cryptoPrices=1/60".parse().unwrap()];
    })
    .await;
    let anon = legacy(app.anon());
    assert_eq!(anon.tool_names().await, ["WhoAmI", "crypto_prices", "remember"], "what there is, is no secret");
    let refused = anon.call("remember", json!({ "content": "tea" })).await;
    assert_eq!((&refused["isError"], refused.get("structuredContent")), (&json!(true), None));
    assert!(
        text(&refused).starts_with("UNAUTHENTICATED: ") && text(&refused).contains("Authorization: Bearer"),
        "{refused}"
    );
    let request = json!({ "coins": ["bitcoin"] });
    assert_eq!(anon.call("crypto_prices", request.clone()).await["isError"], false);
    let refused = anon.call("crypto_prices", json!({ "coins": ["ethereum"] })).await;
    assert!(text(&refused).starts_with("RATE_LIMITED: ") && text(&refused).contains("Call again in "), "{refused}");
    assert_eq!(
        legacy(app.alice()).call("crypto_prices", request).await["isError"],
        false,
        "alice has a limit of her own"
    );
}

#[tokio::test]
async fn what_a_tool_cannot_do_is_told_in_its_result() {
    let app = started(|_| {}).await;
    let alice = modern(app.alice());
    for (tool, arguments, told) in [
        ("crypto_prices", json!({}), "BAD_USER_INPUT: Variable \"$coins\" of required type"),
        ("crypto_prices", json!({ "coins": 1 }), "BAD_USER_INPUT: Variable \"$coins\" got invalid value"),
        (
            "crypto_prices",
            json!({ "coins": ["bitcoin"], "coin": 1 }),
            "BAD_USER_INPUT: the tool has no argument \"coin\"",
        ),
        ("crypto_prices", json!({ "coins": ["no-such-coin"] }), "NOT_FOUND: "),
        ("remember", json!({ "content": "" }), "BAD_USER_INPUT: "),
    ] {
        let result = alice.call(tool, arguments.clone()).await;
        assert!(result["isError"] == json!(true) && text(&result).starts_with(told), "{tool} {arguments}: {result}");
    }
    let reply = alice.send("tools/call", json!({ "name": "nothing", "arguments": {} })).await;
    let error = reply.json()["error"].clone();
    assert_eq!((&error["code"], &error["message"]), (&json!(-32602), &json!("Unknown tool: nothing")));
    for arguments in [json!([]), json!("content"), json!(1)] {
        let reply = alice.send("tools/call", json!({ "name": "remember", "arguments": arguments })).await;
        assert_eq!(reply.json()["error"]["code"], -32602, "{arguments}: {}", reply.text);
    }
    let reply = alice.send("prompts/list", json!({})).await;
    assert_eq!(reply.json()["error"]["code"], -32601, "{}", reply.text);
}

#[tokio::test]
async fn a_change_under_one_key_is_made_once() {
    let app = started(|_| {}).await;
    let client = modern(app.alice());
    let call =
        json!({ "name": "remember", "arguments": { "content": "tea" }, "_meta": { "tidegate/idempotencyKey": "k" } });
    let first = client.ask("tools/call", call.clone()).await;
    assert_eq!(first["structuredContent"]["addMemory"]["content"], "tea", "{first}");
    assert_eq!(client.ask("tools/call", call).await["structuredContent"], first["structuredContent"]);
    let other = client.call("remember", json!({ "content": "tea" })).await;
    assert_ne!(other["structuredContent"], first["structuredContent"]);
}

#[tokio::test]
async fn foreign_pages_and_rebound_names_are_refused() {
    let app = started(|config| {
        config.http.allowed_origins = vec!["https://app.example.com".into()];
        config.http.mcp_hosts = vec!["tide.example.com".into()];
    })
    .await;
    let own = app.address.to_string();
    let ping = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }).to_string();
    for (host, origin, status) in [
        (own.as_str(), None, 200),
        (&own, Some(format!("http://{own}")), 200),
        (&own, Some("https://app.example.com".into()), 200),
        (&own, Some("https://evil.example".into()), 403),
        (&own, Some("null".into()), 403),
        ("localhost", None, 200),
        ("tide.example.com", Some("https://tide.example.com".into()), 200),
        ("evil.example", None, 403),
        // What a page sends whose name was made to lead here.
        ("evil.example", Some("http://evil.example".into()), 403),
    ] {
        let mut request = posted(&app.anon()).header(HOST, host);
        if let Some(origin) = &origin {
            request = request.header(ORIGIN, origin);
        }
        let reply = send(request.body(ping.clone())).await;
        assert_eq!(reply.status.as_u16(), status, "{host} {origin:?}: {}", reply.text);
        if status == 403 {
            reply.refused(403, "FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn a_bad_token_refuses_the_request() {
    let app = started(|_| {}).await;
    for token in ["nonsense", ""] {
        let reply = legacy(app.bearing(Some(token.to_owned()))).send("tools/list", json!({})).await;
        reply.refused(401, "UNAUTHENTICATED");
        assert_eq!(reply.header("www-authenticate"), r#"Bearer error="invalid_token""#);
    }
}

#[tokio::test]
async fn requests_that_are_none_are_refused() {
    let app = started(|config| config.http.max_body_bytes = 2_048).await;
    let anon = app.anon();
    let ping = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }).to_string();
    for (body, code) in
        [("", -32700), ("{", -32700), ("[]", -32600), (r#"{"jsonrpc":"2.0"}"#, -32600), (&format!("[{ping}]"), -32600)]
    {
        let reply = send(posted(&anon).body(body.to_owned())).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (400, &json!(code)), "{body:?}");
    }
    for (method, content_type, accept, body, status, error) in [
        (Method::POST, "text/plain", "application/json, text/event-stream", ping.clone(), 415, "BAD_USER_INPUT"),
        (Method::POST, "application/json", "application/json", ping.clone(), 406, "BAD_USER_INPUT"),
        (Method::POST, "application/json", "*/*", "x".repeat(2_049), 413, "OPERATION_TOO_COMPLEX"),
        (Method::GET, "application/json", "text/event-stream", String::new(), 405, "BAD_USER_INPUT"),
        (Method::DELETE, "application/json", "*/*", String::new(), 405, "BAD_USER_INPUT"),
    ] {
        let request = anon.request(method, "/mcp").header(CONTENT_TYPE, content_type).header(ACCEPT, accept);
        let reply = send(request.body(body)).await;
        reply.refused(status, error);
        assert_eq!(reply.header("allow"), if status == 405 { "POST" } else { "" });
    }
}

#[tokio::test]
async fn only_so_many_are_answered_at_once_and_each_in_time() {
    let app = started(|config| {
        config.http.mcp_max_requests = 1;
        config.http.request_timeout_ms = 1_000;
        config.market.round_timeout_ms = 4_000;
    })
    .await;
    for vendor in [Vendor::CoinGecko, Vendor::Coinbase, Vendor::DefiLlama] {
        app.stand_ins.faults(vendor).set(Fault::Hang);
    }
    let client = legacy(app.anon());
    let slow = client.send("tools/call", json!({ "name": "crypto_prices", "arguments": { "coins": ["bitcoin"] } }));
    let others = async {
        let mut full = None;
        until("a request finds the only place taken", async || {
            let reply = client.send("ping", json!({})).await;
            let is_full = reply.status.as_u16() == 429;
            full = is_full.then_some(reply);
            is_full
        })
        .await;
        full.unwrap()
    };
    let (slow, full) = tokio::join!(slow, others);
    slow.refused(504, "TIMEOUT");
    full.refused(429, "RATE_LIMITED");
    assert_eq!(full.header("retry-after"), "1");
    assert_eq!(client.ask("ping", json!({})).await, json!({}), "the place is free again");
}

#[tokio::test]
async fn where_only_trusted_documents_are_served_they_are_tools_all_the_same() {
    let app = started(|config| config.graphql.trusted_only = true).await;
    app.alice().query("{ me { subject } }").await.refused(400, "PERSISTED_QUERY_NOT_SUPPORTED");
    let client = modern(app.alice());
    assert_eq!(client.tool_names().await, ["WhoAmI", "crypto_prices", "remember"]);
    assert_eq!(client.call("WhoAmI", json!({})).await["structuredContent"]["me"]["subject"], "alice");
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let documents: Vec<String> = (0..501).map(|number| format!("query tool_{number:03} {{ __typename }}")).collect();
    let file = manifest(documents.iter().map(String::as_str));
    let trusted = Some(file.path().to_owned());
    let app = TestApp::builder().config(|config| config.graphql.trusted_documents = trusted).start().await;
    let client = modern(app.anon());
    let first = client.ask("tools/list", json!({})).await;
    assert_eq!((first["tools"].as_array().unwrap().len(), &first["tools"][499]["name"]), (500, &json!("tool_499")));
    let second = client.ask("tools/list", json!({ "cursor": first["nextCursor"] })).await;
    assert_eq!((&second["tools"][0]["name"], second.get("nextCursor")), (&json!("tool_500"), None));
    let reply = client.send("tools/list", json!({ "cursor": "tool_499" })).await;
    assert_eq!(reply.json()["error"]["code"], -32602, "a cursor is no name: {}", reply.text);
}

#[tokio::test]
async fn tools_of_servers_are_offered_by_their_qualified_names() {
    let other = started(|_| {}).await;
    let mut servers = NamedTempFile::new().unwrap();
    let listed = json!({ "mcpServers": { "other": { "url": other.url("/mcp"), "stateless": true } } });
    servers.write_all(listed.to_string().as_bytes()).unwrap();
    let app = started(|config| config.mcp.servers_file = Some(servers.path().to_owned())).await;
    let alice = modern(app.alice());
    until("the catalogue has the other server's tools", async || alice.tool_names().await.len() == 6).await;
    let own = ["WhoAmI", "crypto_prices", "remember"];
    let all = ["WhoAmI", "crypto_prices", "other__WhoAmI", "other__crypto_prices", "other__remember", "remember"];
    assert_eq!(alice.tool_names().await, all);
    let definition = async |client: Client<'_>, name: &str| {
        let list = client.ask("tools/list", json!({})).await;
        let mut tool = list["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap().clone();
        tool["name"] = Value::Null;
        tool
    };
    let passed_on = definition(modern(app.alice()), "other__crypto_prices").await;
    assert_eq!(passed_on, definition(modern(other.anon()), "crypto_prices").await, "with all that it says of itself");

    let prices = json!({ "coins": ["bitcoin"] });
    for (client, tool, arguments, told) in [
        (&alice, "other__crypto_prices", &prices, "{\"cryptoPrices\":[{\"coin\":\"bitcoin\""),
        // The other one does not know alice.
        (&alice, "other__remember", &json!({ "content": "tea" }), "UNAUTHENTICATED: "),
        (&alice, "other__crypto_prices", &json!({ "coins": 1 }), "BAD_USER_INPUT: coins: "),
        (&alice, "other__nothing", &json!({}), "NOT_FOUND: "),
        (&modern(app.anon()), "other__crypto_prices", &prices, "UNAUTHENTICATED: "),
    ] {
        let result = client.call(tool, arguments.clone()).await;
        assert!(text(&result).starts_with(told), "{tool} {arguments}: {result}");
        assert_eq!(result["isError"], !told.starts_with('{'), "{result}");
    }

    let tidegate = Client { actor: app.alice(), version: LEGACY, hops: true };
    assert_eq!(tidegate.tool_names().await, own, "who asks as a Tidegate does not find its own tools");
    let call = json!({ "name": "other__WhoAmI", "arguments": {} });
    assert_eq!(tidegate.send("tools/call", call).await.json()["error"]["message"], "Unknown tool: other__WhoAmI");
}

#[tokio::test]
async fn a_server_without_documents_has_no_tools_and_one_without_mcp_no_path() {
    let app = TestApp::start().await;
    assert_eq!(legacy(app.anon()).ask("tools/list", json!({})).await["tools"], json!([]));
    let off = TestApp::builder().config(|config| config.http.mcp_enabled = false).start().await;
    legacy(off.anon()).send("tools/list", json!({})).await.refused(404, "NOT_FOUND");
}
