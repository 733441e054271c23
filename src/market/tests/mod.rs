//! The market's promises, over scripted sources and on a paused clock.

mod feed;
mod lookups;
mod swaps;
mod updates;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Catalogue, Coin, Leadership, Price, PriceError, PriceParts, Prices, RejectReason,
    sources::{Observation, PriceSource, Source},
};
use crate::{
    bus::Bus,
    cache::{Cache, CacheSettings, Tags},
    config::{CacheConfig, MarketConfig},
    model::{AssetId, Chance, Clock, Decimal, Timestamp, parse_decimal},
    resilience::CallError,
};

fn dec(text: &str) -> Decimal {
    parse_decimal(text).unwrap()
}

fn id(text: &str) -> AssetId {
    AssetId::new(text).unwrap()
}

/// A source that says what it is told to.
struct Scripted {
    name: &'static str,
    clock: Clock,
    script: Mutex<Script>,
    calls: Mutex<Vec<Vec<AssetId>>>,
    finished: AtomicUsize,
}

#[derive(Clone)]
struct Script {
    prices: HashMap<AssetId, Decimal>,
    error: Option<CallError>,
    delay: Duration,
}

impl Scripted {
    fn set(&self, coin: &str, price: &str) {
        self.script.lock().prices.insert(id(coin), dec(price));
    }

    fn fail(&self, error: Option<CallError>) {
        self.script.lock().error = error;
    }

    fn delay(&self, delay: Duration) {
        self.script.lock().delay = delay;
    }

    fn calls(&self) -> usize {
        self.calls.lock().len()
    }
}

impl PriceSource for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn batch_limit(&self) -> usize {
        3
    }

    fn supports(&self, _: &Coin) -> bool {
        true
    }

    fn quotes<'a>(&'a self, coins: &'a [Coin]) -> BoxFuture<'a, Result<HashMap<AssetId, Observation>, CallError>> {
        Box::pin(async move {
            self.calls.lock().push(coins.iter().map(|coin| coin.id.clone()).collect());
            let script = self.script.lock().clone();
            tokio::time::sleep(script.delay).await;
            self.finished.fetch_add(1, Ordering::Relaxed);
            if let Some(error) = script.error {
                return Err(error);
            }
            let quote = |coin: &Coin| {
                let observation = Observation {
                    amount: Some(*script.prices.get(&coin.id)?),
                    observed_at: self.clock.now(),
                    change24h: None,
                    uncertainty: Decimal::ZERO,
                    trust: Decimal::ONE,
                };
                Some((coin.id.clone(), observation))
            };
            Ok(coins.iter().filter_map(quote).collect())
        })
    }
}

/// A market with three scripted sources.
struct Market {
    prices: Prices,
    sources: [Arc<Scripted>; 3],
    cache: super::PriceCache,
    tags: Tags,
    bus: Bus,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Market {
    fn open() -> Self {
        Self::configured(|_| {})
    }

    fn configured(change: impl FnOnce(&mut MarketConfig)) -> Self {
        let clock = Clock::stepped_from(Timestamp::from_timestamp(1_800_000_000, 0).unwrap());
        let mut config = MarketConfig::defaults();
        change(&mut config);
        let sources = ["one", "two", "three"].map(|name| {
            let delay = Duration::from_millis(20);
            let script = Script { prices: HashMap::new(), error: None, delay };
            Arc::new(Scripted {
                name,
                clock: clock.clone(),
                script: Mutex::new(script),
                calls: Mutex::default(),
                finished: AtomicUsize::new(0),
            })
        });
        let seated = sources.iter().map(|source| Source {
            adapter: Arc::clone(source) as Arc<dyn PriceSource>,
            weight: Decimal::ONE,
            max_age: Duration::from_mins(1),
            simulated: true,
        });
        let (bus, tasks, stop) =
            (Bus::new(clock.clone(), Chance::seeded(7)), TaskTracker::new(), CancellationToken::new());
        let tags = Tags::new();
        let settings = CacheSettings { jitter: 0.0, early_refresh_beta: 0.0, ..(&CacheConfig::defaults()).into() };
        let cache = Cache::new("prices", settings, &tags, clock.clone(), Chance::seeded(1));
        let parts = PriceParts {
            sources: seated.collect(),
            catalogue: Catalogue::embedded(),
            cache: cache.clone(),
            tags: tags.clone(),
            bus: bus.clone(),
            leadership: Leadership::Alone,
            clock: clock.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        Self { prices: Prices::new(parts, &config), sources, cache, tags, bus, clock, stop, tasks }
    }

    /// Every source quotes this.
    fn set(&self, coin: &str, price: &str) {
        for source in &self.sources {
            source.set(coin, price);
        }
    }

    async fn price(&self, coin: &str) -> Result<Arc<Price>, PriceError> {
        self.prices.many(&[id(coin)]).await.remove(&id(coin)).unwrap()
    }

    fn calls(&self) -> [usize; 3] {
        [0, 1, 2].map(|place| self.sources[place].calls())
    }
}

fn reasons(price: &Price) -> Vec<Option<RejectReason>> {
    price.sources.iter().map(|source| source.reject_reason).collect()
}

async fn pass(time: Duration) {
    // In small steps, as tasks that wake up in between set new timers.
    let step = Duration::from_millis(10);
    for _ in 0..time.as_millis() / step.as_millis() {
        tokio::time::sleep(step).await;
    }
}
