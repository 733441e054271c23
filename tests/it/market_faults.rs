//! Prices while the sources misbehave: right, fast, honest about it, and back by themselves.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate::sandbox::{Fault, Vendor};

use crate::harness::{Actor, PATIENCE, TestApp};

const PRICES: &str = "{ cryptoPrices(coins: [\"bitcoin\", \"ethereum\"]) { coin amount stale ageMs quorum { used } \
                      sources { name accepted rejectReason } } }";
const TRY_TIMEOUT: Duration = Duration::from_millis(800);

async fn app() -> TestApp {
    let app = TestApp::builder().config(|config| {
        config.limits.overrides = vec!["Query.cryptoPrices=1000000/1".parse().unwrap()];
        config.market.fresh_seconds = 1;
        config.market.round_timeout_ms = 400;
        config.resilience.breaker.try_timeout_ms = TRY_TIMEOUT.as_millis().try_into().unwrap();
        config.resilience.breaker.volume_threshold = 3;
        config.resilience.breaker.reset_timeout_ms = 1_000;
        config.resilience.retry.max_tries = 1;
    });
    app.start().await
}

fn amount(price: &Value) -> f64 {
    price["amount"].as_str().unwrap().parse().unwrap()
}

async fn prices(actor: &Actor<'_>) -> Vec<Value> {
    let json = actor.query(PRICES).await.json();
    assert_eq!(json.get("errors"), None, "{json}");
    json["data"]["cryptoPrices"].as_array().unwrap().clone()
}

async fn states(app: &TestApp) -> HashMap<String, String> {
    let json = app.admin().query("{ upstreams { name state } }").await.json();
    let upstreams = json["data"]["upstreams"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    upstreams.iter().map(|upstream| (text(&upstream["name"]), text(&upstream["state"]))).collect()
}

/// Asks for prices until the upstreams are as wanted.
async fn until(app: &TestApp, wanted: &[(&str, &str)]) {
    let start = Instant::now();
    loop {
        prices(&app.anon()).await;
        let states = states(app).await;
        if wanted.iter().all(|(name, state)| states.get(*name).is_some_and(|found| found == state)) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "wanted {wanted:?}, found {states:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_dead_one_hanging_and_one_lying_source_do_not_move_the_price() {
    let app = app().await;
    let anon = app.anon();
    let before: Vec<f64> = prices(&anon).await.iter().map(amount).collect();

    app.stand_ins.faults(Vendor::CoinGecko).set(Fault::Disconnect);
    app.stand_ins.faults(Vendor::Coinbase).set(Fault::Hang);
    app.stand_ins.faults(Vendor::DefiLlama).set(Fault::Lie { factor: 10.into() });
    let (start, mut took, mut said) = (Instant::now(), Vec::new(), HashMap::new());
    while start.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        let prices = prices(&anon).await;
        took.push(asked.elapsed());
        for (price, before) in prices.iter().zip(&before) {
            let drift = (amount(price) / before - 1.0).abs();
            assert!(drift < 0.05, "the price stays right: {price}");
            if price["stale"] == true {
                for source in price["sources"].as_array().unwrap() {
                    said.insert(source["name"].clone().to_string(), source["rejectReason"].clone().to_string());
                }
            }
        }
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 < TRY_TIMEOUT, "p99 {p99:?} of {}", took.len());
    assert_eq!(said.len(), 3, "every source says what is wrong with it: {said:?}");
    assert_eq!(said["\"defillama\""], "\"DISAGREES\"", "{said:?}");
    until(&app, &[("coingecko", "OPEN"), ("coinbase", "OPEN")]).await;

    for vendor in Vendor::SOURCES {
        app.stand_ins.faults(vendor).set(Fault::None);
    }
    until(&app, &[("coingecko", "CLOSED"), ("coinbase", "CLOSED"), ("defillama", "CLOSED")]).await;
    let start = Instant::now();
    loop {
        let prices = prices(&anon).await;
        if prices.iter().all(|price| price["stale"] == false && price["quorum"]["used"] == 3) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{prices:?}");
    }
}

#[tokio::test]
async fn an_operator_can_close_off_an_upstream_and_open_it_again() {
    let app = app().await;
    let admin = app.admin();
    let act = |mutation: &str, name: &str| {
        format!(
            "mutation {{ {mutation}(input: {{name: {name:?}}}) {{ upstream {{ state forced }} userErrors {{ code field }} }} }}"
        )
    };
    for (mutation, state, forced) in [
        ("upstreamForceOpen", "OPEN", "\"OPEN\""),
        ("upstreamForceClose", "CLOSED", "\"CLOSED\""),
        ("upstreamReset", "CLOSED", "null"),
    ] {
        let json = admin.query(&act(mutation, "coinbase")).await.json();
        let upstream = &json["data"][mutation]["upstream"];
        assert_eq!(
            (upstream["state"].as_str(), upstream["forced"].to_string().as_str()),
            (Some(state), forced),
            "{json}"
        );
    }
    admin.query(&act("upstreamForceOpen", "coinbase")).await;
    let price = &prices(&app.anon()).await[0];
    let sources = price["sources"].as_array().unwrap();
    let coinbase = sources.iter().find(|source| source["name"] == "coinbase").unwrap();
    assert_eq!(coinbase["rejectReason"], "BREAKER_OPEN", "{price}");
    assert_eq!(app.stand_ins.calls(Vendor::Coinbase), 0);
    let json = admin.query(&act("upstreamReset", "nobody")).await.json();
    let payload = &json["data"]["upstreamReset"];
    assert_eq!(payload["upstream"], Value::Null, "{json}");
    assert_eq!(payload["userErrors"][0]["code"], "NOT_FOUND", "{json}");
}
