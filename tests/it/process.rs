//! The program as people start it: what it prints, what it refuses, how it stops, and what it keeps in memory.

use std::{
    fs,
    process::{Output, Stdio},
    time::Duration,
};

use futures_util::future::join_all;
use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use crate::harness::{PATIENCE, home};

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(home()).env("TMPDIR", home()).kill_on_drop(true);
    // What the developer has set must not decide what the test sees.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command
}

async fn output(arguments: &[&str]) -> Output {
    timeout(PATIENCE, tidegate(arguments).output()).await.expect("the command ends").expect("the command runs")
}

/// A sandbox in a process of its own.
struct Sandbox {
    child: Child,
    printed: Lines<BufReader<ChildStdout>>,
    base: String,
    client: Client,
}

impl Sandbox {
    async fn start() -> Self {
        let mut child = tidegate(&["sandbox", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut printed = BufReader::new(child.stdout.take().expect("piped")).lines();
        let base = loop {
            let line = timeout(PATIENCE, printed.next_line()).await.expect("the address is printed").unwrap();
            let line = line.expect("the address is printed before the end");
            if let Some(base) = line.strip_prefix("listening on ") {
                break base.to_owned();
            }
        };
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { child, printed, base, client }
    }

    async fn post(&self, body: Vec<u8>, token: Option<&str>) -> (StatusCode, String) {
        let request = self.client.post(format!("{}/graphql", self.base)).header(CONTENT_TYPE, "application/json");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.body(body).send().await.expect("an answer");
        (response.status(), response.text().await.expect("a whole answer"))
    }

    /// A sample of `/metrics`, by its name with its labels.
    async fn metric(&self, name: &str) -> u64 {
        let text = self.client.get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap();
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    fn resident_bytes(&self) -> u64 {
        let id = self.child.id().expect("the program runs");
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let id = self.child.id().expect("the program runs").to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.expect("kill is there").success());
    }
}

fn query(document: &str) -> Vec<u8> {
    json!({"query": document}).to_string().into_bytes()
}

#[tokio::test]
async fn a_token_from_the_command_line_works_in_the_sandbox() {
    let sandbox = Sandbox::start().await;
    for (role, status) in [("USER", StatusCode::OK), ("ADMIN", StatusCode::OK)] {
        let printed = output(&["token", "--role", role, "--subject", "alice"]).await;
        assert!(printed.status.success());
        let text = String::from_utf8(printed.stdout).unwrap();
        let token = text.trim_end();
        assert!(!token.contains(char::is_whitespace) && token.split('.').count() == 3, "a token alone: {text:?}");
        let (found, body) = sandbox.post(query("{ __typename upstreams { name } }"), Some(token)).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(found, status, "application/json answers 200 to whatever GraphQL says");
        assert_eq!(body.get("errors").is_some(), role == "USER", "{body}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_stops_the_start() {
    for (arguments, said) in [
        (&["serve", "--listen", "127.0.0.1:0"][..], "auth.secret"),
        (&["serve", "--set", "http.lisen=x"], "http.listen"),
        (&["sandbox", "--set", "market.min_sources=0"], "market.min_sources"),
        (&["sandbox", "--listen", "127.0.0.1:0", "--set", "limits.overrides=Query.nothing=5/60"], "Query.nothing"),
        (
            &["sandbox", "--listen", "127.0.0.1:0", "--set", "limits.on_outage_overrides=Query.nothing=open"],
            "limits.on_outage_overrides = Query.nothing",
        ),
        (&["sandbox", "--listen", "127.0.0.1:0", "--set", "redis.url=http://secret@host"], "redis.url = [redacted]"),
        (&["sandbox", "--listen", "nowhere"], "nowhere"),
        (&["serve", "--config", "/no/such/file.toml"], "/no/such/file.toml"),
    ] {
        let ended = output(arguments).await;
        let text = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success(), "{arguments:?}");
        assert!(text.contains(said), "{arguments:?}: {text}");
        assert!(ended.stdout.is_empty(), "{arguments:?} announced something");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_drains_and_ends_well() {
    let mut sandbox = Sandbox::start().await;
    let (status, _) = sandbox.post(query("{ price(coin: \"bitcoin\") { amount } }"), None).await;
    assert_eq!(status, StatusCode::OK);
    sandbox.signal("TERM");
    let ended = timeout(PATIENCE, sandbox.child.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
    while let Some(line) = sandbox.printed.next_line().await.unwrap() {
        assert!(!line.contains("error"), "{line}");
    }
}

/// In a process of its own the metrics are nobody else's.
#[tokio::test]
async fn what_many_ask_at_once_is_worked_out_once() {
    let sandbox = Sandbox::start().await;
    let document = "{ cryptoPrices(coins: [\"bitcoin\"]) { amount } }";
    let asked = join_all((0..32).map(|_| sandbox.post(query(document), None))).await;
    assert!(asked.iter().all(|(status, body)| *status == StatusCode::OK && *body == asked[0].1), "{asked:?}");
    assert_eq!(sandbox.metric("tidegate_cache_loads_total{cache=\"answers\",outcome=\"found\"}").await, 1);

    let token = output(&["token", "--role", "USER", "--subject", "alice"]).await;
    let token = String::from_utf8(token.stdout).unwrap();
    let follow = || async {
        let document = "subscription { priceUpdates(coins: [\"bitcoin\"]) { price { amount } } }";
        let request = sandbox.client.post(format!("{}/graphql", sandbox.base)).bearer_auth(token.trim_end());
        let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "text/event-stream");
        let mut stream = request.body(query(document)).send().await.expect("the stream opens");
        let mut heard = Vec::new();
        while !heard.windows(11).any(|part| part == b"event: next") {
            heard.extend_from_slice(&stream.chunk().await.unwrap().expect("the stream goes on"));
        }
        stream
    };
    let streams = join_all((0..20).map(|_| follow())).await;
    assert_eq!(sandbox.metric("tidegate_sse_streams").await, 20);
    assert_eq!(sandbox.metric("tidegate_live_groups").await, 1, "twenty followers, one execution");
    drop(streams);
    let deadline = Instant::now() + PATIENCE;
    for gauge in ["tidegate_live_groups", "tidegate_feed_coins", "tidegate_bus_topics"] {
        while sandbox.metric(gauge).await != 0 {
            assert!(Instant::now() < deadline, "{gauge} is left behind");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Bad input of every size, over and over: what it took is given back.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_returns_to_where_it_was() {
    let sandbox = Sandbox::start().await;
    let coins: Vec<String> = (0..1_000).map(|at| format!("coin-{at}")).collect();
    let doubling: String =
        (0..22).map(|level| format!(" fragment F{level} on Query{{...F{0} ...F{0}}}", level + 1)).collect();
    let bodies = [
        vec![b'x'; 10_000_000],
        query(&"{a".repeat(200)),
        query(&format!("{{...F0}}{doubling} fragment F22 on Query{{__typename}}")),
        query(&format!("{{{}}}", (0..10_000).map(|at| format!("a{at}:__typename ")).collect::<String>())),
        json!({"query": "query($c:[String!]!){cryptoPrices(coins:$c){coin}}", "variables": {"c": coins}})
            .to_string()
            .into_bytes(),
        vec![0xFF; 100_000],
        query(&"🌊".repeat(10_000)),
    ];
    let round = async || {
        for body in &bodies {
            let (status, text) = sandbox.post(body.clone(), Some("nonsense")).await;
            assert!(status.is_client_error() && text.contains("\"code\""), "{status} {text}");
            let (_, text) = sandbox.post(body.clone(), None).await;
            assert!(text.contains("\"code\""), "{text}");
        }
    };
    // Threads, their heaps and kept verdicts stay; after some rounds they are all there.
    for _ in 0..15 {
        round().await;
    }
    let before = sandbox.resident_bytes();
    for _ in 0..30 {
        round().await;
    }
    let allowed = before + 16 * 1_024 * 1_024;
    let deadline = Instant::now() + PATIENCE;
    while sandbox.resident_bytes() > allowed {
        assert!(Instant::now() < deadline, "{} bytes became {}", before, sandbox.resident_bytes());
        sleep(Duration::from_millis(100)).await;
    }
}
