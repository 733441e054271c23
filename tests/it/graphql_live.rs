//! Subscriptions by the front door: ticks, shared work, refusals, and nothing left behind.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::sandbox::{Fault, Vendor};

use crate::harness::{PATIENCE, TICKS, TestApp, subscribe};

fn fast_feed() -> crate::harness::Builder {
    TestApp::builder().config(|config| config.market.feed_interval_ms = 100)
}

fn price(message: &Value) -> &Value {
    assert_eq!(message["type"], "next", "{message}");
    &message["payload"]["data"]["priceUpdates"]
}

#[tokio::test]
async fn prices_tick() {
    let app = fast_feed().start().await;
    let mut socket = app.alice().connect().await;
    socket.send(subscribe("1", TICKS)).await;
    let mut amounts: Vec<String> = Vec::new();
    while amounts.len() < 4 {
        let message = socket.message().await;
        let update = price(&message);
        assert_eq!(update["coin"], "bitcoin");
        let amount = update["price"]["amount"].as_str().unwrap().to_owned();
        assert_ne!(amounts.last(), Some(&amount), "a tick is a change");
        amounts.push(amount);
    }
}

#[tokio::test]
async fn a_query_agrees_with_the_tick_before_it() {
    let app = fast_feed().start().await;
    let mut socket = app.alice().connect().await;
    socket.send(subscribe("1", TICKS)).await;
    for _ in 0..5 {
        let tick = socket.message().await;
        let json = app.anon().query("{ price(coin: \"bitcoin\") { amount asOf } }").await.json();
        let (then, now) = (&price(&tick)["price"]["asOf"], &json["data"]["price"]["asOf"]);
        assert!(now.as_str() >= then.as_str(), "a query is never behind a tick: {now} {then}");
    }
}

#[tokio::test]
async fn subscribers_of_the_same_coins_share_the_work() {
    let app = fast_feed().start().await;
    let alice = app.alice();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = alice.connect().await;
        socket.send(subscribe("x", TICKS)).await;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        assert_eq!(price(&socket.message().await)["coin"], "bitcoin");
    }
    let groups = app.metric("tidegate_live_groups").await;
    assert!(groups >= 1.0, "{groups}");
    // The feed asks each source for each coin once a round, whoever watches.
    assert!(app.stand_ins.coins_per_call(Vendor::CoinGecko).iter().all(|coins| *coins == 1));
    drop(sockets);
    // Demand ends with the last subscriber: from some moment on no further call comes.
    let mut calls = app.stand_ins.calls(Vendor::CoinGecko);
    let start = std::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = app.stand_ins.calls(Vendor::CoinGecko);
        if now == calls {
            break;
        }
        calls = now;
        assert!(start.elapsed() < PATIENCE, "the feed goes on without demand");
    }
}

#[tokio::test]
async fn a_refused_subscription_says_why_and_leaves_the_socket_open() {
    let app = fast_feed().start().await;
    let unknown = "subscription { priceUpdates(coins: [\"no-such-coin-anywhere\"]) { coin } }";
    let two = "subscription { a: priceUpdates(coins: [\"bitcoin\"]) { coin } b: priceUpdates(coins: [\"bitcoin\"]) { coin } }";
    for (actor, document, code) in [
        (app.anon(), TICKS, "UNAUTHENTICATED"),
        (app.alice(), unknown, "NOT_FOUND"),
        (app.alice(), "subscription { priceUpdates(coins: []) { coin } }", "BAD_USER_INPUT"),
        (app.alice(), two, "GRAPHQL_VALIDATION_FAILED"),
        (app.alice(), "subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let mut socket = actor.connect().await;
        socket.send(subscribe("1", document)).await;
        let message = socket.message().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("1")), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{message}");
        socket.send(subscribe("2", "{ __typename }")).await;
        assert_eq!(socket.message().await["payload"]["data"]["__typename"], "Query");
    }
}

#[tokio::test]
async fn sources_that_fail_make_a_stale_tick_and_not_silence() {
    let app = fast_feed().config(|config| config.market.round_timeout_ms = 300).start().await;
    let mut socket = app.alice().connect().await;
    let document = "subscription { priceUpdates(coins: [\"bitcoin\"]) { coin price { amount stale } } }";
    socket.send(subscribe("1", document)).await;
    price(&socket.message().await);
    for vendor in Vendor::SOURCES {
        app.stand_ins.faults(vendor).set(Fault::ServerError { status: 503 });
    }
    while price(&socket.message().await)["price"]["stale"] != true {}
    for vendor in Vendor::SOURCES {
        app.stand_ins.faults(vendor).set(Fault::None);
    }
}
