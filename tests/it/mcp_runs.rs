//! The record of calls of MCP tools, each body on both databases: nothing is opened before it is recorded and audited,
//! a key is used once on all nodes, and what nobody ends is given up.

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;
use tidegate::{
    app::Kept,
    audit::Verdict,
    config::Config,
    events::{CommandKey, EventsError},
    mcp::{McpError, OpenRun, Opened, Opening, Run, RunEnd, RunFilter, RunOutcome, Runs, RunsParts},
    model::{Clock, Origin, Principal, Role},
    store::StoreParts,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::harness::{FreshDatabase, on_both, until};

on_both! {
    calls_that_arrive_together_share_commits
    a_key_is_used_once_on_all_nodes
    how_a_call_ended_is_recorded_and_shown_to_whom_it_concerns
    what_nobody_ends_is_given_up
    what_is_too_old_is_deleted
}

struct Node {
    kept: Kept,
    runs: Runs,
    tasks: TaskTracker,
    stop: CancellationToken,
}

async fn node(database: &FreshDatabase) -> Node {
    node_at(database, Clock::system(), 30).await
}

async fn node_at(database: &FreshDatabase, clock: Clock, run_days: u32) -> Node {
    let mut config = Config::defaults();
    config.database = database.config.clone();
    config.mcp.run_days = run_days;
    let kept = Kept::open(&config, &StoreParts::alone(clock.clone())).await.expect("it opens");
    let (audit, log) = (kept.audit.clone(), kept.stores.log.clone());
    let runs = Runs::new(RunsParts { audit, log, clock, node: "node".to_owned() });
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    runs.start(&tasks, &stop, &config.mcp);
    Node { kept, runs, tasks, stop }
}

impl Node {
    async fn open(&self, user: &str, key: Option<CommandKey>) -> Result<Opened, McpError> {
        let opening = Opening {
            id: None,
            user_id: user.into(),
            correlation_id: "request".into(),
            origin: Origin::new([192, 0, 2, 7].into(), None),
            server_id: Uuid::from_u128(7),
            // Servers choose the names of their tools.
            server: "files".into(),
            tool: "read\0".into(),
            arguments_bytes: 17,
            key,
        };
        self.runs.open(opening).await
    }

    async fn fresh(&self, user: &str) -> OpenRun {
        match self.open(user, None).await.unwrap() {
            Opened::Fresh(run) => run,
            other => panic!("without a key: {other:?}"),
        }
    }

    async fn find(&self, id: Uuid) -> Run {
        self.runs.find(id, &who("root", Role::Admin)).await.unwrap().expect("it was recorded")
    }

    async fn is(&self, id: Uuid, outcome: RunOutcome) {
        until("the call has ended", async || self.find(id).await.outcome == Some(outcome)).await;
    }

    async fn all(&self) -> Vec<Run> {
        self.runs.page(&RunFilter::default(), None, 1_000).await.unwrap().runs
    }

    async fn audited(&self) -> u64 {
        match self.kept.audit.verify().await.unwrap() {
            Verdict::Sound { rows, .. } => rows,
            Verdict::Broken(flaw) => panic!("{flaw}"),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn who(subject: &str, role: Role) -> Principal {
    Principal { subject: subject.into(), role, expires_at: None }
}

fn key(name: &str, argument: u64) -> CommandKey {
    CommandKey::new(name, "files:read", &json!({ "a": argument }))
}

async fn calls_that_arrive_together_share_commits(database: FreshDatabase) {
    let nodes = [node(&database).await, node(&database).await];
    let callers = (0..128).map(|caller| {
        let node = &nodes[caller % 2];
        async move { node.fresh(&format!("user-{}", caller % 20)).await }
    });
    let open = join_all(callers).await;
    let runs = nodes[0].all().await;
    let commits: HashSet<_> = runs.iter().map(|run| run.started_at).collect();
    assert_eq!((runs.len(), nodes[1].audited().await), (128, 128));
    assert!(commits.len() <= 16, "{} commits", commits.len());
    assert!(runs.is_sorted_by_key(|run| std::cmp::Reverse(run.number)));
    let ids: Vec<Uuid> = open.iter().map(OpenRun::id).collect();
    for run in open {
        run.close(RunEnd::plain(RunOutcome::Succeeded, Duration::from_millis(1)));
    }
    for node in nodes {
        node.end().await;
    }
    let next = node(&database).await;
    for id in ids {
        assert_eq!(next.find(id).await.outcome, Some(RunOutcome::Succeeded), "what was queued was written");
    }
}

async fn a_key_is_used_once_on_all_nodes(database: FreshDatabase) {
    let nodes = [node(&database).await, node(&database).await];
    let tries = (0..20).map(|number| {
        let node = &nodes[number % 2];
        async move { node.open("alice", Some(key("a", 1))).await.unwrap() }
    });
    let (mut fresh, mut told) = (Vec::new(), HashSet::new());
    for opened in join_all(tries).await {
        match opened {
            Opened::Fresh(run) => fresh.push(run),
            Opened::Repeated(run) => drop(told.insert(run.id)),
            Opened::IdTaken => panic!("no id was wanted"),
        }
    }
    assert_eq!((fresh.len(), told), (1, HashSet::from([fresh[0].id()])));
    let other = nodes[1].open("alice", Some(key("a", 2))).await.unwrap_err();
    assert_eq!(other, McpError::Events(EventsError::KeyReused));
    assert!(matches!(nodes[1].open("bob", Some(key("a", 2))).await.unwrap(), Opened::Fresh(_)));
    assert_eq!((nodes[0].all().await.len(), nodes[0].audited().await), (2, 2));
}

async fn how_a_call_ended_is_recorded_and_shown_to_whom_it_concerns(database: FreshDatabase) {
    let node = node(&database).await;
    let end = RunEnd {
        error_code: Some("TIMEOUT\0".to_owned()),
        message: Some("no\0".repeat(200)),
        result_bytes: Some(9),
        ..RunEnd::plain(RunOutcome::Failed, Duration::from_micros(1_234_567))
    };
    let (failed, other) = (node.fresh("alice").await, node.fresh("bob").await);
    let ids = [failed.id(), other.id()];
    failed.close(end);
    drop(other);
    node.is(ids[0], RunOutcome::Failed).await;
    node.is(ids[1], RunOutcome::Cancelled).await;
    let run = node.find(ids[0]).await;
    assert_eq!((run.server_id, run.tool.as_str()), (Uuid::from_u128(7), "read\u{fffd}"));
    assert_eq!((run.error_code.as_deref(), run.message), (Some("TIMEOUT\u{fffd}"), Some("no\u{fffd}".repeat(100))));
    assert_eq!((run.duration, run.result_bytes), (Some(Duration::from_micros(1_234_567)), Some(9)));

    for (viewer, seen) in [
        (who("alice", Role::User), [true, false]),
        (who("bob", Role::User), [false, true]),
        (who("root", Role::Admin), [true, true]),
    ] {
        for (id, seen) in ids.into_iter().zip(seen) {
            assert_eq!(node.runs.find(id, &viewer).await.unwrap().is_some(), seen, "{viewer:?}");
        }
    }
    let [alice, carol] = ["alice", "carol\0"].map(|user| Some(user.to_owned()));
    let all = RunFilter::default();
    for (filter, expected) in [
        (all.clone(), vec![ids[1], ids[0]]),
        (RunFilter { user: alice.clone(), ..all.clone() }, vec![ids[0]]),
        (RunFilter { user: carol, ..all.clone() }, vec![]),
        (RunFilter { server: Some("files".to_owned()), ..all.clone() }, vec![ids[1], ids[0]]),
        (RunFilter { server: Some("other".to_owned()), ..all.clone() }, vec![]),
        (RunFilter { tool: Some("read\0".to_owned()), ..all.clone() }, vec![ids[1], ids[0]]),
        (RunFilter { outcome: Some(RunOutcome::Cancelled), ..all.clone() }, vec![ids[1]]),
        (RunFilter { user: alice, outcome: Some(RunOutcome::Cancelled), ..all.clone() }, vec![]),
    ] {
        let page = node.runs.page(&filter, None, 10).await.unwrap();
        assert_eq!(page.runs.iter().map(|run| run.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let first = node.runs.page(&all, None, 1).await.unwrap();
    let rest = node.runs.page(&all, Some(first.runs[0].number), 1).await.unwrap();
    assert_eq!((first.runs[0].id, first.more, rest.runs[0].id, rest.more), (ids[1], true, ids[0], false));
}

async fn what_nobody_ends_is_given_up(database: FreshDatabase) {
    let hours_ago = Clock::stepped_from(Clock::system().now() - TimeDelta::hours(2));
    let killed = node_at(&database, hours_ago, 30).await;
    let (lost, late) = (killed.fresh("alice").await, killed.fresh("alice").await);
    let next = node(&database).await;
    next.is(lost.id(), RunOutcome::Unknown).await;
    let (own, id) = (next.fresh("alice").await, late.id());
    // The process was only thought to be dead.
    late.close(RunEnd::plain(RunOutcome::Succeeded, Duration::from_millis(1)));
    next.is(id, RunOutcome::Succeeded).await;
    assert_eq!(next.find(own.id()).await.outcome, None);
}

async fn what_is_too_old_is_deleted(database: FreshDatabase) {
    let days_ago = Clock::stepped_from(Clock::system().now() - TimeDelta::days(3));
    let before = node_at(&database, days_ago, 30).await;
    let old = join_all((0..501).map(|_| before.fresh("alice"))).await;
    drop(old);
    before.end().await;
    let thrifty = node_at(&database, Clock::system(), 2).await;
    let own = thrifty.fresh("alice").await;
    until("old runs are gone", async || thrifty.all().await.iter().map(|run| run.id).eq([own.id()])).await;
    assert_eq!(thrifty.audited().await, 502, "the audit log keeps its rows");
}
