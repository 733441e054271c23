//! Calls while their server is killed again and again: each ends in time, none is made twice, nothing is left behind.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate::model::{Chance, Clock, Role};
use tokio::time::sleep;

use crate::{
    harness::{
        FreshDatabase, McpServer, Program, Stranger, TestApp,
        mcp::{running, signal_all},
        until,
    },
    mcp_calls::{called, text, until_up},
};

/// Callers at the same time.
const CALLERS: usize = 16;
/// By when each call must have ended: the server's deadline, and a margin for a busy machine.
const DEADLINE: Duration = Duration::from_secs(4);

/// A counting server, killed at seeded moments of a storm of calls that must not be made twice.
async fn storm(kills: usize, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (count, pids) = (folder.path().join("count"), folder.path().join("pids"));
    let flags = ["--count", count.to_str().unwrap(), "--pid-file", pids.to_str().unwrap()];
    let server = McpServer::faulty(&flags).with("callTimeoutMs", 2_000);
    let app = TestApp::builder().mcp(json!({ "one": server })).config(|config| {
        config.limits.overrides = vec!["Mutation.mcpToolCall=1000000/60".parse().unwrap()];
        // The breaker would spare the server most of the storm.
        config.resilience.breaker.enabled = false;
    });
    let app = app.start().await;
    until_up(&app, 1).await;
    let (alice, clock, chance) = (app.alice(), Clock::system(), Chance::seeded(seed));
    let (mut killed, mut number) = (0, 0);
    let mut answers: Vec<(usize, Value, Duration)> = Vec::new();
    while killed < kills {
        let batch = number..number + 64;
        number = batch.end;
        let calls = stream::iter(batch).map(async |note| {
            let began = clock.instant();
            let reply =
                called(&alice, json!({"tool": "count", "arguments": {"note": note.to_string(), "ms": 20}})).await;
            (note, reply, clock.instant() - began)
        });
        let storm = calls.buffer_unordered(CALLERS).collect::<Vec<_>>();
        let killing = async {
            for _ in 0..2 {
                sleep(Duration::from_millis(chance.number() % 120)).await;
                signal_all(&pids, "KILL");
            }
        };
        let (found, ()) = tokio::join!(storm, killing);
        answers.extend(found);
        killed += 2;
        // However it was killed, it is back soon.
        let began = clock.instant();
        let back = async || {
            called(&alice, json!({"tool": "echo", "arguments": {"text": "x"}})).await["data"]["mcpToolCall"]["result"]
                .is_object()
        };
        until("the server is back", back).await;
        assert!(clock.instant() - began < Duration::from_secs(2), "it took {:?}", clock.instant() - began);
    }
    each_was_made_once(answers, &made(&count));
    app.stop().await;
    assert!(running(&pids).is_empty(), "nothing is left behind");
}

/// Whoever was answered was called once, nobody twice, and everybody knew in time.
fn each_was_made_once(answers: Vec<(usize, Value, Duration)>, made: &HashMap<String, usize>) {
    for (note, reply, took) in answers {
        assert!(took < DEADLINE, "{note} took {took:?}: {reply}");
        let times = made.get(&note.to_string()).copied().unwrap_or_default();
        assert!(times <= 1, "{note} was made {times} times");
        match &reply["errors"][0]["extensions"]["code"] {
            Value::Null => assert_eq!(times, 1, "{note} succeeded: {reply}"),
            code => assert!(["UPSTREAM_UNAVAILABLE", "TIMEOUT"].contains(&code.as_str().unwrap()), "{note}: {reply}"),
        }
    }
}

