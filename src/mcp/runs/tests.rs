//! The record of calls on SQLite, entered by its door. `tests/it/mcp_runs.rs` has what is the same on both databases.

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use futures_util::{FutureExt, future::join_all};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    OpenRun, Opened, Opening, Run, RunEnd, RunFilter, RunOutcome, Runs, RunsParts, ledger::MOST_OPENINGS,
    opening::Ended, store, upkeep::Upkeep,
};
use crate::{
    audit::{Audit, AuditFilter, Verdict},
    bus::Bus,
    config::{AuditConfig, DatabaseConfig, McpConfig},
    events::{CommandKey, Events, EventsError, Upcasters},
    mcp::McpError,
    model::{Chance, Clock, Origin, Principal, Role},
    resilience::CallError,
    secrets::MasterKey,
    store::{DatabaseState, StoreParts, Stores, Transaction},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A node, from its start to its end.
struct Node {
    stores: Stores,
    audit: Audit,
    runs: Runs,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A node that has not begun to record.
async fn idle_node(folder: &TempDir, clock: Clock) -> Node {
    let mut config = DatabaseConfig::defaults();
    folder.path().clone_into(&mut config.folder);
    let stores = Stores::open(&config, &StoreParts::alone(clock.clone())).await.unwrap();
    let bus = Bus::new(clock.clone(), Chance::seeded(1));
    let events = Events::new(stores.log.clone(), Upcasters::default(), bus, clock.clone(), TimeDelta::hours(1));
    let audit = Audit::new(events, stores.log.clone(), &MasterKey::generate(), &AuditConfig::defaults());
    let parts = RunsParts { audit: audit.clone(), log: stores.log.clone(), clock, node: "node".to_owned() };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    Node { stores, audit, runs: Runs::new(parts), tasks, stop }
}

async fn node(folder: &TempDir) -> Node {
    let node = idle_node(folder, Clock::system()).await;
    node.runs.start(&node.tasks, &node.stop, &McpConfig::defaults());
    node
}

impl Node {
    async fn open(&self, user: &str, key: Option<CommandKey>) -> Result<Opened, McpError> {
        self.runs.open(opening(user, key)).await
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

    /// A run once it has ended.
    async fn ended(&self, id: Uuid, outcome: RunOutcome) -> Run {
        let ended = async {
            loop {
                let run = self.find(id).await;
                if run.outcome == Some(outcome) {
                    return run;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{id} is not {outcome:?}"))
    }

    /// How many runs there are, and how many sound rows of the audit log.
    async fn counts(&self) -> (usize, u64) {
        let runs = self.runs.page(&RunFilter::default(), None, 10_000).await.unwrap().runs.len();
        match self.audit.verify().await.unwrap() {
            Verdict::Sound { rows, .. } => (runs, rows),
            Verdict::Broken(flaw) => panic!("{flaw}"),
        }
    }

    async fn execute(&self, sql: &'static str) {
        let mut transaction = self.stores.log.write().await.unwrap();
        let Transaction::Sqlite(connection) = &mut transaction else { panic!("this is SQLite") };
        sqlx::query(sql).execute(&mut **connection).await.unwrap();
        self.stores.log.commit(transaction).await.unwrap();
    }
}

fn opening(user: &str, key: Option<CommandKey>) -> Opening {
    Opening {
        id: None,
        user_id: user.into(),
        correlation_id: "request".into(),
        origin: Origin::new([192, 0, 2, 7].into(), Some("curl/8")),
        server_id: Uuid::nil(),
        server: "files".into(),
        tool: "read".into(),
        arguments_bytes: 17,
        key,
    }
}

fn key(name: &str, argument: u64) -> CommandKey {
    CommandKey::new(name, "files:read", &json!({ "a": argument }))
}

fn who(subject: &str, role: Role) -> Principal {
    Principal { subject: subject.into(), role, expires_at: None }
}

fn succeeded() -> RunEnd {
    RunEnd { result_bytes: Some(9), ..RunEnd::plain(RunOutcome::Succeeded, Duration::from_millis(3)) }
}

#[tokio::test]
async fn what_arrives_together_shares_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let callers = (0..64).map(|caller| {
        let node = &node;
        async move { node.fresh(&format!("user-{}", caller % 10)).await.id() }
    });
    let ids: HashSet<Uuid> = join_all(callers).await.into_iter().collect();
    let runs = node.runs.page(&RunFilter::default(), None, 100).await.unwrap().runs;
    assert_eq!(runs.iter().map(|run| run.id).collect::<HashSet<_>>(), ids);
    let commits: HashSet<_> = runs.iter().map(|run| run.started_at).collect();
    assert!(commits.len() <= 4, "{} commits", commits.len());
    assert_eq!(node.counts().await, (64, 64));
    let page = node.audit.page(&AuditFilter::default(), None, 1).await.unwrap();
    let row = &page.rows[0];
    assert_eq!((row.action.as_str(), row.resource.as_str()), ("mcp.tool.call", "mcp:files:read"));
    assert_eq!((&row.metadata["argumentsBytes"], &row.metadata["request"]), (&json!(17), &json!("request")));
    assert!(ids.iter().any(|id| row.metadata["run"] == json!(id)));
}

#[tokio::test]
async fn more_than_may_wait_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = idle_node(&folder, Clock::system()).await;
    for _ in 0..MOST_OPENINGS {
        assert!(node.open("alice", None).now_or_never().is_none(), "nobody reads the queue");
    }
    let refused = node.open("alice", None).now_or_never().expect("it does not wait").unwrap_err();
    assert_eq!(refused, McpError::Call { server: "files".into(), error: CallError::Saturated });
    node.runs.start(&node.tasks, &node.stop, &McpConfig::defaults());
    let opened = async {
        loop {
            match node.open("alice", None).await {
                Err(McpError::Call { .. }) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    };
    drop(timeout(PATIENCE, opened).await.expect("there is room again"));
    assert_eq!(node.counts().await, (1, 1), "who no longer waits is not recorded");
}

#[tokio::test]
async fn a_call_under_the_same_key_is_told_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let Opened::Fresh(first) = node.open("alice", Some(key("a", 1))).await.unwrap() else { panic!("it is the first") };
    let id = first.id();
    first.close(succeeded());
    node.ended(id, RunOutcome::Succeeded).await;
    for (user, name, argument, expected) in [
        ("alice", "a", 1, Ok(Some(id))),
        ("alice", "a", 2, Err(EventsError::KeyReused)),
        ("alice", "b", 2, Ok(None)),
        ("bob", "a", 2, Ok(None)),
    ] {
        let found = node.open(user, Some(key(name, argument))).await;
        let found = found.map(|opened| match opened {
            Opened::Fresh(_) => None,
            Opened::Repeated(run) => Some(run.id),
            Opened::IdTaken => panic!("no id was wanted"),
        });
        assert_eq!(found, expected.map_err(McpError::Events), "{user} {name} {argument}");
    }
    // An id that was wanted is nobody else's, and holds nobody else up.
    let wants = |user: &str| Opening { id: Some(id), ..opening(user, None) };
    assert!(matches!(node.runs.open(wants("dave")).await, Ok(Opened::IdTaken)));
    // In one batch, too.
    let together = join_all([1, 1, 2, 1].map(|argument| node.open("carol", Some(key("c", argument))))).await;
    let fresh = together.iter().filter(|opened| matches!(opened, Ok(Opened::Fresh(_)))).count();
    let repeated = together.iter().filter(|opened| matches!(opened, Ok(Opened::Repeated(_)))).count();
    assert_eq!((fresh, repeated), (1, 2));
    assert_eq!(together[2].as_ref().unwrap_err(), &McpError::Events(EventsError::KeyReused));
    assert_eq!(node.counts().await, (4, 4));
}

#[tokio::test]
async fn a_call_of_which_nobody_knows_whether_it_was_recorded_frees_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let Opened::Fresh(first) = node.open("alice", Some(key("a", 1))).await.unwrap() else { panic!("it is the first") };
    let end = RunEnd { error_code: Some("NOT_SENT".to_owned()), ..RunEnd::plain(RunOutcome::Failed, Duration::ZERO) };
    let ended = Ended { id: first.id(), at: Clock::system().now(), end, frees_key: true };
    let mut transaction = node.stores.log.write().await.unwrap();
    store::end(&node.stores.log, &mut transaction, &[ended]).await.unwrap();
    node.stores.log.commit(transaction).await.unwrap();
    assert!(matches!(node.open("alice", Some(key("a", 1))).await.unwrap(), Opened::Fresh(_)));
    let run = node.find(first.id()).await;
    assert_eq!((run.outcome, run.error_code.as_deref()), (Some(RunOutcome::Failed), Some("NOT_SENT")));
}

#[tokio::test]
async fn without_both_rows_nothing_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let before = node.fresh("alice").await;
    let id = before.id();
    for (break_it, mend_it) in [
        ("ALTER TABLE mcp_tool_runs RENAME TO away", "ALTER TABLE away RENAME TO mcp_tool_runs"),
        ("ALTER TABLE audit_log RENAME TO away", "ALTER TABLE away RENAME TO audit_log"),
    ] {
        node.execute(break_it).await;
        let refused = join_all((0..5).map(|_| node.open("alice", None))).await;
        assert!(refused.iter().all(|opened| matches!(opened, Err(McpError::Events(EventsError::Database(_))))));
        node.execute(mend_it).await;
        assert_eq!(node.counts().await, (1, 1), "{break_it}");
    }
    before.close(succeeded());
    node.ended(id, RunOutcome::Succeeded).await;
    drop(node.fresh("alice").await);
    assert_eq!(node.counts().await, (2, 2), "it goes on");
}

#[tokio::test]
async fn ends_outlast_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let run = node.fresh("alice").await;
    let id = run.id();
    let (file, away) = (folder.path().join("tidegate.db"), folder.path().join("away.db"));
    std::fs::rename(&file, &away).unwrap();
    run.close(succeeded());
    let refused = node.open("alice", None).await.unwrap_err();
    assert!(matches!(refused, McpError::Events(EventsError::Database(_))), "{refused}");
    std::fs::rename(&away, &file).unwrap();
    let mut state = node.stores.state();
    timeout(PATIENCE, state.wait_for(|state| *state == DatabaseState::Up)).await.expect("it is seen").unwrap();
    node.ended(id, RunOutcome::Succeeded).await;
    assert_eq!(node.counts().await, (1, 1));
}

#[tokio::test]
async fn ends_are_kept_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let long = "x".repeat(1_000);
    for (end, code, message) in [
        (succeeded(), None, None),
        (
            RunEnd {
                error_code: Some("TIMEOUT".to_owned()),
                message: Some(long.clone()),
                result_bytes: None,
                ..RunEnd::plain(RunOutcome::Failed, Duration::from_micros(1_234_567))
            },
            Some("TIMEOUT"),
            Some(&long[..300]),
        ),
        (
            RunEnd { message: Some("a\0".to_owned()), ..RunEnd::plain(RunOutcome::ToolError, Duration::ZERO) },
            None,
            Some("a\u{fffd}"),
        ),
    ] {
        let run = node.fresh("alice").await;
        let id = run.id();
        assert_eq!((node.find(id).await.outcome, node.find(id).await.ended_at), (None, None));
        run.close(end.clone());
        let run = node.ended(id, end.outcome).await;
        assert_eq!((run.duration, run.result_bytes), (Some(end.duration), end.result_bytes));
        assert_eq!((run.error_code.as_deref(), run.message.as_deref()), (code, message));
        assert!(run.ended_at.is_some_and(|ended| ended >= run.started_at));
    }
    let run = node.fresh("alice").await;
    let id = run.id();
    drop(run);
    node.ended(id, RunOutcome::Cancelled).await;
}

#[tokio::test]
async fn what_a_killed_process_left_open_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let killed = node(&folder).await;
    let (lost, late) = (killed.fresh("alice").await, killed.fresh("alice").await);
    let next = idle_node(&folder, Clock::system()).await;
    next.runs.start(&next.tasks, &next.stop, &McpConfig::defaults());
    let own = next.fresh("alice").await;
    next.ended(lost.id(), RunOutcome::Unknown).await;
    assert_eq!(next.find(own.id()).await.outcome, None);
    // The process was only thought to be dead.
    let id = late.id();
    late.close(succeeded());
    next.ended(id, RunOutcome::Succeeded).await;
}

