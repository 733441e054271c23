//! The house's hot paths, each beside its reference in the same run: `make bench`, or
//! `cargo bench --bench rooms`. The figures that count are ratios; docs/benchmarks.md keeps them.

use std::{hint::black_box, sync::Arc, time::Duration};

use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema, SimpleObject, Variables};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use failsafe::{StateMachine, backoff, failure_policy};
use tidegate::{
    cache::{Cache, CacheSettings, CacheValue, LoadLost, Loaded, Tags},
    config::{GraphqlConfig, ResilienceConfig},
    graphql::FrontHalf,
    model::{Chance, Clock},
    resilience::{Breaker, CallError, PolicyOptions},
};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A call through a closed breaker, beside failsafe's state machine alone.
fn breaker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    let runtime = runtime();
    let _inside = runtime.enter();
    let options = PolicyOptions::from(&ResilienceConfig::defaults()).breaker;
    let breaker = Breaker::new("bench", options, Clock::system());
    group.bench_function("tidegate: fire", |bencher| {
        bencher.to_async(&runtime).iter(|| breaker.fire(async { Ok::<u32, CallError>(black_box(1)) }));
    });
    let policy = failure_policy::consecutive_failures(5, backoff::constant(Duration::from_secs(10)));
    let bare = StateMachine::new(policy, ());
    group.bench_function("reference: bare failsafe", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            assert!(bare.is_call_permitted());
            let result = black_box(Ok::<u32, CallError>(1));
            bare.on_success();
            result
        });
    });
    group.finish();
}

#[derive(Clone)]
struct Text(Arc<str>);

impl CacheValue for Text {
    fn weight(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

/// A hit in memory, envelope and invalidations checked, beside moka alone.
fn l1_hit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("l1 hit");
    let runtime = runtime();
    let keys: Vec<Arc<str>> = (0..10_000).map(|at| format!("coin-{at}").into()).collect();
    let settings = CacheSettings::exact(64 << 20);
    let ours: Cache<Arc<str>, Text, LoadLost> =
        Cache::new("bench", settings, &Tags::new(), Clock::system(), Chance::seeded(1));
    let bare: moka::sync::Cache<Arc<str>, Text> = moka::sync::Cache::new(100_000);
    let (hour, ticket) = (Duration::from_hours(1), ours.begin());
    for key in &keys {
        let value = Text(Arc::clone(key));
        runtime.block_on(ours.put(ticket, key, Loaded::found(value.clone(), hour, hour)));
        bare.insert(Arc::clone(key), value);
    }
    let mut at = 0;
    let mut next = || {
        at = (at + 7_919) % keys.len();
        &keys[at]
    };
    group.bench_function("tidegate: peek", |bencher| bencher.iter(|| ours.peek(next()).expect("a hit").value));
    let mut at = 0;
    let mut next = || {
        at = (at + 7_919) % keys.len();
        &keys[at]
    };
    group.bench_function("reference: bare moka", |bencher| bencher.iter(|| bare.get(next()).expect("a hit")));
    group.finish();
}

#[derive(SimpleObject, Clone)]
struct Price {
    coin: String,
    amount: String,
    change24h: Option<String>,
    as_of: String,
    stale: bool,
}

struct Query;

#[Object]
impl Query {
    async fn crypto_prices(&self, coins: Vec<String>) -> Vec<Price> {
        drop(coins);
        Vec::new()
    }
}

const DOCUMENT: &str =
    "query Prices($coins: [String!]!) { cryptoPrices(coins: $coins) { coin amount change24h asOf stale } }";
const COINS: [&str; 10] =
    ["bitcoin", "ethereum", "solana", "cardano", "dogecoin", "litecoin", "polkadot", "chainlink", "ripple", "tron"];

/// From text and variables to an operation that may execute: a kept plan, beside the bare library, whose front half
/// is its whole execution of a field that gives an empty list.
fn front_half(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("front half of a 10-coin query");
    let runtime = runtime();
    let variables = serde_json::json!({"coins": COINS});
    let given = variables.as_object().expect("an object").clone();
    let front = FrontHalf::new(&GraphqlConfig::defaults());
    group.bench_function(BenchmarkId::from_parameter("tidegate: kept plan"), |bencher| {
        bencher.to_async(&runtime).iter(|| front.run(DOCUMENT, given.clone()));
    });
    let bare = Schema::new(Query, EmptyMutation, EmptySubscription);
    group.bench_function(BenchmarkId::from_parameter("reference: bare library"), |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let variables = Variables::from_json(variables.clone());
            let response = bare.execute(Request::new(DOCUMENT).variables(variables)).await;
            assert!(response.is_ok());
            response
        });
    });
    group.finish();
}

criterion_group!(benches, breaker, l1_hit, front_half);
criterion_main!(benches);
