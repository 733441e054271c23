//! `cacheInvalidate`: what an operator forgets on one node is forgotten on all of them.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::sandbox::Vendor;
use tokio::time::sleep;

use crate::harness::{Actor, RedisServer, TestApp, until};

const COINS: [&str; 12] = [
    "bitcoin",
    "ethereum",
    "solana",
    "cardano",
    "dogecoin",
    "litecoin",
    "polkadot",
    "chainlink",
    "ripple",
    "tron",
    "stellar",
    "monero",
];

fn price(coin: &str) -> String {
    format!("{{ price(coin: {coin:?}) {{ amount }} }}")
}

async fn invalidate(actor: &Actor<'_>, input: Value) -> Value {
    let query = "mutation ($input: CacheInvalidateInput!) { cacheInvalidate(input: $input) {
        invalidation { keys tags } userErrors { code field message } } }";
    let reply = actor.post(&json!({"query": query, "variables": {"input": input}})).await.json();
    assert!(reply["errors"].is_null(), "{reply}");
    reply["data"]["cacheInvalidate"].clone()
}

fn calls(app: &TestApp) -> usize {
    [Vendor::CoinGecko, Vendor::Coinbase, Vendor::DefiLlama].iter().map(|vendor| app.stand_ins.calls(*vendor)).sum()
}

#[tokio::test]
async fn what_one_node_forgets_is_forgotten_by_all() {
    let redis = RedisServer::start().await;
    let (one, two) =
        (TestApp::builder().redis(&redis.url()).start().await, TestApp::builder().redis(&redis.url()).start().await);
    // A coin that nobody has asked for yet, as soon as both nodes have found Redis.
    let mut coins = COINS.iter();
    let mut shared = "";
    until("one node finds in Redis what the other has loaded", async || {
        shared = coins.next().expect("a coin is left to try");
        let before = calls(&two);
        one.anon().query(&price(shared)).await;
        two.anon().query(&price(shared)).await;
        sleep(Duration::from_millis(200)).await;
        calls(&two) == before
    })
    .await;

    let input = json!({"keys": [{"cache": "prices", "key": shared}], "tags": [format!("price:{shared}")]});
    let before = calls(&two);
    let done = invalidate(&one.admin(), input).await;
    assert_eq!(done, json!({"invalidation": {"keys": 1, "tags": 1}, "userErrors": []}));
    until("the other node asks the sources again", async || {
        two.anon().query(&price(shared)).await;
        calls(&two) > before
    })
    .await;
}

#[tokio::test]
async fn only_operators_may_and_everything_wrong_is_said_at_once() {
    let app = TestApp::start().await;
    let mutation = r#"mutation { cacheInvalidate(input: {tags: ["a"]}) { userErrors { code } } }"#;
    app.anon().query(mutation).await.refused(401, "UNAUTHENTICATED");
    app.alice().query(mutation).await.refused(403, "FORBIDDEN");
    let refused = invalidate(&app.admin(), json!({"keys": [{"cache": "answers", "key": "a"}], "tags": [""]})).await;
    assert_eq!(refused["invalidation"], Value::Null);
    let paths: Vec<_> = refused["userErrors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(paths, [json!(["input", "keys", "0", "cache"]), json!(["input", "tags", "0"])]);
    let message = refused["userErrors"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("there are: prices"), "{message}");
}
