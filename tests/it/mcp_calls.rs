//! Calls of tools by the front door: real servers of both eras, arguments, permissions, the record, progress, kept results.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    Actor, McpServer, TestApp,
    mcp::{everything_over_http, faulty_over_http},
    subscribe, until,
};

const CALL: &str = "mutation ($input: McpToolCallInput!) { mcpToolCall(input: $input) {
    runId repeated result { isError text content structuredContent outputProblem }
    userErrors { code field message candidates } } }";

/// The whole reply to a call.
pub(crate) async fn called(actor: &Actor<'_>, input: Value) -> Value {
    actor.post(&json!({ "query": CALL, "variables": { "input": input } })).await.json()
}

/// The payload of a call that must not fail as a whole.
pub(crate) async fn call(actor: &Actor<'_>, tool: &str, arguments: Value) -> Value {
    let reply = called(actor, json!({ "tool": tool, "arguments": arguments })).await;
    assert!(reply["errors"].is_null(), "{tool}: {reply}");
    reply["data"]["mcpToolCall"].clone()
}

/// The text that a tool answers, which must not fail.
pub(crate) async fn text(actor: &Actor<'_>, tool: &str, arguments: Value) -> String {
    let payload = call(actor, tool, arguments).await;
    assert_eq!((&payload["result"]["isError"], &payload["userErrors"]), (&json!(false), &json!([])), "{payload}");
    payload["result"]["text"].as_str().unwrap_or_else(|| panic!("no text: {payload}")).to_owned()
}

/// `mcp` of a selection.
pub(crate) async fn mcp(actor: &Actor<'_>, selection: &str) -> Value {
    let reply = actor.query(&format!("{{ mcp {{ {selection} }} }}")).await.json();
    assert!(reply["errors"].is_null(), "{selection}: {reply}");
    reply["data"]["mcp"].clone()
}