#[tokio::test]
async fn what_nobody_ends_is_given_up_and_what_is_old_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let month_ago = Clock::stepped_from(Clock::system().now() - TimeDelta::days(31));
    let old = idle_node(&folder, month_ago).await;
    old.runs.start(&old.tasks, &old.stop, &McpConfig::defaults());
    let gone: Vec<OpenRun> = join_all((0..600).map(|_| old.fresh("alice"))).await;
    let recent = node(&folder).await;
    let kept = recent.fresh("alice").await;
    let upkeep = |hours| Upkeep {
        log: recent.stores.log.clone(),
        clock: Clock::stepped_from(Clock::system().now() + TimeDelta::hours(hours)),
        node: recent.runs.0.node.clone(),
        retention: TimeDelta::days(30),
    };
    upkeep(1).give_up().await.unwrap();
    assert_eq!(recent.find(kept.id()).await.outcome, None, "it may still go on");
    upkeep(2).give_up().await.unwrap();
    assert_eq!(recent.find(kept.id()).await.outcome, Some(RunOutcome::Unknown));
    upkeep(0).delete().await.unwrap();
    assert_eq!(recent.counts().await, (1, 601), "the audit log keeps its rows");
    drop(gone);
}

#[tokio::test]
async fn what_is_queued_at_the_end_is_still_written() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(&folder).await;
    let (before, after) = (node.fresh("alice").await, node.fresh("alice").await);
    let ids = [before.id(), after.id()];
    before.close(succeeded());
    let queued = join_all((0..8).map(|_| node.open("bob", None)));
    let stopped = async {
        node.stop.cancel();
        tokio::task::yield_now().await;
        after.close(succeeded());
    };
    let (opened, ()) = tokio::join!(queued, stopped);
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    drop(opened);
    node.tasks.close();
    timeout(PATIENCE, node.tasks.wait()).await.expect("it ends");
    for id in ids {
        assert_eq!(node.find(id).await.outcome, Some(RunOutcome::Succeeded));
    }
    let filter = RunFilter { outcome: Some(RunOutcome::Cancelled), ..RunFilter::default() };
    assert_eq!(node.runs.page(&filter, None, 100).await.unwrap().runs.len(), 8);
    let late = node.open("bob", None).await.unwrap_err();
    assert!(matches!(late, McpError::Events(EventsError::Database(_))), "{late}");
}
