//! Appending to the log of events beside a bare `INSERT` of the same rows through the same pool, in turn in one run, on
//! SQLite and on PostgreSQL, one event and ten at a time, by one writer and by eight.
//!
//! The bare statement commits by itself on PostgreSQL; on SQLite it stands between BEGIN and COMMIT, as the pool's one
//! writer does. Both wait for the disk. Run with `cargo bench --bench events`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures real time")]

#[path = "../tests/it/harness/ports.rs"]
mod ports;
#[expect(dead_code, reason = "tests do more to a server")]
#[path = "../tests/it/harness/postgres.rs"]
mod postgres;
#[path = "../tests/it/harness/watchdog.rs"]
mod watchdog;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use postgres::PostgresServer;
use serde_json::{Value, json};
use sqlx::{QueryBuilder, types::Json};
use tempfile::TempDir;
use tidegate::{
    bus::Bus,
    config::DatabaseConfig,
    events::{Begun, Command as Wish, Events, Expected, NewEvent, Upcasters},
    model::{Chance, Clock},
    store::{StoreParts, Stores, Transaction},
};
use uuid::Uuid;

// For the server.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 4;
const STREAMS: u64 = 5_000;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = TempDir::new().expect("a temporary folder");
    let mut config = DatabaseConfig::defaults();
    folder.path().clone_into(&mut config.folder);
    println!("events a second and the time of one append, the best of {ROUNDS} rounds of {ROUND:?}, in turn");
    runtime.block_on(measure("SQLite", &config));
    if Command::new(postgres::binary("postgres")).arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("PostgreSQL: skipped, because it is not installed (Debian: postgresql)");
        return;
    }
    // As its package configures it: with this much memory, and it waits for its disk.
    let server = runtime.block_on(PostgresServer::with(&["shared_buffers=128MB"]));
    config.url = Some(server.url().as_str().into());
    runtime.block_on(measure("PostgreSQL", &config));
}

async fn measure(name: &str, config: &DatabaseConfig) {
    let clock = Clock::system();
    let stores = Stores::open(config, &StoreParts::alone(clock.clone())).await.expect("it opens");
    let bus = Bus::new(clock.clone(), Chance::seeded(1));
    let events = Events::new(stores.log.clone(), Upcasters::default(), bus, clock, TimeDelta::hours(1));
    for writers in [1, 8] {
        for batch in [1, 10] {
            let (mut bare, mut ours) = (Measured::default(), Measured::default());
            for _ in 0..ROUNDS {
                let (stores, events) = (stores.clone(), events.clone());
                bare.better(run(writers, batch, move |seed, batch| insert(stores.clone(), seed, batch)).await);
                ours.better(run(writers, batch, move |seed, batch| append(events.clone(), seed, batch)).await);
            }
            for (what, Measured { rate, p50, p99 }) in [("bare INSERT", &bare), ("append", &ours)] {
                println!(
                    "{name:<10} {writers} writer(s), {batch:>2} at a time, {what:<11} {rate:>8.0}/s  p50 {p50:>9.2?}  p99 {p99:>9.2?}"
                );
            }
            println!(
                "{name:<10} {writers} writer(s), {batch:>2} at a time, ratio       {:>8.2}",
                ours.rate / bare.rate
            );
        }
    }
    stores.close().await;
}

#[derive(Default)]
struct Measured {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

impl Measured {
    /// Keeps the better of two rounds: what the disk does meanwhile for others only slows.
    fn better(&mut self, other: Self) {
        if other.rate > self.rate {
            *self = other;
        }
    }
}

/// Each writer does one after the other until the time is over.
async fn run<F: Future<Output = ()> + Send + 'static>(
    writers: u64,
    batch: u64,
    once: impl Fn(u64, u64) -> F + Clone + Send + 'static,
) -> Measured {
    let began = Instant::now();
    let writing: Vec<_> = (0..writers)
        .map(|writer| {
            let once = once.clone();
            tokio::spawn(async move {
                let (chance, mut took) = (Chance::seeded(writer), Vec::new());
                while began.elapsed() < ROUND {
                    let start = Instant::now();
                    once(chance.number() % STREAMS, batch).await;
                    took.push(start.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for writer in writing {
        took.extend(writer.await.expect("it writes"));
    }
    let count = u32::try_from(took.len() as u64 * batch).expect("a few seconds' worth");
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    took.sort_unstable();
    Measured { rate, p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] }
}

fn data() -> Value {
    json!({"oldEmotion": "CALM", "newEmotion": "CONTENT", "points": 12, "feedback": 24})
}

async fn append(events: Events, seed: u64, batch: u64) {
    let id = format!("bench:{seed}");
    let wish = Wish { user_id: "bench".into(), correlation_id: "bench".into(), causation_id: None, key: None };
    let Begun::Fresh(mut work) = events.begin(wish, std::slice::from_ref(&id)).await.expect("it begins") else {
        unreachable!()
    };
    let new = (0..batch).map(|_| NewEvent { event_type: "Measured".into(), data: data() }).collect();
    work.append_events(&id, "bench", Expected::Any, new).await.expect("it appends");
    work.commit(Value::Null).await.expect("it commits");
}

async fn insert(stores: Stores, _seed: u64, batch: u64) {
    const INTO: &str = "INSERT INTO events \
        (id, aggregate_id, aggregate_type, event_version, event_type, schema_version, data, metadata, created_at) ";
    macro_rules! rows {
        ($database:ty) => {{
            let stream = format!("bare:{}", Uuid::now_v7());
            let metadata = json!({"userId": "bench", "time": Utc::now(), "correlationId": "bench"});
            let mut query = QueryBuilder::<$database>::new(INTO);
            query.push_values(1..=batch, |mut row, version| {
                row.push_bind(Uuid::now_v7()).push_bind(stream.clone()).push_bind("bench");
                row.push_bind(version.cast_signed()).push_bind("Measured").push_bind(1_i32);
                row.push_bind(Json(data())).push_bind(Json(metadata.clone())).push_bind(Utc::now());
            });
            query
        }};
    }
    if let Some(pool) = stores.log.postgres() {
        rows!(sqlx::Postgres).build().execute(pool).await.expect("it inserts");
        return;
    }
    let mut transaction = stores.log.write().await.expect("it begins");
    if let Transaction::Sqlite(connection) = &mut transaction {
        rows!(sqlx::Sqlite).build().execute(&mut **connection).await.expect("it inserts");
    }
    stores.log.commit(transaction).await.expect("it commits");
}
