//! Calls of a tool through GraphQL, 64 at a time, beside the bare SDK against a server of the same kind, in turn in one run.
//!
//! Through GraphQL is all of it: HTTP, token, plan, rate limit, permission, the arguments' schema, a run and an audit row that
//! are committed before the call is sent. The server is `@modelcontextprotocol/server-everything`, tool `echo`; the load comes
//! from the same process. Run with `cargo bench --bench mcp` after `make tools`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures real time")]

use std::{
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use rmcp::{
    ServiceExt,
    model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation},
    service::{Peer, RoleClient},
};
use serde_json::{Value, json};
use tidegate::{
    app::{App, Parts},
    auth::dev,
    config::Config,
    http::{GraphiqlSettings, MetricsPage},
    model::{Chance, Clock, Role},
};
use tokio::{net::TcpListener, process::Command, task::JoinSet};

const AT_A_TIME: usize = 64;
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let (url, token) = gateway(&scratch).await;
    let bare = bare().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    println!("calls a second, {AT_A_TIME} at a time, the best of {ROUNDS} rounds of {ROUND:?}, in turn");
    let mut best: [Option<Measured>; 2] = [None, None];
    for _ in 0..ROUNDS {
        let (client, url, token) = (client.clone(), Arc::<str>::from(url.as_str()), token.clone());
        let ours = measure(move || graphql(client.clone(), Arc::clone(&url), token.clone())).await;
        let peer = bare.clone();
        let reference = measure(move || direct(peer.clone())).await;
        for (best, found) in best.iter_mut().zip([ours, reference]) {
            if best.as_ref().is_none_or(|best| best.rate < found.rate) {
                *best = Some(found);
            }
        }
    }
    let [ours, reference] = best.map(|best| best.expect("there was a round"));
    for (name, Measured { rate, p50, p99 }) in [("bare SDK", &reference), ("through GraphQL", &ours)] {
        println!("{name:<16} {rate:>8.0}/s  p50 {p50:>9.2?}  p99 {p99:>9.2?}");
    }
    println!("ratio            {:>8.2}", ours.rate / reference.rate);
    // What is still open ends with the process.
    std::process::exit(0);
}

struct Measured {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

async fn measure<F: Future<Output = ()> + Send + 'static>(call: impl Fn() -> F + Clone + Send + 'static) -> Measured {
    let until = Instant::now() + ROUND;
    let mut callers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let call = call.clone();
        callers.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                call().await;
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took = Vec::new();
    while let Some(some) = callers.join_next().await {
        took.extend(some.expect("a caller ends"));
    }
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    Measured {
        rate: f64::from(u32::try_from(took.len()).expect("not so many")) / ROUND.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

async fn graphql(client: reqwest::Client, url: Arc<str>, token: String) {
    const CALL: &str = "mutation ($input: McpToolCallInput!) { mcpToolCall(input: $input) { result { text } userErrors { message } } }";
    let input = json!({ "tool": "everything__echo", "arguments": { "message": "hello" } });
    let body = json!({ "query": CALL, "variables": { "input": input } });
    let request = client.post(&*url).bearer_auth(token).json(&body);
    let reply: Value = request.send().await.expect("it answers").json().await.expect("JSON");
    assert_eq!(reply["data"]["mcpToolCall"]["result"]["text"], "Echo: hello", "{reply}");
}

async fn direct(peer: Peer<RoleClient>) {
    let arguments = json!({ "message": "hello" }).as_object().cloned().expect("an object");
    let params = CallToolRequestParams::new("echo").with_arguments(arguments);
    let result = peer.call_tool_once(params).await.expect("it answers");
    assert!(format!("{result:?}").contains("Echo: hello"));
}

fn server() -> PathBuf {
    let modules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/node_modules");
    modules.join("@modelcontextprotocol/server-everything/dist/index.js")
}

/// A server of its own, spoken to by the SDK and nothing else.
async fn bare() -> Peer<RoleClient> {
    let mut command = Command::new("node");
    command.arg(server()).arg("stdio").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().expect("node is installed, and `make tools` was run");
    let pipes = (child.stdout.take().expect("a pipe"), child.stdin.take().expect("a pipe"));
    let us = ClientConfig::new(ClientCapabilities::default(), Implementation::new("bench", "1"));
    let running = us.serve(pipes).await.expect("it connects");
    let peer = running.peer().clone();
    tokio::spawn(async move {
        let _child = child;
        let _ = running.waiting().await;
    });
    peer
}

/// Tidegate with one server, on a free port. Where it is, and a token of a USER.
async fn gateway(scratch: &tempfile::TempDir) -> (String, String) {
    let file = scratch.path().join("mcp.json");
    let everything = json!({ "command": "node", "args": [server(), "stdio"] });
    std::fs::write(&file, json!({ "mcpServers": { "everything": everything } }).to_string()).expect("a file");
    let mut config = Config::defaults();
    config.database.folder = scratch.path().join("state");
    config.mcp.servers_file = Some(file);
    config.limits.overrides = vec!["Mutation.mcpToolCall=100000000/60".parse().expect("a limit")];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("an address");
    let clock = Clock::system();
    let token = dev::mint(&config.auth, "alice", Role::User, Duration::from_hours(1), clock.now());
    let parts = Parts {
        clock,
        chance: Chance::seeded(1),
        metrics: MetricsPage::Off,
        graphiql: GraphiqlSettings { tokens: Vec::new(), default_query: String::new() },
    };
    let app = App::build(&config, parts).await.expect("the configuration works");
    tokio::spawn(app.serve(listener));
    let url = format!("http://{address}/graphql");
    wait(&url, &token).await;
    (url, token)
}

/// Until the tool is there.
async fn wait(url: &str, token: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let body = json!({ "query": "{ mcp(tool: \"echo\") { tools { name } } }" });
    for _ in 0..200 {
        let reply = client.post(url).bearer_auth(token).json(&body).send().await.expect("it answers");
        let reply: Value = reply.json().await.expect("JSON");
        if reply["data"]["mcp"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server's tools never came");
}
