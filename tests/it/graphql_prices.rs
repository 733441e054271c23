//! Prices by the front door: what is asked for, what comes back, and what it costs upstream.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidegate::sandbox::Vendor;

use crate::harness::TestApp;

const FIELDS: &str = "coin currency amount change24h asOf stale confidence { low high } quorum { used total } \
                      sources { name price observedAt weight accepted rejectReason provenance }";

fn list(coins: &[&str]) -> String {
    format!("[{}]", coins.iter().map(|coin| format!("{coin:?}")).collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn a_price_says_how_sure_how_old_and_who_said_what() {
    let app = TestApp::start().await;
    let reply =
        app.anon().query(&format!("{{ cryptoPrices(coins: [\"bitcoin\", \"ethereum\"]) {{ {FIELDS} }} }}")).await;
    let json = reply.json();
    assert_eq!(json.get("errors"), None, "{json}");
    let prices = json["data"]["cryptoPrices"].as_array().unwrap();
    let coins: Vec<&Value> = prices.iter().map(|price| &price["coin"]).collect();
    assert_eq!(coins, [&json!("bitcoin"), &json!("ethereum")], "in the order asked for");
    for price in prices {
        assert_eq!((&price["currency"], &price["stale"]), (&json!("USD"), &json!(false)), "{price}");
        assert_eq!(price["quorum"], json!({"used": 3, "total": 3}), "{price}");
        let number = |field: &Value| field.as_str().unwrap().parse::<f64>().unwrap();
        let (low, high) = (number(&price["confidence"]["low"]), number(&price["confidence"]["high"]));
        let amount = number(&price["amount"]);
        assert!(low <= amount && amount <= high && low > 0.0, "{price}");
        let mut names: Vec<&str> = Vec::new();
        for source in price["sources"].as_array().unwrap() {
            names.push(source["name"].as_str().unwrap());
            assert_eq!((&source["accepted"], &source["rejectReason"]), (&json!(true), &Value::Null), "{source}");
            assert_eq!(source["provenance"], "SIMULATED", "{source}");
        }
        assert_eq!(names, ["coingecko", "coinbase", "defillama"]);
    }
}

#[tokio::test]
async fn aliases_are_looked_up_together() {
    let app = TestApp::start().await;
    let coins = ["bitcoin", "ethereum", "solana", "cardano", "dogecoin"];
    let aliases: String =
        coins.iter().enumerate().map(|(at, coin)| format!("p{at}: price(coin: {coin:?}) {{ amount }} ")).collect();
    let document = format!("{{ {aliases} cryptoPrices(coins: {}) {{ amount }} }}", list(&coins));
    let json = app.anon().query(&document).await.json();
    assert_eq!(json.get("errors"), None, "{json}");
    for vendor in Vendor::SOURCES {
        assert_eq!(app.stand_ins.coins_per_call(vendor), [coins.len()], "{vendor:?}");
    }
}

#[tokio::test]
async fn a_thousand_callers_of_cold_coins_make_one_call_per_source_and_batch() {
    let app = TestApp::builder()
        .config(|config| config.limits.overrides = vec!["Query.cryptoPrices=100000/1".parse().unwrap()]);
    let app = app.start().await;
    let coins = ["bitcoin", "ethereum", "solana", "cardano", "dogecoin", "litecoin", "polkadot", "chainlink"];
    // `ageMs` keeps the response cache out of it: every caller reaches the value cache.
    let document = format!("{{ cryptoPrices(coins: {}) {{ coin amount ageMs }} }}", list(&coins));
    let anon = app.anon();
    let replies = join_all((0..1_000).map(|_| anon.query(&document))).await;
    let first = &replies[0].json()["data"]["cryptoPrices"];
    for reply in &replies {
        let json = reply.json();
        assert_eq!(json.get("errors"), None, "{json}");
        assert_eq!(json["data"]["cryptoPrices"][0]["amount"], first[0]["amount"], "everybody gets the same price");
    }
    for vendor in Vendor::SOURCES {
        assert_eq!(app.stand_ins.coins_per_call(vendor), [coins.len()], "{vendor:?}");
    }
}

#[tokio::test]
async fn what_coins_may_not_hold_is_refused_with_its_reason() {
    let app = TestApp::start().await;
    let many: Vec<String> = (0..1_000).map(|at| format!("coin-{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (coins, code, said) in [
        (vec![], "BAD_USER_INPUT", "at least one"),
        (many, "BAD_USER_INPUT", "names 1000 coins, the limit is 100"),
        (vec!["bitcoin", "ethereum", "bitcoin"], "BAD_USER_INPUT", "bitcoin twice"),
        (vec!["🚀"], "NOT_FOUND", "unknown coin"),
        (vec!["BTC"], "NOT_FOUND", "unknown coin"),
        (vec!["bitcoin", "no-such-coin-anywhere"], "NOT_FOUND", "no-such-coin-anywhere"),
    ] {
        let reply = app.anon().query(&format!("{{ cryptoPrices(coins: {}) {{ amount }} }}", list(&coins))).await;
        let json = reply.json();
        assert_eq!(json["data"], Value::Null, "{json}");
        assert_eq!(reply.code(), code, "{json}");
        assert!(json["errors"][0]["message"].as_str().unwrap().contains(said), "{json}");
        assert_eq!(json["errors"][0]["path"], json!(["cryptoPrices"]), "{json}");
    }
}

#[tokio::test]
async fn the_limit_of_coins_is_the_operations() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..120).map(|at| format!("coin-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (one, two) = (list(&names[..60]), list(&names[60..]));
    let document = format!("{{ a: cryptoPrices(coins: {one}) {{ coin }} b: cryptoPrices(coins: {two}) {{ coin }} }}");
    let reply = app.anon().query(&document).await;
    assert_eq!(reply.code(), "OPERATION_TOO_COMPLEX", "{}", reply.text);
}

#[tokio::test]
async fn an_unknown_coin_costs_one_null_and_names_candidates() {
    let app = TestApp::start().await;
    let json =
        app.anon().query("{ good: price(coin: \"bitcoin\") { coin } bad: price(coin: \"BTC\") { coin } }").await.json();
    assert_eq!(json["data"], json!({"good": {"coin": "bitcoin"}, "bad": null}));
    let error = &json["errors"][0];
    assert_eq!((&error["path"], &error["extensions"]["code"]), (&json!(["bad"]), &json!("NOT_FOUND")), "{json}");
    assert!(error["extensions"]["candidates"].as_array().unwrap().contains(&json!("bitcoin")), "{json}");
}
