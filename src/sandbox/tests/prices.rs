//! Prices: the stand-ins read through the real sources.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::sandbox::*;
use crate::{
    bus::Bus,
    cache::{Cache, Tags},
    config::{CacheConfig, ResilienceConfig},
    market::{Leadership, Price, PriceError, PriceParts, Prices, RejectReason, sources},
    model::{AssetId, Chance, Decimal},
    resilience::{BreakerState, Outbound, Upstreams},
};

const TRY_TIMEOUT: Duration = Duration::from_millis(400);

struct Sandbox {
    stand_ins: StandIns,
    prices: Prices,
    upstreams: Upstreams,
    stop: CancellationToken,
}

async fn open(change: impl FnOnce(&mut MarketConfig)) -> Sandbox {
    let clock = Clock::system();
    let stand_ins = StandIns::start(clock.clone(), 7).await.unwrap();
    let mut config = MarketConfig::defaults();
    config.round_timeout_ms = 300;
    change(&mut config);
    stand_ins.apply(&mut config);
    let mut resilience = ResilienceConfig::defaults();
    resilience.outbound.allow_private_addresses = true;
    resilience.breaker.try_timeout_ms = TRY_TIMEOUT.as_millis().try_into().unwrap();
    resilience.breaker.volume_threshold = 2;
    resilience.breaker.reset_timeout_ms = 500;
    resilience.retry.max_tries = 1;
    let upstreams = Upstreams::new(clock.clone(), Chance::seeded(1), &resilience);
    let outbound = Outbound::new(&resilience.outbound, clock.clone()).unwrap();
    let (tags, stop) = (Tags::new(), CancellationToken::new());
    let parts = PriceParts {
        sources: sources::build(&config, &upstreams, &outbound, &clock),
        catalogue: Catalogue::embedded(),
        cache: Cache::new("prices", (&CacheConfig::defaults()).into(), &tags, clock.clone(), Chance::seeded(2)),
        tags,
        bus: Bus::new(clock.clone(), Chance::seeded(3)),
        leadership: Leadership::Alone,
        clock,
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    };
    Sandbox { stand_ins, prices: Prices::new(parts, &config), upstreams, stop }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn id(text: &str) -> AssetId {
    AssetId::new(text).unwrap()
}

impl Sandbox {
    async fn price(&self, coin: &str) -> Result<Arc<Price>, PriceError> {
        self.prices.many(&[id(coin)]).await.remove(&id(coin)).unwrap()
    }

    fn state(&self, vendor: Vendor) -> BreakerState {
        self.upstreams.status(vendor.path()).unwrap().state
    }

    /// Asks for a price until it is as wanted.
    async fn until(&self, coin: &str, wanted: impl Fn(&Price) -> bool) -> Arc<Price> {
        let asking = async {
            loop {
                if let Ok(price) = self.price(coin).await
                    && wanted(&price)
                {
                    return price;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asking).await.expect("the price never became as wanted")
    }
}

fn reasons(price: &Price) -> HashMap<&str, Option<RejectReason>> {
    price.sources.iter().map(|source| (&*source.source, source.reject_reason)).collect()
}

#[tokio::test]
async fn every_listed_coin_has_a_price_that_says_it_is_simulated() {
    let sandbox = open(|_| {}).await;
    let coins: Vec<AssetId> = Catalogue::embedded().iter().map(|coin| coin.id.clone()).collect();
    let prices = sandbox.prices.many(&coins).await;
    assert_eq!(prices.len(), coins.len());
    for (coin, price) in prices {
        let price = price.unwrap_or_else(|error| panic!("{coin}: {error}"));
        assert!(!price.stale && price.amount > Decimal::ZERO, "{price:?}");
        assert!(price.sources.len() == 3 && price.sources.iter().all(|source| source.simulated));
        assert_eq!(price.quorum.used, price.quorum.total, "{price:?}");
    }
}

#[tokio::test]
async fn a_thousand_callers_for_cold_coins_make_one_call_per_vendor_and_batch() {
    let sandbox = open(|_| {}).await;
    let coins = ["bitcoin", "ethereum", "solana", "cardano"].map(id);
    for answer in join_all((0..1_000).map(|_| sandbox.prices.many(&coins))).await {
        assert!(answer.values().all(Result::is_ok));
    }
    for vendor in Vendor::SOURCES {
        assert_eq!((sandbox.stand_ins.calls(vendor), sandbox.stand_ins.coins_per_call(vendor)), (1, vec![4]));
    }
}

#[tokio::test]
async fn every_fault_is_told_and_the_price_stays_right() {
    let bitcoin = || id("bitcoin");
    for (fault, reason) in [
        (Fault::Latency { ms: 350 }, RejectReason::Late),
        (Fault::RateLimitedJson { retry_after: 1 }, RejectReason::RateLimited),
        (Fault::RateLimitedHtml { retry_after: 1 }, RejectReason::RateLimited),
        (Fault::ServerError { status: 503 }, RejectReason::Unavailable),
        (Fault::Garbage, RejectReason::Undecodable),
        (Fault::Hang, RejectReason::Late),
        (Fault::Disconnect, RejectReason::Unavailable),
        (Fault::Lie { factor: Decimal::TEN }, RejectReason::Outlier),
        (Fault::MissingCoin { id: bitcoin() }, RejectReason::Missing),
        (Fault::NullPrice { id: bitcoin() }, RejectReason::NullPrice),
    ] {
        for vendor in Vendor::SOURCES {
            let sandbox = open(|_| {}).await;
            sandbox.stand_ins.faults(vendor).set(fault.clone());
            let price = sandbox.price("bitcoin").await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!((price.stale, price.quorum.used), (false, 2), "{fault:?}");
            assert!(price.amount > Decimal::from(90_000) && price.amount < Decimal::from(110_000));
            for (source, found) in reasons(&price) {
                let expected = (source == vendor.path()).then_some(reason);
                assert_eq!(found, expected, "{fault:?} at {vendor:?}, {source}");
            }
        }
    }
}

#[tokio::test]
async fn one_dead_one_hanging_one_lying_prices_stay_right_and_fast_and_breakers_recover() {
    let sandbox = open(|config| config.fresh_seconds = 1).await;
    let good = sandbox.price("bitcoin").await.unwrap();
    assert!(!good.stale);
    let faults = [Fault::Disconnect, Fault::Hang, Fault::Lie { factor: Decimal::TEN }];
    for (vendor, fault) in Vendor::SOURCES.into_iter().zip(faults) {
        sandbox.stand_ins.faults(vendor).set(fault);
    }
    let clock = Clock::system();
    let mut slowest = Duration::ZERO;
    let degraded = async {
        loop {
            let began = clock.instant();
            let price = sandbox.price("bitcoin").await.unwrap();
            slowest = slowest.max(clock.instant() - began);
            assert!(price.amount == good.amount || !price.stale, "{price:?}");
            assert!(price.amount > Decimal::from(90_000) && price.amount < Decimal::from(110_000), "{price:?}");
            let open = |vendor| sandbox.state(vendor) == BreakerState::Open;
            if price.stale && open(Vendor::CoinGecko) && open(Vendor::Coinbase) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), degraded).await.expect("the breakers never opened");
    assert!(slowest < TRY_TIMEOUT, "{slowest:?}");
    let told = sandbox.until("bitcoin", |price| reasons(price)["coinbase"] == Some(RejectReason::BreakerOpen)).await;
    assert_eq!((told.amount, told.stale), (good.amount, true));
    assert_eq!(reasons(&told)["defillama"], Some(RejectReason::Disagrees));

    for vendor in Vendor::SOURCES {
        sandbox.stand_ins.faults(vendor).set(Fault::None);
    }
    let healed = sandbox.until("bitcoin", |price| !price.stale && price.quorum.used == 3).await;
    assert!(healed.as_of > good.as_of);
    for vendor in Vendor::SOURCES {
        assert_eq!(sandbox.state(vendor), BreakerState::Closed);
    }
}

#[tokio::test]
async fn a_human_can_break_and_heal_a_vendor() {
    let stand_ins = StandIns::start(Clock::system(), 7).await.unwrap();
    let ask = async |request: String| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(stand_ins.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply.lines().next().unwrap().to_owned()
    };
    let request = |method: &str, vendor: &str, body: &str| {
        let length = body.len();
        format!(
            "{method} /faults/{vendor} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    assert_eq!(ask(request("POST", "coinbase", r#"{"fault":"hang"}"#)).await, "HTTP/1.1 200 OK");
    assert_eq!(stand_ins.faults(Vendor::Coinbase).current(), Fault::Hang);
    let lie = r#"{"fault":"lie","factor":"10"}"#;
    assert_eq!(ask(request("POST", "coingecko", lie)).await, "HTTP/1.1 200 OK");
    assert_eq!(stand_ins.faults(Vendor::CoinGecko).current(), Fault::Lie { factor: Decimal::TEN });
    assert_eq!(ask(request("DELETE", "coinbase", "")).await, "HTTP/1.1 200 OK");
    assert_eq!(stand_ins.faults(Vendor::Coinbase).current(), Fault::None);
    assert_eq!(ask(request("POST", "coinbase", r#"{"fault":"moody"}"#)).await, "HTTP/1.1 400 Bad Request");
    assert_eq!(ask(request("POST", "nobody", r#"{"fault":"hang"}"#)).await, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn dropped_stand_ins_stop_listening() {
    let stand_ins = StandIns::start(Clock::system(), 7).await.unwrap();
    let address = stand_ins.address();
    drop(stand_ins);
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
}
