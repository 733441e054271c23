//! `kill -9` of the server at seeded moments under load: what was acknowledged is there, once, and nothing is behind or
//! ahead. Every change has a key, so that its caller can ask again after the server is back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tidegate::{
    app::Kept,
    config::Config,
    model::{Chance, Clock, Role},
    store::StoreParts,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::harness::{FreshDatabase, Program, Stranger, on_both, program, until};

const CLIENTS: usize = 6;

on_both! {
    what_was_acknowledged_is_there_once
}

async fn what_was_acknowledged_is_there_once(database: FreshDatabase) {
    kill_again_and_again(&database, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_what_was_acknowledged_is_there_once() {
    for database in [FreshDatabase::sqlite(), FreshDatabase::own_postgres().await] {
        kill_again_and_again(&database, 100).await;
    }
}

/// One caller, who does one thing after the other and repeats what was not answered.
struct Caller {
    subject: String,
    stranger: Stranger,
    /// What was asked last and not answered.
    pending: Option<u64>,
    next: u64,
    /// What was answered, by its number.
    memories: BTreeMap<u64, Value>,
    feelings: BTreeMap<u64, i64>,
}

impl Caller {
    fn new(number: usize) -> Self {
        let subject = format!("caller-{number}");
        let stranger = Stranger::new(&subject, Role::User);
        Self { subject, stranger, pending: None, next: 0, memories: BTreeMap::new(), feelings: BTreeMap::new() }
    }

    /// Asks until told to stop, or until the server does not answer any more.
    async fn work(mut self, base: String, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() && self.step(&base).await {}
        self
    }

    /// One change; says whether it was acknowledged.
    async fn step(&mut self, base: &str) -> bool {
        let number = self.pending.unwrap_or(self.next);
        self.pending = Some(number);
        let query = if number.is_multiple_of(2) {
            "mutation { updateEmotion(feedback: 1) { version } }".to_owned()
        } else {
            format!("mutation {{ addMemory(content: \"number {number} of {}\") {{ id content }} }}", self.subject)
        };
        let body = json!({"query": query, "extensions": {"idempotencyKey": format!("key-{number}")}});
        let Some(reply) = self.stranger.post(base, &body).await else { return false };
        if !reply["errors"].is_null() {
            return false;
        }
        if let Some(version) = reply["data"]["updateEmotion"]["version"].as_i64() {
            self.feelings.insert(number, version);
        } else {
            self.memories.insert(number, reply["data"]["addMemory"].clone());
        }
        self.pending = None;
        self.next = number + 1;
        true
    }

    /// Compares what was acknowledged with what is there.
    async fn check(&self, base: &str) {
        let versions: BTreeSet<i64> = self.feelings.values().copied().collect();
        let count = i64::try_from(self.feelings.len()).unwrap();
        assert_eq!(versions, (1..=count).collect(), "each feedback of {} is there once", self.subject);
        let asked = json!({"query": "{ emotion { version } }"});
        let reply = self.stranger.post(base, &asked).await.expect("an answer");
        assert_eq!(reply["data"]["emotion"]["version"], count, "{reply}");

        let mut kept = Vec::new();
        let mut after = Value::Null;
        loop {
            let query = "query ($after: String) { memories(first: 100, after: $after) {
                nodes { id content } pageInfo { endCursor hasNextPage } } }";
            let page = self.stranger.post(base, &json!({"query": query, "variables": {"after": after}})).await.unwrap();
            let page = &page["data"]["memories"];
            kept.extend(page["nodes"].as_array().expect("a list").clone());
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        kept.reverse();
        let acknowledged: Vec<Value> = self.memories.values().cloned().collect();
        assert_eq!(kept, acknowledged, "each memory of {} is there once", self.subject);
    }
}

async fn kill_again_and_again(database: &FreshDatabase, times: usize) {
    let chance = Chance::seeded(7);
    let mut callers: Vec<Caller> = (0..CLIENTS).map(Caller::new).collect();
    for _ in 0..times {
        let server = Program::start(&database.config).await;
        let stop = CancellationToken::new();
        let mut working = JoinSet::new();
        for caller in callers.drain(..) {
            working.spawn(caller.work(server.base().to_owned(), stop.clone()));
        }
        sleep(Duration::from_millis(chance.number() % 400)).await;
        server.kill().await;
        callers = working.join_all().await;
    }
    let server = Program::start(&database.config).await;
    let mut acknowledged = 0;
    for caller in &mut callers {
        // What was asked last may have been done, and is done now if it was not.
        assert!(caller.step(server.base()).await, "{}", caller.subject);
        acknowledged += caller.memories.len() + caller.feelings.len();
    }
    // A change waits for its own place in the index, which is later than all others.
    for caller in &callers {
        caller.check(server.base()).await;
    }
    server.kill().await;
    check_projections(database).await;
    println!("{}: killed {times} times, {acknowledged} changes were acknowledged", database.name);
}

/// Each projection has read all of the log and no more.
async fn check_projections(database: &FreshDatabase) {
    let mut config = Config::defaults();
    config.database = database.config.clone();
    let kept = Kept::open(&config, &StoreParts::alone(Clock::system())).await.expect("it opens");
    // What it was behind at the end, it makes up for; on a server that is shared, others may have held it up.
    let stop = CancellationToken::new();
    kept.projector.start(&TaskTracker::new(), &stop);
    until("the index is where the log is", async || {
        let head = kept.events.head().await.expect("it can be read");
        kept.projector.place("memories").await.expect("it can be read") == head
    })
    .await;
    stop.cancel();
    for arguments in [&["projections", "rebuild", "memories"][..], &["audit", "verify"]] {
        let output = program(&database.config).args(arguments).output().await.expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// As a packager does: the tables first, the server later.
#[tokio::test]
async fn a_folder_that_was_migrated_first_can_be_served() {
    let database = FreshDatabase::sqlite();
    let migrated = program(&database.config).arg("migrate").output().await.expect("the program runs");
    assert!(migrated.status.success(), "{migrated:?}");
    Program::start(&database.config).await.kill().await;
}
