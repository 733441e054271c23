//! The log of events, each body on both databases: appending, conflicts, keys, order, snapshots, projections.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate::{
    bus::Bus,
    events::{
        Aggregate, Begun, Command, CommandKey, DomainEvent, Events, EventsError, Expected, Leftovers, LogPosition,
        NewEvent, Projection, ProjectionError, Projector, Upcasters, Work,
    },
    model::{Chance, Clock},
    store::{Database, DatabaseError, Stores, Transaction},
};
use tokio::{sync::Mutex, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::harness::{FreshDatabase, PATIENCE, on_both, until};

on_both! {
    what_is_appended_is_read_in_order
    a_change_for_another_version_is_refused
    the_same_key_is_done_once
    what_is_dropped_leaves_no_trace
    many_writers_of_one_stream_append_one_after_the_other
    a_long_stream_is_the_same_from_its_snapshot
    a_stream_is_followed_without_a_hole
    a_projection_is_neither_behind_nor_ahead
    a_projection_is_built_anew_beside_the_old_one
    a_projection_has_settled_when_every_generation_has
    a_projection_that_has_read_another_log_begins_anew
    followers_lose_and_double_nothing
}

/// A counter: what is easy to check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    sum: i64,
    count: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum TallyEvent {
    Added { amount: i64 },
}

impl Aggregate for Tally {
    type Event = TallyEvent;
    const TYPE: &'static str = "tally";
    const SNAPSHOT_VERSION: u32 = 1;

    fn apply(&mut self, event: &TallyEvent) {
        let TallyEvent::Added { amount } = event;
        self.sum += amount;
        self.count += 1;
    }
}

fn events_of(stores: &Stores) -> Events {
    let clock = Clock::system();
    let bus = Bus::new(clock.clone(), Chance::seeded(1));
    Events::new(stores.log.clone(), Upcasters::default(), bus, clock, TimeDelta::hours(1))
}

/// The log of a node of its own.
async fn node(database: &FreshDatabase) -> (Stores, Events) {
    let stores = database.stores().await;
    let events = events_of(&stores);
    events.start(&TaskTracker::new(), &CancellationToken::new());
    (stores, events)
}

fn command(key: Option<CommandKey>) -> Command {
    Command { user_id: "alice".into(), correlation_id: "request".into(), causation_id: None, key }
}

async fn begin(events: &Events, id: &str) -> Work {
    match events.begin(command(None), &[id.to_owned()]).await.unwrap() {
        Begun::Fresh(work) => *work,
        Begun::Repeated(result) => panic!("done before: {result}"),
    }
}

/// Adds, and says where in the log that is.
async fn add(events: &Events, id: &str, amount: i64) -> Result<LogPosition, EventsError> {
    let mut work = begin(events, id).await;
    let mut tally = work.replay::<Tally>(id).await?;
    work.append(&mut tally, &[TallyEvent::Added { amount }]).await?;
    work.commit(Value::Null).await
}

/// Everything in the log, which is so many events, by one reader. Other databases of a PostgreSQL may hold it up.
async fn all(events: &Events, count: usize) -> Vec<DomainEvent> {
    let (mut follower, mut found) = (events.follow(LogPosition::START), Vec::new());
    while found.len() < count {
        found.extend(timeout(PATIENCE, follower.next()).await.expect("they are there").unwrap());
    }
    assert_eq!(found.len(), count);
    found
}

async fn what_is_appended_is_read_in_order(database: FreshDatabase) {
    let (_stores, events) = node(&database).await;
    let mut work = begin(&events, "tally:a").await;
    let mut tally = work.replay::<Tally>("tally:a").await.unwrap();
    let appended = work.append(&mut tally, &[1, 2, 3].map(|amount| TallyEvent::Added { amount })).await.unwrap();
    let place = work.commit(Value::Null).await.unwrap();
    assert_eq!((tally.version, tally.state.clone()), (3, Tally { sum: 6, count: 3 }));
    assert_eq!(appended.last().unwrap().position, place);
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap(), tally);

    let read = all(&events, 3).await;
    assert_eq!(read, appended, "{}", database.name);
    let first = &read[0];
    assert_eq!((&*first.event_type, first.schema_version, first.event_version), ("Added", 1, 1));
    assert_eq!((&*first.aggregate_id, &*first.aggregate_type), ("tally:a", "tally"));
    assert_eq!((&*first.metadata.user_id, &*first.metadata.correlation_id), ("alice", "request"));
    assert_eq!(first.data, json!({"amount": 1}));
    assert_eq!(events.stream("tally:a", 2).await.unwrap(), read[2..]);
    assert_eq!(events.head().await.unwrap(), place);
}

