//! The harness itself: that the MCP servers which the other tests start are there, and misbehave as they are told.
//!
//! Speaks to them without the SDK, so that nothing is between a test and what they say.

use std::{fs, process::ExitStatus, time::Duration};

use reqwest::{RequestBuilder, header::ACCEPT};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::harness::{
    McpServer, Node, PATIENCE, TestApp, inhabitants,
    mcp::{everything_over_http, faulty_over_http, running, started},
    scratch, signal, until,
};

/// Longer than an answer takes on a busy machine, shorter than patience.
const MOMENT: Duration = Duration::from_millis(300);

fn modern(mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params
}

fn handshake() -> Value {
    json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
}

/// A server, spoken to line by line.
struct Talk {
    child: Child,
    /// None once it is closed.
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    /// What it said that was no answer.
    unasked: Vec<Value>,
}

impl Talk {
    fn start(server: &McpServer) -> Self {
        let mut child = Command::from(server.command()).kill_on_drop(true).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), child, output, next_id: 1, unasked: Vec::new() }
    }

    /// One that has shaken hands.
    async fn greet(server: &McpServer) -> Self {
        let mut talk = Self::start(server);
        talk.ask("initialize", handshake()).await;
        talk.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        talk
    }

    async fn say(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.input.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    async fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    /// The next line; none at the end.
    async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.output.next_line()).await.expect("it says something").unwrap()
    }

    async fn message(&mut self) -> Value {
        serde_json::from_str(&self.line().await.unwrap()).unwrap()
    }

    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let line = self.line().await.expect("it answers before its end");
            let mut message: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if message["id"] == id {
                let body = if message["error"].is_object() { "error" } else { "result" };
                return message[body].take();
            }
            self.unasked.push(message);
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The text that a tool answers with.
    async fn text(&mut self, tool: &str, arguments: Value) -> String {
        text(&self.call(tool, arguments).await)
    }

    async fn tools(&mut self) -> Vec<String> {
        names(&self.ask("tools/list", json!({})).await)
    }

    /// Whether it says nothing for a moment, and does not end either.
    async fn is_mute(&mut self) -> bool {
        timeout(MOMENT, self.output.next_line()).await.is_err()
    }

    fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    async fn end(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }

    async fn last_words(&mut self) -> String {
        let mut words = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut words).await.unwrap();
        words
    }
}

fn text(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
}

