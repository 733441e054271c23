//! MCP servers by the front door: registering, faults, definitions that change, and nothing left behind.

use std::fs;

use serde_json::{Value, json};

use crate::{
    harness::{
        Actor, McpServer, TestApp,
        mcp::{running, signal_all},
        subscribe, until,
    },
    mcp_calls::{call, called, mcp, text, until_up},
};

const SERVERS: &str = "servers { id name status enabled health { lastError stderrTail sessions } }";

pub(crate) async fn server(actor: &Actor<'_>, name: &str) -> Value {
    let found = mcp(actor, SERVERS).await;
    let servers = found["servers"].as_array().unwrap();
    servers.iter().find(|server| server["name"] == name).unwrap_or_else(|| panic!("no {name}: {found}")).clone()
}

/// Waits until what is said to be wrong with a server has these words.
async fn until_said(app: &TestApp, name: &str, words: &str) {
    let admin = app.admin();
    let said = async || {
        let server = server(&admin, name).await;
        server["status"] == "DOWN" && server["health"]["lastError"].as_str().is_some_and(|error| error.contains(words))
    };
    until(&format!("{name} is said to be down: {words}"), said).await;
}

pub(crate) async fn change(actor: &Actor<'_>, mutation: &str, input: Value) -> Value {
    let kind = if mutation == "mcpToolApprove" {
        "McpToolApproveInput".to_owned()
    } else {
        match mutation {
            "mcpServerRegister" | "mcpServerUpdate" => format!("M{}Input", &mutation[1..]),
            _ => "McpServerInput".to_owned(),
        }
    };
    let answer = if mutation == "mcpServerRemove" { "removedId" } else { "server { id name status enabled config }" };
    let document = format!(
        "mutation ($input: {kind}!) {{ {mutation}(input: $input) {{ {answer} userErrors {{ code field message }} }} }}"
    );
    let reply = actor.post(&json!({ "query": document, "variables": { "input": input } })).await.json();
    assert!(reply["errors"].is_null(), "{mutation}: {reply}");
    reply["data"][mutation].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_registered_changed_disabled_and_removed() {
    let app = TestApp::builder().mcp(json!({ "from-file": McpServer::faulty(&["--own-tools", "echo"]) }));
    let app = app.config(|config| config.mcp.commands = vec!["node".to_owned()]).start().await;
    let (admin, alice) = (app.admin(), app.alice());
    let config = |flags: &[&str]| serde_json::to_value(McpServer::faulty(flags)).unwrap();
    let made =
        change(&admin, "mcpServerRegister", json!({"name": "mine", "config": config(&["--own-tools", "sleep"])})).await;
    let id = made["server"]["id"].clone();
    assert_eq!((&made["userErrors"], &made["server"]["name"]), (&json!([]), &json!("mine")));
    until_up(&app, 2).await;
    assert_eq!(text(&alice, "mine__sleep", json!({"ms": 1})).await, "awake");
    bad_drafts_are_refused(&admin).await;
    // A call that is under way ends with the old configuration, the next one begins with the new one.
    let (slow, changed) = tokio::join!(
        text(&alice, "mine__sleep", json!({"ms": 500})),
        change(&admin, "mcpServerUpdate", json!({"id": id, "config": config(&["--own-tools", "sleep,fail"])})),
    );
    assert_eq!((slow.as_str(), &changed["userErrors"]), ("awake", &json!([])));
    let has_new_tool = async || call(&alice, "mine__fail", json!({})).await["result"]["isError"] == true;
    until("the new configuration has its tool", has_new_tool).await;
    let disabled = change(&admin, "mcpServerDisable", json!({"id": id})).await;
    assert_eq!(disabled["server"]["enabled"], false);
    let gone = async || call(&alice, "mine__sleep", json!({"ms": 1})).await["userErrors"][0]["code"] == "NOT_FOUND";
    until("a disabled server has no tools", gone).await;
    change(&admin, "mcpServerEnable", json!({"id": id})).await;
    until_up(&app, 2).await;
    let file = server(&admin, "from-file").await["id"].clone();
    let refused = change(&admin, "mcpServerRemove", json!({"id": file})).await;
    assert_eq!(refused["userErrors"][0]["code"], "FROM_FILE");
    let removed = change(&admin, "mcpServerRemove", json!({"id": id})).await;
    assert_eq!(removed["removedId"], id);
    let missing = change(&admin, "mcpServerCheck", json!({"id": id})).await;
    assert_eq!(missing["userErrors"][0]["code"], "NOT_FOUND");
    let actions = admin.query("{ auditLog { nodes { action } } }").await.json();
    for action in
        ["mcp.server.register", "mcp.server.update", "mcp.server.disable", "mcp.server.enable", "mcp.server.remove"]
    {
        assert!(actions.to_string().contains(action), "{action}: {actions}");
    }
    let document = json!({"query": "mutation { mcpServerRemove(input: {id: \"x\"}) { removedId } }"});
    alice.post(&document).await.refused(403, "FORBIDDEN");
    app.stop().await;
}

/// What is wrong with a registration, of which there is one named `mine`.
async fn bad_drafts_are_refused(admin: &Actor<'_>) {
    let config = |flags: &[&str]| serde_json::to_value(McpServer::faulty(flags)).unwrap();
    for (input, code, field) in [
        (json!({"name": "mine", "config": config(&[])}), "NAME_TAKEN", json!(["input", "name"])),
        (json!({"name": "Not Good", "config": config(&[])}), "BAD_USER_INPUT", json!(["input", "name"])),
        (
            json!({"name": "x", "config": {"command": "rm", "args": ["-rf"]}}),
            "BAD_USER_INPUT",
            json!(["input", "config", "command"]),
        ),
        (json!({"name": "x", "config": {"url": "ftp://a"}}), "BAD_USER_INPUT", json!(["input", "config", "url"])),
        (
            json!({"name": "x", "config": {"command": "node", "env": {"PATH": "/evil"}}}),
            "BAD_USER_INPUT",
            json!(["input", "config", "env"]),
        ),
        (
            json!({"name": "x", "config": {"command": "node", "env": {"Node_Options": "--require x"}}}),
            "BAD_USER_INPUT",
            json!(["input", "config", "env"]),
        ),
        (
            json!({"name": "x", "config": {"command": "node", "env": {"A_TOKEN": "x"}}}),
            "BAD_USER_INPUT",
            json!(["input", "config", "env"]),
        ),
    ] {
        let refused = change(admin, "mcpServerRegister", input.clone()).await;
        let error = &refused["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["field"], &refused["server"]),
            (&json!(code), &field, &Value::Null),
            "{input}"
        );
    }
}

/// Each kind of misbehaviour, beside a server that is well; what is said of it is in words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_server_is_said_in_words_and_harms_no_other() {
    let app = TestApp::builder().mcp(json!({
        "well": McpServer::faulty(&["--own-tools", "echo"]),
        "exits": McpServer::faulty(&["--exit-on-start"]),
        "hangs": McpServer::faulty(&["--hang-on-start"]),
        "no-list": McpServer::faulty(&["--no-answer-to-list"]),
        "missing": json!({"command": "/no/such/program"}),
        "far": json!({"url": "http://127.0.0.1:1/mcp"}),
        "odd": McpServer::faulty(&["--own-tools", "big,garbage,wrong_id,silent,exit,flood"]),
        "without-secret": json!({"command": "node", "envFrom": ["NOT_PERMITTED"]}),
    }));
    let app = app
        .config(|config| {
            config.mcp.start_timeout_ms = 500;
            config.mcp.call_timeout_ms = 1_000;
            config.mcp.max_message_bytes = 100_000;
        })
        .start()
        .await;
    let (alice, admin) = (app.alice(), app.admin());
    for (name, words) in [
        ("exits", "exited with status 1"),
        ("hangs", "did not answer in time"),
        ("no-list", "did not answer in time"),
        ("missing", "cannot be started"),
        ("far", ""),
        ("without-secret", "NOT_PERMITTED"),
    ] {
        until_said(&app, name, words).await;
    }
    assert!(server(&admin, "exits").await["health"]["stderrTail"].to_string().contains("Error"));
    until_up(&app, 2).await;
    assert_eq!(text(&alice, "odd__garbage", json!({})).await, "after garbage");
    assert_eq!(text(&alice, "odd__flood", json!({"lines": 5_000})).await, "flooded");
    for (tool, arguments, code, words) in [
        ("odd__silent", json!({}), "TIMEOUT", "in time"),
        ("odd__wrong_id", json!({}), "TIMEOUT", "in time"),
        ("odd__exit", json!({"code": 7}), "UPSTREAM_UNAVAILABLE", "cannot be asked"),
        ("odd__exit", json!({"half": true}), "UPSTREAM_UNAVAILABLE", "cannot be asked"),
        ("odd__big", json!({"bytes": 100_000_000}), "UPSTREAM_UNAVAILABLE", "cannot be asked"),
    ] {
        let reply = called(&alice, json!({"tool": tool, "arguments": arguments})).await;
        let error = &reply["errors"][0];
        assert_eq!(error["extensions"]["code"], code, "{tool}: {reply}");
        assert!(error["message"].as_str().unwrap().contains(words), "{tool}: {reply}");
        assert_eq!(text(&alice, "well__echo", json!({"text": "still here"})).await, "still here");
    }
    // Why it died is for operators.
    let runs = admin.query("{ mcpToolRuns(tool: \"big\") { nodes { errorCode } } }").await.json();
    assert_eq!(runs["data"]["mcpToolRuns"]["nodes"][0]["errorCode"], "UNAVAILABLE", "{runs}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_changes_is_shown_and_held_where_its_effects_change() {
    let folder = tempfile::tempdir().unwrap();
    let (definitions, pids) = (folder.path().join("tools.json"), folder.path().join("pids"));
    let define = |description: &str, reads: bool| {
        let tool = json!([{ "name": "note", "description": description, "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": reads} }]);
        fs::write(&definitions, tool.to_string()).unwrap();
    };
    define("takes a note", true);
    let flags =
        ["--own-tools", "none", "--tools-file", definitions.to_str().unwrap(), "--pid-file", pids.to_str().unwrap()];
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&flags) })).start().await;
    until_up(&app, 1).await;
    let (alice, admin) = (app.alice(), app.admin());
    let mut socket = alice.connect().await;
    socket.send(subscribe("1", "subscription { mcpServerEvents { name kind } }")).await;
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.message().await["type"], "pong");
    call(&alice, "note", json!({})).await;
    let tell = || signal_all(&pids, "USR1");
    let fields = "tools { description definitionChangedAt definitionChanges { field before after } fingerprint }";
    define("takes a note, and more", true);
    tell();
    let shown = async || {
        let tools = mcp(&alice, fields).await;
        tools["tools"][0]["definitionChanges"]
            == json!([{"field": "description", "before": "takes a note", "after": "takes a note, and more"}])
    };
    until("the change is shown", shown).await;
    assert_eq!(socket.message().await["payload"]["data"]["mcpServerEvents"]["kind"], "CATALOGUE_CHANGED");
    assert!(call(&alice, "note", json!({})).await["result"].is_object(), "words alone hold nothing");
    define("takes a note, and more", false);
    tell();
    let held = async || call(&alice, "note", json!({})).await["userErrors"][0]["code"] == "NEEDS_APPROVAL";
    until("the tool waits for approval", held).await;
    assert_eq!(mcp(&alice, fields).await["tools"], json!([]), "what cannot be called is not listed");
    let server = server(&admin, "one").await;
    let pending = mcp(&admin, "servers { pendingTools { name fingerprint needsApproval } }").await;
    let fingerprint = pending["servers"][0]["pendingTools"][0]["fingerprint"].clone();
    let wrong = json!({"serverId": server["id"], "tool": "note", "fingerprint": "0".repeat(64)});
    assert_ne!(change(&admin, "mcpToolApprove", wrong).await["userErrors"], json!([]));
    let right = json!({"serverId": server["id"], "tool": "note", "fingerprint": fingerprint});
    assert_eq!(change(&admin, "mcpToolApprove", right).await["userErrors"], json!([]));
    let callable = async || call(&alice, "note", json!({})).await["result"].is_object();
    until("it can be called again", callable).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_catalogue_is_not_believed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (flags_file, pids) = (folder.path().join("flags"), folder.path().join("pids"));
    let flags = ["--flags-file", flags_file.to_str().unwrap(), "--pid-file", pids.to_str().unwrap()];
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&flags) })).start().await;
    until_up(&app, 1).await;
    let alice = app.alice();
    let listed = async || mcp(&alice, "tools { name }").await["tools"].as_array().unwrap().len();
    let before = listed().await;
    assert!(before > 5);
    fs::write(&flags_file, "--own-tools none\n").unwrap();
    signal_all(&pids, "USR1");
    // It takes three looks, half a second apart.
    assert_eq!(listed().await, before);
    until("the empty catalogue is confirmed", async || listed().await == 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_server_outlives_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let flags = ["--fork-child", "--ignore-sigterm", "--pid-file", pids.to_str().unwrap()];
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&flags) }));
    let app = app.config(|config| config.mcp.idle_seconds = 1).start().await;
    until_up(&app, 1).await;
    let alice = app.alice();
    text(&alice, "echo", json!({"text": "x"})).await;
    let several = running(&pids).len();
    assert!(several >= 4, "ours and alice's, with a child each: {several}");
    until("sessions that nobody uses have ended", async || running(&pids).is_empty()).await;
    let status = server(&app.admin(), "one").await;
    assert_eq!(status["status"], "UP", "to rest is not to be down: {status}");
    text(&alice, "echo", json!({"text": "awake"})).await;
    app.stop().await;
    assert!(running(&pids).is_empty(), "nothing outlives the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_subject_has_a_session_unless_the_server_remembers_nobody() {
    let app = TestApp::builder().mcp(json!({
        "remembers": McpServer::faulty(&[]),
        "forgets": McpServer::faulty(&[]).with("stateless", true),
        "modern": McpServer::faulty(&["--era", "modern"]),
    }));
    let app = app.start().await;
    until_up(&app, 3).await;
    let (alice, admin) = (app.alice(), app.admin());
    for (server, shared) in [("remembers", false), ("forgets", true), ("modern", true)] {
        let tool = format!("{server}__process");
        let (hers, theirs) = (text(&alice, &tool, json!({})).await, text(&admin, &tool, json!({})).await);
        assert_eq!(hers == theirs, shared, "{server}");
        assert_eq!(text(&alice, &tool, json!({})).await, hers, "{server}: a session is kept");
    }
    app.stop().await;
}