fn made(count: &Path) -> HashMap<String, usize> {
    let mut made = HashMap::new();
    for line in fs::read_to_string(count).unwrap().lines() {
        *made.entry(line.to_owned()).or_default() += 1;
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_end_once_while_their_server_is_killed() {
    storm(8, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_calls_end_once_while_their_server_is_killed() {
    storm(100, 2).await;
}

/// Sessions started and ended one after the other, by subjects of which each has its own.
async fn cycles(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let server = McpServer::faulty(&["--fork-child", "--pid-file", pids.to_str().unwrap()]);
    let app = TestApp::builder().mcp(json!({ "one": server })).config(|config| {
        // Each newcomer has the one before give way.
        config.mcp.max_sessions = 3;
        config.limits.overrides = vec!["Mutation.mcpToolCall=1000000/60".parse().unwrap()];
    });
    let app = app.start().await;
    until_up(&app, 1).await;
    for number in 0..count {
        let subject = format!("subject-{number}");
        let token = app.token(&subject, tidegate::model::Role::User, Duration::from_hours(1));
        assert_eq!(text(&app.bearing(Some(token)), "echo", json!({"text": "x"})).await, "x", "{number}");
    }
    // Ours, and those of the last subjects, each with its child.
    until("who has given way has ended", async || running(&pids).len() <= 6).await;
    app.stop().await;
    assert!(running(&pids).is_empty(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_come_and_go_and_leave_nothing() {
    cycles(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_sessions_come_and_go_and_leave_nothing() {
    cycles(1_000).await;
}

#[tokio::test]
async fn a_server_that_listens_to_nobody_does_not_outlive_a_kill() {
    let (database, folder) = (FreshDatabase::sqlite(), tempfile::tempdir().unwrap());
    let pids = folder.path().join("pids");
    let flags = ["--ignore-sigterm", "--fork-child", "--pid-file", pids.to_str().unwrap()];
    let program = Program::start_before(&database.config, json!({ "one": McpServer::faulty(&flags) })).await;
    let alice = Stranger::new("alice", Role::User);
    let call =
        json!({ "query": "mutation { mcpToolCall(input: {tool: \"echo\", arguments: {text: \"x\"}}) { runId } }" });
    let is_up = async || {
        let reply = alice.post(program.base(), &call).await.expect("an answer");
        reply["data"]["mcpToolCall"]["runId"].is_string()
    };
    until("the server is up", is_up).await;
    assert!(running(&pids).len() >= 2, "a server and its child");
    program.kill().await;
    until("nothing is left behind", async || running(&pids).is_empty()).await;
}

/// How long 99 of 100 calls of a server take, while another one does what it should not.
async fn p99_beside(misbehaving: &str, count: usize) -> Duration {
    let app = TestApp::builder().mcp(json!({ "well": McpServer::faulty(&[]), "odd": McpServer::faulty(&[]) }));
    let app = app.config(|config| {
        config.limits.overrides = vec!["Mutation.mcpToolCall=1000000/60".parse().unwrap()];
        config.mcp.call_timeout_ms = 2_000;
        config.mcp.max_message_bytes = 1_000_000;
    });
    let app = app.start().await;
    until_up(&app, 2).await;
    let (alice, clock) = (app.alice(), Clock::system());
    let harm = async {
        let arguments = json!({"lines": 5_000, "bytes": 100_000_000, "ms": 0, "text": "x"});
        if misbehaving != "nothing" {
            loop {
                called(&alice, json!({"tool": format!("odd__{misbehaving}"), "arguments": arguments})).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let calls = stream::iter(0..count).map(async |_| {
        let began = clock.instant();
        assert_eq!(text(&alice, "well__echo", json!({"text": "x"})).await, "x");
        clock.instant() - began
    });
    let mut took = tokio::select! {
        took = calls.buffer_unordered(4).collect::<Vec<_>>() => took,
        () = harm => unreachable!("it goes on"),
    };
    took.sort_unstable();
    app.stop().await;
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_a_server_that_misbehaves_slows_no_other() {
    let healthy = p99_beside("nothing", 2_000).await;
    for fault in ["silent", "wrong_id", "garbage", "exit", "flood", "big"] {
        let p99 = p99_beside(fault, 2_000).await;
        println!("beside {fault}: p99 {p99:?}, beside nothing {healthy:?}");
        assert!(p99 <= healthy.mul_f64(1.5), "{fault}: {p99:?} beside {healthy:?}");
    }
}