async fn a_change_for_another_version_is_refused(database: FreshDatabase) {
    let (_stores, events) = node(&database).await;
    add(&events, "tally:a", 1).await.unwrap();
    let new = || vec![NewEvent { event_type: "Added".into(), data: json!({"amount": 5}) }];
    for (expected, found) in [(0, Err(1)), (2, Err(1)), (1, Ok(2))] {
        let mut work = begin(&events, "tally:a").await;
        let outcome = work.append_events("tally:a", "tally", Expected::Version(expected), new()).await;
        match found {
            Ok(version) => assert_eq!(outcome.unwrap()[0].event_version, version),
            Err(found) => {
                assert_eq!(outcome, Err(EventsError::Conflict { id: "tally:a".into(), expected, found }));
                continue;
            }
        }
        work.commit(Value::Null).await.unwrap();
    }
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap().state.sum, 6);
}

async fn the_same_key_is_done_once(database: FreshDatabase) {
    let (_stores, events) = node(&database).await;
    let key = |amount: i64| Some(CommandKey::new("key", "add", &json!({"amount": amount})));
    let done = Arc::new(Mutex::new(Vec::new()));
    let tries = (0..8).map(|_| {
        let (events, done) = (events.clone(), Arc::clone(&done));
        async move {
            match events.begin(command(key(7)), &["tally:a".to_owned()]).await.unwrap() {
                Begun::Fresh(mut work) => {
                    let mut tally = work.replay::<Tally>("tally:a").await.unwrap();
                    work.append(&mut tally, &[TallyEvent::Added { amount: 7 }]).await.unwrap();
                    work.commit(json!({"version": tally.version})).await.unwrap();
                }
                Begun::Repeated(result) => done.lock().await.push(result),
            }
        }
    });
    futures_util::future::join_all(tries).await;
    assert_eq!(*done.lock().await, vec![json!({"version": 1}); 7]);
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap().state, Tally { sum: 7, count: 1 });
    let other = events.begin(command(key(8)), &[]).await;
    assert_eq!(other.unwrap_err(), EventsError::KeyReused);
    // The same key of somebody else is another one.
    let bob = Command { user_id: "bob".into(), ..command(key(8)) };
    assert!(matches!(events.begin(bob, &[]).await.unwrap(), Begun::Fresh(_)));
}

async fn what_is_dropped_leaves_no_trace(database: FreshDatabase) {
    let (_stores, events) = node(&database).await;
    let mut work = begin(&events, "tally:a").await;
    let mut tally = work.replay::<Tally>("tally:a").await.unwrap();
    work.append(&mut tally, &[TallyEvent::Added { amount: 1 }]).await.unwrap();
    drop(work);
    add(&events, "tally:a", 2).await.unwrap();
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap().version, 1);
    all(&events, 1).await;
}

