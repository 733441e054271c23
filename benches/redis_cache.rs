//! The value cache over a real Redis, beside BentoCache with the same value, a list of 100 small objects, through the
//! same server in the same run. `make bench` installs what it needs; `cargo bench --bench redis_cache` runs it alone.

use std::{
    collections::HashMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidegate::{
    cache::{Cache, CacheSettings, CacheValue, LoadLost, Loaded, Lookup, Tags},
    config::{CacheConfig, RedisConfig, Secret},
    model::{Chance, Clock},
    store::{Redis, RedisParts},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const MINUTE: Duration = Duration::from_mins(1);
const CALLERS: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct Row {
    foo: String,
    number: u32,
}

#[derive(Clone)]
struct Rows(Arc<Vec<Row>>);

impl Rows {
    fn hundred() -> Self {
        Self(Arc::new((0..100).map(|number| Row { foo: "bar".to_owned(), number }).collect()))
    }
}

impl CacheValue for Rows {
    const SCHEMA: Option<u16> = Some(1);

    fn weight(&self) -> u32 {
        u32::try_from(self.0.len() * 40).expect("not that many")
    }

    fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self.0.as_ref()).expect("rows can be written")
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok().map(|rows| Self(Arc::new(rows)))
    }
}

type RowCache = Cache<Arc<str>, Rows, LoadLost>;

/// Ends the server with the benchmark.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_redis() -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    (Server(server), format!("redis://127.0.0.1:{port}"))
}

/// The cache of one more node.
fn node(url: &str, seed: u64) -> RowCache {
    let parts = RedisParts {
        clock: Clock::system(),
        chance: Chance::seeded(seed),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    let config = RedisConfig { url: Some(Secret::from(url)), ..RedisConfig::defaults() };
    let redis = Redis::open(&config, &parts).expect("the address is good");
    // The benchmark measures Redis, and not how patient we are with it; and its keys expire in a minute, so that
    // nothing is refreshed ahead of time.
    let config = CacheConfig { redis_deadline_ms: 5_000, shared_flight_ms: 5_000, ..CacheConfig::defaults() };
    let tags = Tags::shared_by(&redis, &config, &parts);
    Cache::new("bench", CacheSettings::from(&config), &tags, parts.clock, parts.chance)
}

async fn put(cache: &RowCache, key: &Arc<str>, rows: &Rows) {
    cache.put(cache.begin(), key, Loaded::found(rows.clone(), MINUTE, MINUTE)).await;
}

async fn find(cache: &RowCache, key: &Arc<str>) -> bool {
    matches!(cache.get(key, async |_| Err(LoadLost::Unanswered)).await, Ok(Lookup::Found(_)))
}

/// Waits until one node finds what the other keeps.
async fn meet(one: &RowCache, two: &RowCache, rows: &Rows) {
    for number in 0.. {
        let key: Arc<str> = format!("meeting-{number}").into();
        put(one, &key, rows).await;
        if find(two, &key).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn stampede(nodes: &[RowCache], key: &str) -> (Duration, usize) {
    let (loads, key, began) = (Arc::new(AtomicUsize::new(0)), Arc::<str>::from(key), now());
    let callers = (0..CALLERS).map(|caller| {
        let loads = Arc::clone(&loads);
        nodes[caller % nodes.len()].get(&key, async move |_| {
            loads.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Loaded::found(Rows::hundred(), MINUTE, MINUTE))
        })
    });
    let answers = join_all(callers).await;
    assert!(answers.iter().all(Result::is_ok));
    (began.elapsed(), loads.load(Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// A figure: what it is called on both sides, and nanoseconds, or a count.
type Figure = (&'static str, f64);

async fn ours(url: &str) -> Vec<Figure> {
    const HITS: usize = 1_000_000;
    const SHARED: usize = 10_000;
    let per_call = |began: Instant, calls: usize| began.elapsed().as_secs_f64() * 1e9 / f64_of(calls);
    let (one, two, rows) = (node(url, 1), node(url, 2), Rows::hundred());
    meet(&one, &two, &rows).await;
    let keys: Vec<Arc<str>> = (0..SHARED).map(|number| format!("key-{number}").into()).collect();

    let began = now();
    for key in &keys {
        put(&one, key, &rows).await;
    }
    let tiered_set = per_call(began, SHARED);

    let began = now();
    for key in &keys {
        assert!(find(&two, key).await, "{key} is in Redis");
    }
    let l2_hit = per_call(began, SHARED);

    let began = now();
    for at in 0..HITS {
        assert!(find(&two, &keys[at % 100]).await);
    }
    let l1_hit = per_call(began, HITS);

    let (took, loads) = stampede(&[one, two], "stampede").await;
    let stampede = took.as_secs_f64() * 1e9;
    vec![
        ("l1_hit", l1_hit),
        ("l2_hit", l2_hit),
        ("tiered_set", tiered_set),
        ("stampede", stampede),
        ("stampede_loads", f64_of(loads)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn f64_of(count: usize) -> f64 {
    count as f64
}

/// BentoCache's figures, as its program prints them; none where Node.js or the package is not installed.
fn theirs(port: &str) -> HashMap<String, f64> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/bentocache.mjs");
    let Ok(output) = Command::new("node").args([program, port]).output() else { return HashMap::new() };
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |line: &str| {
        let (name, value) = line.split_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    printed.lines().filter_map(figure).collect()
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("redis_cache: skipped, because redis-server is not installed (Debian: apt-get install redis-server)");
        return;
    }
    let (_server, url) = start_redis();
    let ours = tokio::runtime::Runtime::new().expect("a runtime").block_on(ours(&url));
    let theirs = theirs(url.rsplit(':').next().expect("a port"));
    if theirs.is_empty() {
        println!("redis_cache: without BentoCache (scripts/npm-install.sh benches/peers)");
    }
    println!("{:<16}{:>16}{:>16}{:>10}", "ns", "Tidegate", "BentoCache", "ratio");
    for (name, figure) in ours {
        let other = theirs.get(name).copied().unwrap_or(f64::NAN);
        println!("{name:<16}{figure:>16.0}{other:>16.0}{:>10.3}", figure / other);
    }
}
