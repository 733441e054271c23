//! Decisions of the limiter over Redis, beside `redis-benchmark` with the same script, the same arguments and the same
//! number of callers, in turn against the same server.
//!
//! "Unpipelined" means that every decision is an EVALSHA of its own, and that each of the 50 who ask waits for the answer
//! before asking again. All of them share one connection, which sends together what was asked at the same moment;
//! `redis-benchmark` has a connection for each. Run with `cargo bench --bench redis_limits`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures real time")]

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use tidegate::{
    config::{LimitsConfig, RedisConfig},
    limits::{Caller, Decision, Demand, Limiter, Policy},
    model::{Chance, Clock},
    store::{Redis, RedisParts},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const ROUNDS: usize = 5;
const ASKING: u32 = 50;
const DECISIONS: u32 = 200_000;
const CALLERS: u32 = 10_000;
/// A limit that nobody reaches: a million a minute, as the script gets it.
const LIMIT: u32 = 1_000_000;
const WINDOW: Duration = Duration::from_mins(1);
const SCRIPT: &str = include_str!("../src/limits/gcra.lua");

fn main() {
    let missing = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err();
    if missing("redis-server") || missing("redis-benchmark") {
        println!("redis_limits: skipped, because redis is not installed (Debian: redis-server, redis-tools)");
        return;
    }
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stop = CancellationToken::new();
    let limiter = runtime.block_on(connect(&server, &stop));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(runtime.block_on(decide(&limiter)));
        theirs.push(server.benchmark());
    }
    let best = |rounds: &[f64]| rounds.iter().copied().fold(0.0, f64::max);
    println!("decisions a second, best of {ROUNDS} rounds in turn, {ASKING} at a time, {CALLERS} callers");
    println!("  limiter          {:>9.0}   of {ours:.0?}", best(&ours));
    println!("  redis-benchmark  {:>9.0}   of {theirs:.0?}", best(&theirs));
    println!("  ratio            {:>9.2}", best(&ours) / best(&theirs));
    stop.cancel();
}

async fn connect(server: &Server, stop: &CancellationToken) -> Limiter {
    let parts = RedisParts {
        clock: Clock::system(),
        chance: Chance::from_entropy(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    };
    let url = format!("redis://127.0.0.1:{}", server.port);
    let config = RedisConfig { url: Some(url.as_str().into()), ..RedisConfig::defaults() };
    let redis = Redis::open(&config, &parts).expect("an address");
    while !redis.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What takes too long would be decided without Redis, and not count.
    let limits = LimitsConfig { redis_deadline_ms: 1_000, ..LimitsConfig::defaults() };
    Limiter::shared(Clock::system(), &limits, redis)
}

/// Decisions a second.
async fn decide(limiter: &Limiter) -> f64 {
    let next = Arc::new(AtomicU32::new(0));
    let began = Instant::now();
    let asking: Vec<_> = (0..ASKING)
        .map(|_| {
            let (limiter, next) = (limiter.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let policy = Policy { name: "Query.cryptoPrices".into(), limit: LIMIT, window: WINDOW };
                let demands = [Demand { policy, cost: 1 }];
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= DECISIONS {
                        return;
                    }
                    let address = Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761) % CALLERS);
                    let decision = limiter.check(&Caller::new(None, address.into()), &demands).await;
                    assert!(matches!(decision, Decision::Allowed { .. }), "{decision:?}");
                }
            })
        })
        .collect();
    for asking in asking {
        asking.await.expect("nobody is refused");
    }
    f64::from(DECISIONS) / began.elapsed().as_secs_f64()
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let server = Self { process, port };
        while server.cli(&["PING"]) != "PONG" {
            sleep(Duration::from_millis(10));
        }
        server
    }

    fn cli(&self, command: &[&str]) -> String {
        let cli = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output();
        String::from_utf8_lossy(&cli.expect("redis-cli is installed").stdout).trim().to_owned()
    }

    /// Calls of the script a second, with what the limiter sends for a caller whom it knows.
    fn benchmark(&self) -> f64 {
        let hash = self.cli(&["SCRIPT", "LOAD", SCRIPT]);
        let known = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros();
        let key = "bench:limits:{0123456789abcdef}:__rand_int__";
        let output = Command::new("redis-benchmark")
            .args(["-p", &self.port.to_string(), "-c", &ASKING.to_string(), "-n", &DECISIONS.to_string()])
            .args(["-r", &CALLERS.to_string(), "--csv", "EVALSHA", &hash, "1", key])
            .args(["60", &WINDOW.as_micros().to_string(), &known.to_string()])
            .output()
            .expect("redis-benchmark is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figure = text.lines().last().and_then(|line| line.split("\",\"").nth(1)).unwrap_or_default();
        figure.trim_matches('"').parse().unwrap_or_else(|_| panic!("redis-benchmark said {text:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
