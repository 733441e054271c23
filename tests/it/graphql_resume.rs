//! Coming back to a subscription by the front door: what was missed, each once and in order, or word of a gap.

use serde_json::{Value, json};

use crate::harness::{Builder, PATIENCE, RedisServer, Socket, TestApp};

const FOLLOW: &str = "subscription ($coins: [String!]!, $after: String) { priceUpdates(coins: $coins, after: $after) \
                      { coin previousAmount cursor gap price { amount } } }";

fn fast_feed() -> Builder {
    TestApp::builder().config(|config| config.market.feed_interval_ms = 100)
}

/// A socket that follows these coins, from a cursor on.
async fn follow(app: &TestApp, coins: &[&str], after: Option<&str>) -> Socket {
    let mut socket = app.alice().connect().await;
    let variables = json!({"coins": coins, "after": after});
    socket.send(json!({"id": "1", "type": "subscribe", "payload": {"query": FOLLOW, "variables": variables}})).await;
    socket
}

/// The next update.
async fn update(socket: &mut Socket) -> Value {
    let message = socket.message().await;
    assert_eq!(message["type"], "next", "{message}");
    message["payload"]["data"]["priceUpdates"].clone()
}

fn text<'u>(update: &'u Value, field: &str) -> &'u str {
    update[field].as_str().unwrap_or_else(|| panic!("{field} of {update}"))
}

/// Every update names the amount before it: a chain without a hole is every update, once and in order.
fn follows(update: &Value, before: &Value) {
    assert_eq!(update["previousAmount"], before["price"]["amount"], "{before} and then {update}");
    assert_eq!(update["gap"], false, "{update}");
}

/// Reads on until as many updates of the coin were published as a cut of a moment costs.
async fn miss(watching: &mut Socket) -> Value {
    for _ in 0..6 {
        update(watching).await;
    }
    update(watching).await
}

/// A subscriber hears two updates on one node, is cut off, and comes back to another, or the same.
async fn cut_and_come_back(first: &TestApp, second: &TestApp) {
    let mut watching = follow(first, &["bitcoin"], None).await;
    let mut cut = follow(first, &["bitcoin"], None).await;
    update(&mut cut).await;
    let last = update(&mut cut).await;
    drop(cut);
    let newest = miss(&mut watching).await;

    let mut back = follow(second, &["bitcoin"], Some(text(&last, "cursor"))).await;
    let (mut before, mut missed) = (last, 0);
    loop {
        let next = update(&mut back).await;
        follows(&next, &before);
        missed += 1;
        before = next;
        if before["cursor"] == newest["cursor"] {
            break;
        }
    }
    // The watcher may have had two of its own in stock.
    assert!(missed >= 4, "{missed}");
    // And on with what comes.
    update(&mut back).await;
}

#[tokio::test]
async fn who_comes_back_gets_every_missed_update_once_and_in_order() {
    let app = fast_feed().start().await;
    cut_and_come_back(&app, &app).await;
}

#[tokio::test]
async fn who_comes_back_to_another_node_gets_them_there() {
    let redis = RedisServer::start().await;
    let (one, other) = (fast_feed().redis(&redis.url()).start().await, fast_feed().redis(&redis.url()).start().await);
    cut_and_come_back(&one, &other).await;
}

#[tokio::test]
async fn many_who_come_back_at_once_each_get_all_of_it() {
    let app = fast_feed().start().await;
    let mut watching = follow(&app, &["bitcoin"], None).await;
    let last = update(&mut watching).await;
    miss(&mut watching).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(follow(&app, &["bitcoin"], Some(text(&last, "cursor"))).await);
    }
    for back in &mut all {
        let mut before = last.clone();
        for _ in 0..6 {
            let next = update(back).await;
            follows(&next, &before);
            before = next;
        }
    }
}

#[tokio::test]
async fn what_another_process_has_told_is_a_gap() {
    let (one, other) = (fast_feed().start().await, fast_feed().start().await);
    let mut socket = follow(&one, &["bitcoin"], None).await;
    let last = update(&mut socket).await;
    let mut back = follow(&other, &["bitcoin"], Some(text(&last, "cursor"))).await;
    assert_eq!(update(&mut back).await["gap"], true);
    assert_eq!(update(&mut back).await["gap"], false, "it is told once");
}

#[tokio::test]
async fn a_history_that_redis_has_lost_is_a_gap() {
    let redis = RedisServer::start().await;
    let app = fast_feed().redis(&redis.url()).start().await;
    let mut watching = follow(&app, &["bitcoin"], None).await;
    let last = update(&mut watching).await;
    update(&mut watching).await;
    redis.cli(&["FLUSHALL"]);
    update(&mut watching).await;
    let mut back = follow(&app, &["bitcoin"], Some(text(&last, "cursor"))).await;
    assert_eq!(update(&mut back).await["gap"], true);
}

#[tokio::test]
async fn a_cursor_of_fewer_coins_goes_on_for_those() {
    let app = fast_feed().start().await;
    let mut watching = follow(&app, &["bitcoin"], None).await;
    let last = update(&mut watching).await;
    miss(&mut watching).await;
    let mut back = follow(&app, &["ethereum", "bitcoin"], Some(text(&last, "cursor"))).await;
    let (mut before, mut others) = (last, 0);
    let start = std::time::Instant::now();
    for _ in 0..6 {
        let next = loop {
            let next = update(&mut back).await;
            if next["coin"] == "bitcoin" {
                break next;
            }
            others += 1;
            assert!(start.elapsed() < PATIENCE, "nothing of bitcoin in {others} updates");
        };
        follows(&next, &before);
        before = next;
    }
}

#[tokio::test]
async fn what_is_no_cursor_of_these_coins_is_refused_by_name() {
    let app = fast_feed().start().await;
    let mut ethereum = follow(&app, &["ethereum"], None).await;
    let other = text(&update(&mut ethereum).await, "cursor").to_owned();
    for after in ["", "nonsense", "MTIzNDU2Nzg5MA", &other, &"A".repeat(20_000)] {
        let mut socket = follow(&app, &["bitcoin"], Some(after)).await;
        let message = socket.message().await;
        assert_eq!(message["type"], "error", "{message}");
        let error = &message["payload"][0];
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{error}");
        assert_eq!(error["extensions"]["argument"], "after", "{error}");
        assert!(error["message"].as_str().unwrap().contains("after"), "{error}");
    }
}
