//! What stands when things change: whose word counts, who gives way, who may know, and what is never told.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tidegate::model::Role;

use crate::{
    harness::{
        Actor, McpServer, TestApp,
        mcp::{faulty_over_http, running, signal_all, started},
        until,
    },
    mcp_calls::{call, called, mcp, text, until_up},
    mcp_servers::{change, server},
};

fn config(flags: &[&str]) -> Value {
    serde_json::to_value(McpServer::faulty(flags)).unwrap()
}

async fn names(actor: &Actor<'_>) -> Vec<String> {
    let found = mcp(actor, "tools { qualifiedName }").await;
    let tools = found["tools"].as_array().unwrap().iter();
    tools.map(|tool| tool["qualifiedName"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_configuration_has_no_say_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (pids, flags) = (folder.path().join("pids"), folder.path().join("flags"));
    let app = TestApp::builder().mcp(json!({})).config(|config| {
        config.mcp.commands = vec!["node".to_owned()];
        config.mcp.health_seconds = 1;
    });
    let app = app.start().await;
    let (admin, alice) = (app.admin(), app.alice());
    let old = ["--pid-file", pids.to_str().unwrap(), "--flags-file", flags.to_str().unwrap()];
    let made = change(&admin, "mcpServerRegister", json!({"name": "one", "config": config(&old)})).await;
    let id = made["server"]["id"].clone();
    until_up(&app, 1).await;
    let slow = call(&alice, "one__sleep", json!({"ms": 3_000}));
    let update = async {
        until("the call has begun", async || started(&pids).len() > 1).await;
        let new = config(&["--own-tools", "echo,fail"]);
        change(&admin, "mcpServerUpdate", json!({"id": id, "config": new})).await;
        until("the new ones are there", async || names(&alice).await == ["one__echo", "one__fail"]).await;
        // The old one goes on, and says that it has other tools.
        fs::write(&flags, "--own-tools big\n").unwrap();
        signal_all(&pids, "USR1");
    };
    let (slow, ()) = tokio::join!(slow, update);
    assert_eq!(slow["result"]["text"], "awake", "a call ends with the configuration that it began with");
    until("the old one has gone", async || running(&pids).is_empty()).await;
    assert_eq!(names(&alice).await, ["one__echo", "one__fail"]);
    assert_eq!(text(&alice, "one__echo", json!({"text": "x"})).await, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_a_look_is_not_told_what_was_known_before() {
    let node = faulty_over_http(&[]).await;
    let app = TestApp::builder().mcp(json!({ "far": McpServer::over_http(&node) })).config(|config| {
        config.mcp.idle_seconds = 1;
        config.mcp.health_seconds = 3_600;
    });
    let app = app.start().await;
    until_up(&app, 1).await;
    let id = server(&app.admin(), "far").await["id"].clone();
    node.kill();
    let looked = async || change(&app.admin(), "mcpServerCheck", json!({"id": id})).await["server"]["status"].take();
    until("it is found to be down", async || looked().await == "DOWN").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_looked_at_however_long_it_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let (pids, flags) = (folder.path().join("pids"), folder.path().join("flags"));
    fs::write(&flags, "--own-tools echo\n").unwrap();
    let told = ["--pid-file", pids.to_str().unwrap(), "--flags-file", flags.to_str().unwrap()];
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&told) })).config(|config| {
        config.mcp.idle_seconds = 1;
        config.mcp.health_seconds = 3_600;
    });
    let app = app.start().await;
    until_up(&app, 1).await;
    let alice = app.alice();
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(text(&alice, "echo", json!({"text": "x"})).await, "x");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fs::write(&flags, "--own-tools echo,fail\n").unwrap();
    signal_all(&pids, "USR1");
    until("the new tool is there", async || names(&alice).await == ["one__echo", "one__fail"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_rests_gives_way_where_no_more_processes_may_run() {
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&[]), "two": McpServer::faulty(&[]) }));
    let app = app.config(|config| config.mcp.max_processes = 3).start().await;
    until_up(&app, 2).await;
    let subject = |name: &str| app.bearing(Some(app.token(name, Role::User, Duration::from_hours(1))));
    assert_eq!(text(&subject("alice"), "one__echo", json!({"text": "x"})).await, "x");
    for name in ["bob", "carol"] {
        assert_eq!(text(&subject(name), "two__echo", json!({"text": "x"})).await, "x", "{name} waits for who rests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_server_that_answers_is_said_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.json");
    let tool = |number: u32| json!({"name": format!("t{number}"), "inputSchema": {"type": "object"}});
    fs::write(&file, json!((0..1_001).map(tool).collect::<Vec<_>>()).to_string()).unwrap();
    let flags = ["--own-tools", "none", "--tools-file", file.to_str().unwrap()];
    let servers =
        json!({ "full": McpServer::faulty(&flags), "one": McpServer::faulty(&[]), "two": McpServer::faulty(&[]) });
    let app = TestApp::builder().mcp(servers).config(|config| config.mcp.max_processes = 2).start().await;
    let admin = app.admin();
    let said = async |words: &str| {
        let found = mcp(&admin, "servers { name health { lastError } }").await;
        found["servers"].as_array().unwrap().iter().any(|server| server.to_string().contains(words))
    };
    // Whichever has no place waits for the next look; the crowded one has one, or is told of it.
    until("somebody has no place", async || said("mcp.max_processes").await).await;
    let waits = server(&admin, "full").await.to_string().contains("mcp.max_processes");
    if waits {
        let id = server(&admin, "one").await["id"].clone();
        change(&admin, "mcpServerDisable", json!({"id": id})).await;
        let id = server(&admin, "full").await["id"].clone();
        change(&admin, "mcpServerCheck", json!({"id": id})).await;
    }
    until("the other cannot be kept", async || said("more than 1000").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_take_longer_than_other_operations() {
    let app = TestApp::builder().mcp(json!({ "one": McpServer::faulty(&[]) })).config(|config| {
        config.graphql.execution_timeout_ms = 500;
        config.mcp.call_timeout_ms = 3_000;
    });
    let app = app.start().await;
    until_up(&app, 1).await;
    assert_eq!(text(&app.alice(), "sleep", json!({"ms": 1_500})).await, "awake");
    let reply = called(&app.alice(), json!({"tool": "sleep", "arguments": {"ms": 60_000}})).await;
    assert_eq!(reply["errors"][0]["extensions"]["code"], "TIMEOUT", "{reply}");
    let run = "{ mcpToolRuns(first: 1) { nodes { outcome errorCode } } }";
    let ended = async || {
        let run = app.alice().query(run).await.json()["data"]["mcpToolRuns"]["nodes"][0].take();
        run == json!({"outcome": "FAILED", "errorCode": "TIMEOUT"})
    };
    until("it is on record that the server was too slow, and not that somebody left", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_which_nobody_may_call_anything_does_not_show() {
    let rules = json!([{ "tools": "*", "roles": ["ADMIN"] }]);
    let secret = McpServer::faulty(&["--own-tools", "echo"]).with("permissions", rules);
    let app = TestApp::builder().mcp(json!({ "open": McpServer::faulty(&["--own-tools", "fail"]), "secret": secret }));
    let app = app.start().await;
    let all = "mcpServers { nodes { id name } }";
    let of = async |actor: &Actor<'_>| {
        let nodes = actor.query(&format!("{{ {all} }}")).await.json()["data"]["mcpServers"]["nodes"].take();
        nodes.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let known = async || {
        let found = app.admin().query("{ mcp { tools { name } } }").await.json();
        found["data"]["mcp"]["tools"].as_array().is_some_and(|tools| tools.len() == 2)
    };
    until("both are known", known).await;
    assert_eq!(
        (of(&app.admin()).await, of(&app.alice()).await),
        (vec!["open".into(), "secret".into()], vec!["open".into()])
    );
    let shown = mcp(&app.anon(), "servers { name } counts { servers tools } health { up }").await;
    let expected = json!({"servers": [{"name": "open"}], "counts": {"servers": 1, "tools": 1}, "health": {"up": 1}});
    assert_eq!(shown, expected);
    let oracle = app.alice().query("{ mcp(tool: \"echo\") { servers { name } counts { tools } } }").await.json();
    assert_eq!(oracle["data"]["mcp"], json!({"servers": [], "counts": {"tools": 0}}));
    for field in ["prompts { name }", "resources { uri }"] {
        let refused = app.anon().query(&format!("{{ mcp {{ servers {{ {field} }} }} }}")).await.json();
        assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relative_program_is_does_not_depend_on_a_folder() {
    let app =
        TestApp::builder().mcp(json!({})).config(|config| config.mcp.commands = vec!["*".to_owned()]).start().await;
    for config in [
        json!({"command": "bin/server", "cwd": "/tmp"}),
        json!({"command": "./server"}),
        json!({"command": "node", "env": {"HOME": "/tmp"}}),
        json!({"command": "java", "env": {"_JAVA_OPTIONS": "-javaagent:x.jar"}}),
        json!({"url": "http://127.0.0.1:1/mcp", "headers": {"Transfer-Encoding": "chunked"}}),
    ] {
        let refused = change(&app.admin(), "mcpServerRegister", json!({"name": "odd", "config": config})).await;
        assert_eq!(refused["userErrors"].as_array().map(Vec::len), Some(1), "{config}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_result_is_of_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::builder().mcp(json!({})).config(|config| config.mcp.commands = vec!["node".to_owned()]);
    let app = app.start().await;
    let configured = |words: &str| {
        let file = folder.path().join(words);
        let tool = json!({"name": "x", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
        let mut tool = tool.as_object().unwrap().clone();
        tool.insert("x-answer".into(), json!({"content": [{"type": "text", "text": words}]}));
        fs::write(&file, json!([tool]).to_string()).unwrap();
        let server = McpServer::faulty(&["--own-tools", "none", "--tools-file", file.to_str().unwrap()]);
        serde_json::to_value(server.with("cacheSeconds", json!({"x": 600}))).unwrap()
    };
    let (admin, alice) = (app.admin(), app.alice());
    let made = change(&admin, "mcpServerRegister", json!({"name": "one", "config": configured("old")})).await;
    until_up(&app, 1).await;
    assert_eq!(text(&alice, "one__x", json!({})).await, "old");
    assert_eq!(call(&alice, "one__x", json!({})).await["runId"], Value::Null, "it is kept");
    let id = made["server"]["id"].clone();
    change(&admin, "mcpServerUpdate", json!({"id": id, "config": configured("new")})).await;
    assert_eq!(text(&alice, "one__x", json!({})).await, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_server_was_given_is_not_told_again() {
    // Of the variables that a test has, one whose value the server's last words have in them: where it is.
    let (variable, secret) = ("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"));
    let server_of = McpServer::faulty(&["--exit-on-start"]).with("envFrom", json!([variable]));
    let app = TestApp::builder().mcp(json!({ "one": server_of })).config(|config| {
        config.mcp.environment = vec![variable.to_owned()];
    });
    let app = app.start().await;
    let admin = app.admin();
    until("it is down", async || server(&admin, "one").await["status"] == "DOWN").await;
    let told = server(&admin, "one").await.to_string();
    assert!(told.contains("[redacted]/tests/mcp/faulty") && !told.contains(secret), "{told}");
}