fn names(list: &Value) -> Vec<String> {
    let tools = list["tools"].as_array().unwrap_or_else(|| panic!("{list}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn real_servers_answer() {
    let folder = scratch();
    let path = folder.path().join("memory.jsonl");
    let (file, dir) = (path.display().to_string(), folder.path().display().to_string());
    let entity = json!({"entities": [{"name": "tide", "entityType": "thing", "observations": []}]});
    let berlin = json!({"timezone": "Europe/Berlin"});
    let (mut legacy, mut both) = (McpServer::time_legacy(), McpServer::time_modern());
    (legacy, both) = (legacy.variable("TZ", "UTC"), both.variable("TZ", "UTC"));
    for (server, name, tool, arguments, expected) in [
        (McpServer::everything(), "mcp-servers/everything", "echo", json!({"message": "hi"}), "Echo: hi"),
        (
            McpServer::filesystem(folder.path()),
            "secure-filesystem-server",
            "list_allowed_directories",
            json!({}),
            &*dir,
        ),
        (McpServer::memory(&path), "memory-server", "create_entities", entity, "tide"),
        (legacy, "mcp-time", "get_current_time", berlin.clone(), "Europe/Berlin"),
        (both, "mcp-time", "get_current_time", berlin, "Europe/Berlin"),
    ] {
        let mut talk = Talk::start(&server);
        let hello = talk.ask("initialize", handshake()).await;
        assert_eq!(hello["serverInfo"]["name"], name);
        talk.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert!(talk.tools().await.contains(&tool.to_owned()), "{name}");
        let answer = talk.text(tool, arguments).await;
        assert!(answer.contains(expected), "{name}: {answer}");
    }
    assert!(fs::read_to_string(file).unwrap().contains("tide"), "it was told where to keep what it is told");
}

#[tokio::test]
async fn the_eras_are_told_apart() {
    let era = |era| McpServer::faulty(&["--era", era]);
    for (server, handshakes, discovers) in [
        (McpServer::time_legacy(), true, false),
        (McpServer::time_modern(), true, true),
        (era("legacy"), true, false),
        (era("modern"), false, true),
        (era("both"), true, true),
    ] {
        // A connection is of one era.
        let (mut old, mut new) = (Talk::start(&server), Talk::start(&server));
        let shaken = old.ask("initialize", handshake()).await;
        assert_eq!(shaken["protocolVersion"] == "2025-11-25", handshakes, "{shaken}");
        let discovered = new.ask("server/discover", modern(json!({}))).await;
        assert_eq!(discovered["supportedVersions"] == json!(["2026-07-28"]), discovers, "{discovered}");
        if discovers {
            let list = new.ask("tools/list", modern(json!({}))).await;
            assert_eq!(list["resultType"], "complete");
            assert!(!names(&list).is_empty());
        }
    }
}

#[tokio::test]
async fn faulty_tools_do_what_they_are_for() {
    let folder = scratch();
    let count = folder.path().join("count");
    let server = McpServer::faulty(&["--count", &count.display().to_string()]).variable("A_SECRET", "x");
    let mut talk = Talk::greet(&server).await;
    for (tool, arguments, expected) in [
        ("echo", json!({"text": "hello"}), "hello"),
        ("count", json!({"note": "first"}), "1"),
        ("count", json!({}), "2"),
        ("sleep", json!({"ms": 1}), "awake"),
        ("garbage", json!({}), "after garbage"),
        ("secret_env", json!({"name": "A_SECRET"}), "set"),
        ("secret_env", json!({"name": "ANOTHER_SECRET"}), "not set"),
        ("secret_header", json!({"name": "authorization"}), "not set"),
        ("process", json!({}), &talk.id().to_string()),
    ] {
        assert_eq!(talk.text(tool, arguments).await, expected, "{tool}");
    }
    assert_eq!(talk.unasked, ["listening on stdio, have fun"]);
    assert_eq!(fs::read_to_string(&count).unwrap(), "first\ncalled\n");
    let failed = talk.call("fail", json!({"text": "no"})).await;
    assert_eq!((&failed["isError"], text(&failed)), (&json!(true), "no".to_owned()));
    assert_eq!(talk.call("nothing", json!({})).await["code"], -32602);

    let mut another = Talk::greet(&server).await;
    assert_eq!(another.text("count", json!({})).await, "3", "it is counted beyond one process");
    let exits = another.send("tools/call", json!({"name": "exit", "arguments": {"code": 3, "half": true}})).await;
    let half = another.line().await.unwrap();
    assert!(half.starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{exits}")) && !half.ends_with('}'), "{half}");
    assert_eq!((another.line().await, another.end().await.code()), (None, Some(3)));
}

#[tokio::test]
async fn faulty_tools_keep_one_waiting_or_busy() {
    let folder = scratch();
    let heard = folder.path().join("heard");
    let mut talk = Talk::greet(&McpServer::faulty(&["--heard", &heard.display().to_string()])).await;
    talk.send("tools/call", json!({"name": "silent"})).await;
    let slow = talk.send("tools/call", json!({"name": "sleep", "arguments": {"ms": 60_000}})).await;
    talk.say(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": slow}})).await;
    assert!(talk.is_mute().await);
    let told = fs::read_to_string(&heard).unwrap();
    assert!(
        told.ends_with(&format!("tools/call silent\ntools/call sleep\nnotifications/cancelled {slow}\n")),
        "{told}"
    );
    talk.send("tools/call", json!({"name": "wrong_id"})).await;
    assert!(talk.line().await.unwrap().contains("somebody-else"));

    let progress = json!({"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "p"}});
    assert_eq!(text(&talk.ask("tools/call", progress).await), "done");
    let steps = talk.unasked.drain(..).map(|news| news["params"].clone());
    let step =
        |step: u32| json!({"progressToken": "p", "progress": step, "total": 2, "message": format!("step {step}")});
    assert_eq!(steps.collect::<Vec<_>>(), [step(1), step(2)]);

    let long = talk.text("big", json!({"bytes": 20_000_000})).await;
    assert_eq!((long.len(), long.trim_matches('x')), (20_000_000, ""));

    let asks = talk.send("tools/call", json!({"name": "ask", "arguments": {"method": "roots/list"}})).await;
    let question = talk.message().await;
    assert_eq!(question["method"], "roots/list");
    talk.say(json!({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}})).await;
    assert_eq!(text(&talk.answer(asks).await), r#"{"roots":[]}"#);

    // More than a pipe holds: it stands still until somebody reads it.
    let flood = talk.send("tools/call", json!({"name": "flood", "arguments": {"lines": 10_000}})).await;
    assert!(talk.is_mute().await);
    let errors = talk.child.stderr.take().unwrap();
    let reading = tokio::spawn(async move {
        let mut lines = BufReader::new(errors).lines();
        let mut count = 0;
        while lines.next_line().await.unwrap().is_some() {
            count += 1;
        }
        count
    });
    assert_eq!(text(&talk.answer(flood).await), "flooded");
    drop(talk);
    assert_eq!(reading.await.unwrap(), 10_000);
}

#[tokio::test]
async fn what_it_lists_and_says_of_itself_is_up_to_the_test() {
    let folder = scratch();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (tools, flags) = (file("tools"), file("flags"));
    let mine = json!([
        {"name": "echo", "description": "changed", "inputSchema": {"type": "object"}},
        {"name": "mine", "inputSchema": {"type": "object"}},
        {"name": "fixed", "inputSchema": {"type": "object"}, "x-answer": {"content": [{"type": "text", "text": "42"}]}},
    ]);
    fs::write(&tools, "[]").unwrap();
    let arguments =
        ["--empty-list-first", "1", "--own-tools", "echo,fail", "--tools-file", &tools, "--flags-file", &flags];
    let mut talk = Talk::greet(&McpServer::faulty(&arguments)).await;
    assert_eq!(talk.tools().await, [""; 0]);
    assert_eq!(talk.tools().await, ["echo", "fail"]);

    fs::write(&tools, mine.to_string()).unwrap();
    signal(talk.id(), "USR1");
    assert!(talk.line().await.unwrap().contains("notifications/tools/list_changed"));
    let list = talk.ask("tools/list", json!({})).await;
    assert_eq!(names(&list), ["echo", "fail", "mine", "fixed"]);
    assert_eq!((&list["tools"][0]["description"], &list["tools"][3].get("x-answer")), (&json!("changed"), &None));
    for (tool, expected) in [("echo", "hi"), ("mine", r#"{"text":"hi"}"#), ("fixed", "42")] {
        assert_eq!(talk.text(tool, json!({"text": "hi"})).await, expected, "{tool}");
    }

    fs::write(&flags, "--lie-name\n--own-tools none\n--says-version 2.0.0\n").unwrap();
    assert_eq!(talk.tools().await, ["echo", "mine", "fixed"], "the flags are read anew");
    let said = talk.ask("initialize", handshake()).await["serverInfo"].clone();
    assert_eq!(said, json!({"name": "secure-filesystem-server", "version": "999.0.0"}));
    fs::write(&flags, "--says-version 2.0.0\n").unwrap();
    let said = talk.ask("initialize", handshake()).await["serverInfo"].clone();
    assert_eq!(said, json!({"name": "faulty", "version": "2.0.0"}));

    for flag in ["--no-answer-to-list", "--hang-on-start"] {
        fs::write(&flags, flag).unwrap();
        talk.send("tools/list", json!({})).await;
        assert!(talk.is_mute().await, "{flag}");
    }
    fs::remove_file(&flags).unwrap();
    assert_eq!(talk.ask("ping", json!({})).await, json!({}));
}

#[tokio::test]
async fn subscribers_of_the_newer_era_are_told_of_changes() {
    let mut talk = Talk::start(&McpServer::faulty(&["--era", "modern"]));
    let id = talk.send("subscriptions/listen", modern(json!({"notifications": {"toolsListChanged": true}}))).await;
    let acknowledged = talk.message().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged["params"]["notifications"], json!({"toolsListChanged": true}));
    signal(talk.id(), "USR1");
    let changed = talk.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
}

#[tokio::test]
async fn it_starts_and_ends_as_it_is_told() {
    let folder = scratch();
    let pids = folder.path().join("pids");
    let faulty = |flags: &[&str]| {
        let pid_file = pids.display().to_string();
        McpServer::faulty(&[&["--pid-file", &pid_file], flags].concat()).in_folder(folder.path())
    };
    let mut broken = Talk::start(&faulty(&["--exit-on-start"]));
    assert_eq!((broken.line().await, broken.end().await.code()), (None, Some(1)));
    let words = broken.last_words().await;
    assert!(words.starts_with("Error: cannot find what it needs") && words.contains("    at "), "{words}");

    let mut hung = Talk::start(&faulty(&["--hang-on-start"]));
    hung.send("initialize", handshake()).await;
    assert!(hung.is_mute().await);
    let mut good = Talk::greet(&faulty(&[])).await;
    for talk in [&mut hung, &mut good] {
        drop(talk.input.take());
        assert!(talk.end().await.success(), "it ends with its input");
    }
    assert_eq!((started(&pids).len(), running(&pids).len()), (3, 0));

    let mut stubborn = Talk::greet(&faulty(&["--ignore-sigterm", "--fork-child"])).await;
    signal(stubborn.id(), "TERM");
    assert_eq!(stubborn.ask("ping", json!({})).await, json!({}));
    drop(stubborn.input.take());
    assert!(stubborn.is_mute().await, "it goes on without its input");
    assert_eq!((running(&pids).len(), inhabitants(folder.path()).len()), (2, 2));
    stubborn.child.kill().await.unwrap();
    let [child] = running(&pids)[..] else { panic!("only its child is left") };
    assert!(stubborn.is_mute().await, "which keeps the output open");
    signal(child, "KILL");
    assert_eq!(stubborn.line().await, None);
    until("nobody is left", async || running(&pids).is_empty() && inhabitants(folder.path()).is_empty()).await;
}

fn post(node: &Node, method: &str, params: &Value) -> RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let accept = "application/json, text/event-stream";
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    client.post(format!("{}/mcp", node.url())).header(ACCEPT, accept).json(&message)
}

/// The result of the only message of a stream.
async fn result(request: RequestBuilder) -> Value {
    let text = request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ").filter(|data| data.starts_with('{')));
    serde_json::from_str::<Value>(data.unwrap_or_else(|| panic!("{text}"))).unwrap()["result"].take()
}

#[tokio::test]
async fn servers_speak_over_http_and_go() {
    let [everything, faulty] = [everything_over_http().await, faulty_over_http(&["--sessions"]).await];
    for (node, name) in [(&everything, "mcp-servers/everything"), (&faulty, "faulty")] {
        let greeted = post(node, "initialize", &handshake()).send().await.unwrap();
        let session = greeted.headers()["mcp-session-id"].clone();
        assert!(greeted.text().await.unwrap().contains(name));
        let listed = post(node, "tools/list", &json!({})).header("mcp-session-id", session);
        assert!(names(&result(listed).await).contains(&"echo".to_owned()));
        node.kill();
        assert!(post(node, "ping", &json!({})).send().await.is_err(), "a killed server is gone");
        node.start_again().await;
        post(node, "initialize", &handshake()).send().await.unwrap().error_for_status().unwrap();
    }
}

#[tokio::test]
async fn over_http_it_refuses_and_forgets_as_it_is_told() {
    for (flags, status) in [
        (vec!["--bearer", "open-sesame"], 401),
        (vec!["--redirect", "http://127.0.0.1:1/"], 307),
        (vec!["--status", "503"], 503),
        (vec!["--era", "both"], 200),
    ] {
        let node = faulty_over_http(&flags).await;
        let answer = post(&node, "server/discover", &modern(json!({}))).send().await.unwrap();
        assert_eq!(answer.status(), status, "{flags:?}");
    }
    let node = faulty_over_http(&["--bearer", "open-sesame", "--sessions"]).await;
    let greeted = post(&node, "initialize", &handshake()).bearer_auth("open-sesame").send().await.unwrap();
    let session = greeted.headers()["mcp-session-id"].clone();
    let call = json!({"name": "secret_header", "arguments": {"name": "Authorization"}});
    let call = || post(&node, "tools/call", &call).bearer_auth("open-sesame").header("mcp-session-id", session.clone());
    assert_eq!(text(&result(call()).await), "set");
    node.signal("USR2");
    until("it has forgotten the session", async || call().send().await.unwrap().status() == 404).await;
}

#[tokio::test]
async fn a_gateway_is_given_servers_which_end_with_it() {
    let (folder, over_http) = (scratch(), faulty_over_http(&["--era", "both"]).await);
    let pids = folder.path().join("pids");
    let flags = ["--pid-file", &*pids.display().to_string(), "--fork-child", "--ignore-sigterm"];
    let servers = json!({
        "faulty": McpServer::faulty(&flags).with("stateless", true),
        "remote": McpServer::over_http(&over_http),
    });
    let app = TestApp::builder().mcp(servers).start().await;
    let names = app.alice().query("{ mcpServers { nodes { name } } }").await.json();
    assert_eq!(names["data"]["mcpServers"]["nodes"], json!([{"name": "faulty"}, {"name": "remote"}]));
    until("it is run", async || running(&pids).len() >= 2 && app.mcp_processes().len() >= 2).await;
    app.stop().await;
    assert_eq!(running(&pids), [0; 0]);
}