/// Waits until so many servers are well.
pub(crate) async fn until_up(app: &TestApp, count: usize) {
    let up = async || mcp(&app.anon(), "health { up }").await["health"]["up"] == count;
    until("the servers are up", up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_servers_of_both_eras_are_called() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "the tide is out").unwrap();
    let remote = everything_over_http().await;
    let app = TestApp::builder().mcp(json!({
        "everything": McpServer::everything(),
        "far": McpServer::over_http(&remote),
        "files": McpServer::filesystem(folder.path()),
        "memory": McpServer::memory(&folder.path().join("memory.json")),
        "old-time": McpServer::time_legacy(),
        "new-time": McpServer::time_modern(),
    }));
    let app = app.start().await;
    until_up(&app, 6).await;
    let alice = app.alice();
    assert_eq!(text(&alice, "everything__echo", json!({"message": "hi"})).await, "Echo: hi");
    assert_eq!(text(&alice, "far__echo", json!({"message": "over there"})).await, "Echo: over there");
    let path = folder.path().join("a.txt");
    assert_eq!(text(&alice, "read_text_file", json!({"path": path})).await, "the tide is out");
    let entity = json!({"entities": [{"name": "Tide", "entityType": "cat", "observations": ["purrs"]}]});
    call(&alice, "memory__create_entities", entity).await;
    assert!(text(&alice, "search_nodes", json!({"query": "purrs"})).await.contains("Tide"));
    for server in ["old-time", "new-time"] {
        let time = text(&alice, &format!("{server}__get_current_time"), json!({"timezone": "Europe/Berlin"})).await;
        assert!(time.contains("Europe/Berlin"), "{server}: {time}");
    }
    let servers = mcp(&app.admin(), "servers { name transport status version health { era protocolVersion } }").await;
    let eras: Vec<_> = servers["servers"].as_array().unwrap().iter().map(|server| &server["health"]["era"]).collect();
    assert_eq!(eras, ["LEGACY", "LEGACY", "LEGACY", "LEGACY", "MODERN", "LEGACY"], "{servers}");
    let counts = mcp(&app.anon(), "counts { servers tools prompts resources }").await;
    assert!(
        counts["counts"]["tools"].as_i64() > Some(40) && counts["counts"]["prompts"].as_i64() > Some(3),
        "{counts}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_call_is_told_before_anything_is_sent() {
    let app = TestApp::builder().mcp(json!({
        "one": McpServer::faulty(&["--own-tools", "echo,fail,sleep"]),
        "two": McpServer::faulty(&["--own-tools", "echo"]),
    }));
    let app = app.start().await;
    until_up(&app, 2).await;
    let alice = app.alice();
    for (input, code, field, candidates) in [
        (json!({"tool": "echo", "arguments": {"text": "x"}}), "AMBIGUOUS", "tool", json!(["one__echo", "two__echo"])),
        (json!({"tool": "one__ecco"}), "NOT_FOUND", "tool", json!(["one__echo"])),
        (json!({"tool": "nothing-like-it"}), "NOT_FOUND", "tool", json!([])),
        (json!({"tool": "one__echo", "arguments": {"text": 7}}), "BAD_USER_INPUT", "arguments.text", json!([])),
        (json!({"tool": "one__echo"}), "BAD_USER_INPUT", "arguments.text", json!([])),
        (json!({"tool": "one__echo", "arguments": [1]}), "BAD_USER_INPUT", "arguments", json!([])),
        (json!({"tool": "one__echo", "arguments": {"text": "x"}, "runId": "x"}), "BAD_USER_INPUT", "runId", json!([])),
        (json!({"tool": "one__fail", "timeoutMs": 0}), "BAD_USER_INPUT", "timeoutMs", json!([])),
    ] {
        let reply = called(&alice, input.clone()).await;
        let payload = &reply["data"]["mcpToolCall"];
        let error = &payload["userErrors"][0];
        let path: Vec<&str> =
            error["field"].as_array().unwrap().iter().skip(1).map(|part| part.as_str().unwrap()).collect();
        assert_eq!((&error["code"], path.join(".").as_str()), (&json!(code), field), "{input}: {reply}");
        assert_eq!(
            (&error["candidates"], &payload["result"], &payload["runId"]),
            (&candidates, &Value::Null, &Value::Null)
        );
    }
    // A tool that says that it failed is an answer.
    let failed = call(&alice, "fail", json!({"text": "no bread"})).await;
    assert_eq!((&failed["result"]["isError"], &failed["result"]["text"]), (&json!(true), &json!("no bread")));
    let late = called(&alice, json!({"tool": "sleep", "arguments": {"ms": 60_000}, "timeoutMs": 100})).await;
    assert_eq!(late["errors"][0]["extensions"]["code"], "TIMEOUT", "{late}");
    // However often somebody is impatient: that says nothing of the server.
    for _ in 0..30 {
        called(&alice, json!({"tool": "sleep", "arguments": {"ms": 60_000}, "timeoutMs": 1})).await;
    }
    assert_eq!(text(&app.admin(), "one__echo", json!({"text": "well"})).await, "well");
    let anonymous = json!({ "query": CALL, "variables": { "input": {"tool": "fail"} } });
    app.anon().post(&anonymous).await.refused(401, "UNAUTHENTICATED");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_listed_is_what_can_be_called() {
    let server = McpServer::faulty(&["--own-tools", "echo,fail,sleep,garbage"]).with(
        "permissions",
        json!([{"tools": "*", "roles": ["ADMIN"]}, {"tools": "e*", "roles": ["USER"]}, {"tools": "fail", "subjects": ["alice"]}]),
    );
    let app = TestApp::builder().mcp(json!({ "one": server })).start().await;
    until_up(&app, 1).await;
    let bob = app.bearing(Some(app.token("bob", tidegate::model::Role::User, std::time::Duration::from_hours(1))));
    let all = ["one__echo", "one__fail", "one__garbage", "one__sleep"];
    for (who, actor, expected) in [
        ("alice", app.alice(), &["one__echo", "one__fail"][..]),
        ("bob", bob, &["one__echo"]),
        ("admin", app.admin(), &all),
    ] {
        let tools = mcp(&actor, "tools { qualifiedName }").await;
        let listed: Vec<_> = tools["tools"].as_array().unwrap().iter().map(|tool| &tool["qualifiedName"]).collect();
        assert_eq!(listed, expected, "{who}");
        for tool in all {
            let payload = call(&actor, tool, json!({"text": "x", "ms": 1})).await;
            let is_known = payload["userErrors"][0]["code"] != "NOT_FOUND";
            assert_eq!(is_known, expected.contains(&tool), "{who} {tool}: {payload}");
        }
    }
    let public = mcp(&app.anon(), "tools { qualifiedName }").await;
    assert_eq!(public["tools"], json!([{"qualifiedName": "one__echo"}]), "what every signed-in caller may call");
    app.stop().await;
}

const RUNS: &str = "{ mcpToolRuns { nodes { id userId server tool outcome errorCode resultBytes } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_on_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let server = McpServer::faulty(&["--count", count.to_str().unwrap()]);
    let app = TestApp::builder().mcp(json!({ "one": server })).start().await;
    until_up(&app, 1).await;
    let (alice, admin) = (app.alice(), app.admin());
    let keyed = json!({ "query": CALL, "variables": { "input": {"tool": "count", "arguments": {"note": "a"}} },
        "extensions": { "idempotencyKey": "key-1" } });
    let first = alice.post(&keyed).await.json()["data"]["mcpToolCall"].clone();
    assert_eq!((&first["result"]["text"], &first["repeated"]), (&json!("1"), &json!(false)));
    let again = alice.post(&keyed).await.json()["data"]["mcpToolCall"].clone();
    assert_eq!((&again["runId"], &again["repeated"], &again["result"]), (&first["runId"], &json!(true), &Value::Null));
    let mut other = keyed.clone();
    other["variables"]["input"]["arguments"]["note"] = json!("b");
    assert_eq!(alice.post(&other).await.code(), "CONFLICT");
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "a\n", "it was called once");
    call(&alice, "fail", json!({})).await;
    called(&admin, json!({"tool": "sleep", "arguments": {"ms": 60_000}, "timeoutMs": 50})).await;
    let ended = async || {
        let reply = admin.query(RUNS).await.json();
        let nodes = reply["data"]["mcpToolRuns"]["nodes"].as_array().unwrap().clone();
        nodes.len() == 3 && nodes.iter().all(|run| !run["outcome"].is_null())
    };
    until("the ends are recorded", ended).await;
    let reply = admin.query(RUNS).await.json();
    let told: Vec<_> = reply["data"]["mcpToolRuns"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["userId"].clone(), run["tool"].clone(), run["outcome"].clone(), run["errorCode"].clone()))
        .collect();
    let row = |user: &str, tool: &str, outcome: &str, code: Value| (json!(user), json!(tool), json!(outcome), code);
    let expected = [
        row("admin", "sleep", "FAILED", json!("TIMEOUT")),
        row("alice", "fail", "TOOL_ERROR", Value::Null),
        row("alice", "count", "SUCCEEDED", Value::Null),
    ];
    assert_eq!(told, expected);
    let own = alice.query(RUNS).await.json();
    assert_eq!(own["data"]["mcpToolRuns"]["nodes"].as_array().map(Vec::len), Some(2), "{own}");
    let rows = admin.query("{ auditLog(action: \"mcp.tool.call\") { nodes { user resource } } }").await.json();
    assert_eq!(rows["data"]["auditLog"]["nodes"].as_array().map(Vec::len), Some(3), "{rows}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_followed_from_its_beginning_by_its_caller_alone() {
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&[]) })).start().await;
    until_up(&app, 1).await;
    let run = Uuid::now_v7().to_string();
    let document = format!("subscription {{ mcpToolProgress(runId: {run:?}) {{ progress total message finished }} }}");
    let (alice, admin) = (app.alice(), app.admin());
    let (mut hers, mut theirs) = (alice.connect().await, admin.connect().await);
    for socket in [&mut hers, &mut theirs] {
        socket.send(subscribe("1", &document)).await;
        // What is sent on a socket is taken in in its order.
        socket.send(json!({"type": "ping"})).await;
        assert_eq!(socket.message().await["type"], "pong");
    }
    let progress = json!({"tool": "progress", "arguments": {"steps": 3, "ms": 50}, "runId": run});
    let reply = called(&alice, progress).await;
    assert_eq!(reply["data"]["mcpToolCall"]["runId"], json!(run), "{reply}");
    let mut heard = Vec::new();
    loop {
        let message = hers.message().await;
        if message["type"] == "complete" {
            break;
        }
        heard.push(message["payload"]["data"]["mcpToolProgress"].clone());
    }
    assert_eq!(heard.last().unwrap()["finished"], true, "{heard:?}");
    let steps: Vec<_> = heard.iter().filter(|news| news["finished"] == false).map(|news| &news["progress"]).collect();
    // The last one may cross with the answer.
    assert!(steps.starts_with(&[&json!(1.0), &json!(2.0)]) && steps.len() <= 3, "{heard:?}");
    // Nobody else heard of it: the next thing they are told is of a call of their own.
    let again = called(&admin, json!({"tool": "echo", "arguments": {"text": "x"}, "runId": run})).await;
    assert_eq!(again["data"]["mcpToolCall"]["userErrors"][0]["field"], json!(["input", "runId"]), "{again}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_tools_that_only_read_are_kept_for_whom_they_may_be() {
    let kept = json!({"process": 60, "count": 60});
    let server = |private: bool| {
        McpServer::faulty(&["--count", "count"]).with("cacheSeconds", kept.clone()).with("cachePrivate", private)
    };
    let app = TestApp::builder().mcp(json!({ "for-all": server(false), "for-one": server(true) })).start().await;
    until_up(&app, 2).await;
    let (alice, admin) = (app.alice(), app.admin());
    let first = call(&alice, "for-all__process", json!({})).await;
    assert!(first["runId"].is_string());
    for actor in [&alice, &admin] {
        let again = call(actor, "for-all__process", json!({})).await;
        assert_eq!((&again["runId"], &again["result"]["text"]), (&Value::Null, &first["result"]["text"]), "{again}");
    }
    let mine = call(&alice, "for-one__process", json!({})).await;
    let theirs = call(&admin, "for-one__process", json!({})).await;
    assert_ne!(mine["result"]["text"], theirs["result"]["text"], "each has a session of their own, and a result");
    // What changes something is made each time.
    assert_eq!(text(&alice, "for-all__count", json!({})).await, "1");
    assert_eq!(text(&alice, "for-all__count", json!({})).await, "2");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_a_caller_reaches_a_server() {
    let remote = faulty_over_http(&[]).await;
    let server = McpServer::over_http(&remote).with("headers", json!({"X-Team": "tide"}));
    let app = TestApp::builder().mcp(json!({ "far": server, "near": McpServer::faulty(&[]) })).start().await;
    until_up(&app, 2).await;
    let alice = app.alice();
    for (header, expected) in [("Authorization", "not set"), ("X-Team", "set"), ("Cookie", "not set")] {
        assert_eq!(text(&alice, "far__secret_header", json!({"name": header})).await, expected, "{header}");
    }
    for (variable, expected) in [("PATH", "set"), ("CARGO_MANIFEST_DIR", "not set"), ("TIDEGATE_X", "not set")] {
        assert_eq!(text(&alice, "near__secret_env", json!({"name": variable})).await, expected, "{variable}");
    }
    app.stop().await;
}

/// What the sandbox has to show where nothing is set: its documents are the tools of its own `/mcp`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_of_the_sandbox_are_tools() {
    let folder = tempfile::tempdir().unwrap();
    let documents = tidegate::sandbox::write_documents(folder.path()).unwrap();
    let far = TestApp::builder().config(|config| config.graphql.trusted_documents = Some(documents)).start().await;
    let file = tidegate::sandbox::write_servers(folder.path(), far.address).unwrap();
    let app = TestApp::builder().config(|config| config.mcp.servers_file = Some(file)).start().await;
    until_up(&app, 1).await;
    let tools = mcp(&app.anon(), "tools { name }").await;
    let names = ["add_memory", "chain_balance", "crypto_prices", "swap_quotes"].map(|name| json!({ "name": name }));
    assert_eq!(tools["tools"], json!(names));
    let prices = text(&app.alice(), "crypto_prices", json!({"coins": ["bitcoin"]})).await;
    assert!(prices.contains("\"coin\":\"bitcoin\""), "{prices}");
    // The token of who calls is not passed on: there, nobody is signed in.
    let memory = call(&app.alice(), "add_memory", json!({"content": "x"})).await;
    assert_eq!(memory["result"]["isError"], true, "{memory}");
    app.stop().await;
    far.stop().await;
}