async fn many_writers_of_one_stream_append_one_after_the_other(database: FreshDatabase) {
    let (_stores, events) = node(&database).await;
    let (_others, other) = node(&database).await;
    let writers = (0..8).map(|number| {
        let events = if number % 2 == 0 { events.clone() } else { other.clone() };
        tokio::spawn(async move {
            for _ in 0..20 {
                add(&events, "tally:a", 1).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let versions: Vec<u64> = all(&events, 160).await.iter().map(|event| event.event_version).collect();
    assert_eq!(versions, (1..=160).collect::<Vec<u64>>(), "the order of the log is that of the stream");
}

async fn a_long_stream_is_the_same_from_its_snapshot(database: FreshDatabase) {
    let (stores, events) = node(&database).await;
    for amount in 0..25 {
        let mut work = begin(&events, "tally:a").await;
        let mut tally = work.replay::<Tally>("tally:a").await.unwrap();
        let added: Vec<_> = (0..10).map(|n| TallyEvent::Added { amount: amount * 10 + n }).collect();
        work.append(&mut tally, &added).await.unwrap();
        work.commit(Value::Null).await.unwrap();
    }
    let expected = Tally { sum: (0..250).sum(), count: 250 };
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap().state, expected);
    let versions = database.rows(&stores, "SELECT event_version FROM snapshots").await;
    assert_eq!(versions, [200]);
    // A state that does not fit its hash is not believed.
    database.execute(&stores, "UPDATE snapshots SET state = '{\"sum\": 1, \"count\": 200}'").await;
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap().state, expected);
    database.execute(&stores, "DELETE FROM snapshots").await;
    assert_eq!(events.replay::<Tally>("tally:a").await.unwrap().state, expected);
}

async fn a_stream_is_followed_without_a_hole(database: FreshDatabase) {
    let (_stores, events) = node(&database).await;
    let (_others, other) = node(&database).await;
    for amount in 0..3 {
        add(&events, "tally:a", amount).await.unwrap();
    }
    let mut followed = Box::pin(events.follow_stream("tally:a", 1));
    let writing = tokio::spawn(async move {
        for amount in 3..30 {
            add(&other, "tally:a", amount).await.unwrap();
            add(&other, "tally:b", amount).await.unwrap();
        }
    });
    for version in 2..=30 {
        let event = timeout(PATIENCE, followed.next()).await.expect("it comes").expect("there is no end");
        assert_eq!((&*event.aggregate_id, event.event_version), ("tally:a", version));
    }
    writing.await.unwrap();
}

/// Sums by aggregate, kept in the projections' own way.
#[derive(Default)]
struct Sums {
    /// A generation that cannot be kept up to date.
    refused: Arc<AtomicI64>,
}

#[async_trait]
impl Projection for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }

    async fn apply(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
        events: &[DomainEvent],
    ) -> Result<Leftovers, ProjectionError> {
        const ADD: &str = "INSERT INTO sums (generation, id, total) VALUES ($1, $2, $3) \
            ON CONFLICT (generation, id) DO UPDATE SET total = sums.total + excluded.total";
        if generation == self.refused.load(Ordering::Relaxed) {
            return Err(DatabaseError::ReadOnly.into());
        }
        for event in events {
            let (id, amount) = (event.aggregate_id.to_string(), event.data["amount"].as_i64().unwrap());
            let added = match transaction {
                Transaction::Sqlite(connection) => {
                    sqlx::query(ADD).bind(generation).bind(id).bind(amount).execute(&mut **connection).await.map(drop)
                }
                Transaction::Postgres(connection) => {
                    sqlx::query(ADD).bind(generation).bind(id).bind(amount).execute(&mut **connection).await.map(drop)
                }
            };
            added.map_err(|error| index.failed(error))?;
        }
        Ok(Leftovers::None)
    }

    async fn clear(
        &self,
        index: &Database,
        transaction: &mut Transaction,
        generation: i64,
    ) -> Result<(), ProjectionError> {
        const CLEAR: &str = "DELETE FROM sums WHERE generation = $1";
        let cleared = match transaction {
            Transaction::Sqlite(connection) => {
                sqlx::query(CLEAR).bind(generation).execute(&mut **connection).await.map(drop)
            }
            Transaction::Postgres(connection) => {
                sqlx::query(CLEAR).bind(generation).execute(&mut **connection).await.map(drop)
            }
        };
        Ok(cleared.map_err(|error| index.failed(error))?)
    }
}

const SUMS: &str = "CREATE TABLE sums (generation bigint, id text, total bigint, PRIMARY KEY (generation, id))";
const TOTAL: &str =
    "SELECT CAST(coalesce(sum(total), 0) AS bigint) FROM sums JOIN projections USING (generation) WHERE active";

fn projector(stores: &Stores, events: &Events) -> Projector {
    Projector::new(events.clone(), stores.index.clone(), vec![Arc::new(Sums::default())])
}

async fn a_projection_is_neither_behind_nor_ahead(database: FreshDatabase) {
    let (stores, events) = node(&database).await;
    database.execute_index(&stores, SUMS).await;
    // Two nodes keep the same projection, and are stopped at any moment.
    let (_others, other) = node(&database).await;
    let (mut expected, mut newest) = (0, LogPosition::START);
    for round in 0..6 {
        let stops: Vec<CancellationToken> = [&events, &other]
            .map(|events| {
                let stop = CancellationToken::new();
                projector(&stores, events).start(&TaskTracker::new(), &stop);
                stop
            })
            .into();
        for amount in 0..20 {
            newest = add(&events, &format!("tally:{}", amount % 4), amount).await.unwrap();
            expected += amount;
        }
        if round < 5 {
            stops.iter().for_each(CancellationToken::cancel);
            continue;
        }
        let reading = projector(&stores, &events);
        reading.start(&TaskTracker::new(), &stops[0]);
        assert!(reading.shows("sums", newest, PATIENCE).await);
    }
    assert_eq!(database.rows_of_index(&stores, TOTAL).await, [expected]);
}

async fn a_projection_is_built_anew_beside_the_old_one(database: FreshDatabase) {
    let (stores, events) = node(&database).await;
    database.execute_index(&stores, SUMS).await;
    let stop = CancellationToken::new();
    let projector = projector(&stores, &events);
    projector.start(&TaskTracker::new(), &stop);
    let mut newest = LogPosition::START;
    for amount in 0..700 {
        newest = add(&events, "tally:a", amount % 10).await.unwrap();
    }
    assert!(projector.shows("sums", newest, PATIENCE).await);
    database.execute_index(&stores, "UPDATE sums SET total = -1").await;
    let writing = tokio::spawn({
        let events = events.clone();
        async move {
            let mut newest = LogPosition::START;
            for _ in 0..50 {
                newest = add(&events, "tally:a", 1).await.unwrap();
            }
            newest
        }
    });
    let rebuilt = projector.rebuild("sums").await.unwrap();
    assert_eq!(rebuilt.generation, 2);
    // The running projector reads for the new generation, too: it may have read any part of it.
    assert!(rebuilt.events <= 750, "{rebuilt:?}");
    let newest = writing.await.unwrap();
    assert!(projector.shows("sums", newest, PATIENCE).await);
    assert_eq!(database.rows_of_index(&stores, TOTAL).await, [700 / 10 * 45 + 50]);
    assert_eq!(database.rows_of_index(&stores, "SELECT DISTINCT generation FROM sums").await, [2]);
    let unknown = projector.rebuild("nothing").await.unwrap_err().to_string();
    assert_eq!(unknown, "there is no projection nothing; there are: sums");
}

async fn a_projection_has_settled_when_every_generation_has(database: FreshDatabase) {
    let (stores, events) = node(&database).await;
    database.execute_index(&stores, SUMS).await;
    let refused = Arc::new(AtomicI64::new(2));
    let sums = Sums { refused: Arc::clone(&refused) };
    let projector = Projector::new(events.clone(), stores.index.clone(), vec![Arc::new(sums)]);
    let newest = add(&events, "tally:a", 1).await.unwrap();
    projector.start(&TaskTracker::new(), &CancellationToken::new());
    assert!(projector.settles("sums", newest, PATIENCE).await);
    // A rebuild that ended in the middle, whose generation is kept up to date from now on.
    projector.rebuild("sums").await.unwrap_err();
    let newest = add(&events, "tally:a", 1).await.unwrap();
    assert!(projector.shows("sums", newest, PATIENCE).await);
    assert!(!projector.settles("sums", newest, Duration::from_millis(300)).await);
    refused.store(0, Ordering::Relaxed);
    assert!(projector.settles("sums", newest, PATIENCE).await);
}

/// As after a backup of the log was put back, to which other events were appended than before.
async fn a_projection_that_has_read_another_log_begins_anew(database: FreshDatabase) {
    const LOSE: &str = "DELETE FROM snapshots; DELETE FROM events WHERE event_version > 4";
    let (stores, events) = node(&database).await;
    database.execute_index(&stores, SUMS).await;
    let projects = async |newest| {
        let (projector, stop) = (projector(&stores, &events), CancellationToken::new());
        projector.start(&TaskTracker::new(), &stop);
        assert!(projector.shows("sums", newest, PATIENCE).await);
        stop.cancel();
    };
    let mut newest = LogPosition::START;
    for amount in [1; 10] {
        newest = add(&events, "tally:a", amount).await.unwrap();
    }
    projects(newest).await;
    database.execute_each(&stores, LOSE).await;
    // It is ahead: a rebuild must not wait for the log to catch up.
    let rebuilt = timeout(PATIENCE, projector(&stores, &events).rebuild("sums")).await.expect("it ends").unwrap();
    assert_eq!(rebuilt.events, 4);
    assert_eq!(database.rows_of_index(&stores, TOTAL).await, [4]);

    projects(add(&events, "tally:a", 1).await.unwrap()).await;
    database.execute_each(&stores, LOSE).await;
    // The log is longer than what was read of the other one.
    for amount in [100; 10] {
        newest = add(&events, "tally:a", amount).await.unwrap();
    }
    projects(newest).await;
    until("it has all of the new log", async || database.rows_of_index(&stores, TOTAL).await == [1_004]).await;
}

/// Writers of which some are slow, and a reader that follows them: the gap test. `make soak` runs it for longer.
async fn followers_lose_and_double_nothing(database: FreshDatabase) {
    gap_test(&database, Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_followers_lose_and_double_nothing() {
    for database in [FreshDatabase::own_postgres().await, FreshDatabase::sqlite()] {
        gap_test(&database, Duration::from_secs(10)).await;
    }
}

/// Everything in the log, until nothing new comes.
async fn all_there_is(events: Events) -> Vec<DomainEvent> {
    let (mut follower, mut seen) = (events.follow(LogPosition::START), Vec::new());
    while let Ok(Ok(page)) = timeout(Duration::from_secs(2), follower.next()).await {
        seen.extend(page);
    }
    seen
}

async fn gap_test(database: &FreshDatabase, time: Duration) {
    let (_stores, events) = node(database).await;
    let clock = Clock::system();
    let end = clock.instant() + time;
    let following = tokio::spawn(all_there_is(events.clone()));
    let writers = (0..8_u64).map(|writer| {
        let (events, clock) = (events.clone(), clock.clone());
        tokio::spawn(async move {
            let (chance, mut appended) = (Chance::seeded(writer), HashSet::new());
            while clock.instant() < end {
                let id = format!("tally:{}", chance.number() % 200);
                let mut work = begin(&events, &id).await;
                let mut tally = work.replay::<Tally>(&id).await.unwrap();
                let batch: Vec<_> = (0..=chance.number() % 3).map(|_| TallyEvent::Added { amount: 1 }).collect();
                let new = work.append(&mut tally, &batch).await.unwrap();
                // The straggler that makes numbers and commits disagree.
                if chance.fraction() < 0.02 {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                if chance.fraction() < 0.01 {
                    continue;
                }
                work.commit(Value::Null).await.unwrap();
                appended.extend(new.into_iter().map(|event| event.id));
            }
            appended
        })
    });
    let mut appended = HashSet::new();
    for writer in writers.collect::<Vec<_>>() {
        appended.extend(writer.await.unwrap());
    }
    let seen = following.await.unwrap();
    check(&seen, &appended, database.name);
    println!("{}: {} events, 0 lost, 0 doubled", database.name, seen.len());
}

/// Each event that was appended, once, in the order of the log and of its stream.
fn check(seen: &[DomainEvent], appended: &HashSet<Uuid>, name: &str) {
    let ids: HashSet<_> = seen.iter().map(|event| event.id).collect();
    assert_eq!((ids.len(), seen.len()), (appended.len(), appended.len()), "{name}: lost or doubled");
    assert_eq!(ids, *appended);
    assert!(seen.is_sorted_by_key(|event| event.position), "in the order of the log");
    let mut versions = BTreeMap::new();
    for event in seen {
        let before = versions.insert(&event.aggregate_id, event.event_version).unwrap_or_default();
        assert_eq!(event.event_version, before + 1, "in the order of {}", event.aggregate_id);
    }
}
