//! What subscribers are told: who comes back, who comes late, and ticks of other nodes.

use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::{
    bus::Position,
    market::{Cursor, PriceTick, PriceUpdate, PriceUpdates, Stamp, cursor::NOWHERE, feed::topic},
};

const INTERVAL: Duration = Duration::from_secs(2);

fn drain(updates: &mut PriceUpdates) -> Vec<PriceTick> {
    std::iter::from_fn(|| updates.next().now_or_never().flatten()).collect()
}

/// The amounts of what is there now, each with its gap.
fn told(updates: &mut PriceUpdates) -> Vec<(Decimal, bool)> {
    drain(updates).iter().map(|tick| (tick.update.price.amount, tick.gap)).collect()
}

fn follow(market: &Market, after: Cursor) -> PriceUpdates {
    market.prices.updates(vec![id("bitcoin")], after).unwrap()
}

/// Ticks these prices, one an interval.
async fn tick(market: &Market, prices: &[&str]) {
    for price in prices {
        market.set("bitcoin", price);
        pass(INTERVAL).await;
    }
}

/// A market whose feed has ticked 100, and the cursor after that.
async fn ticking() -> (Market, PriceUpdates, Cursor) {
    let market = Market::open();
    let mut updates = follow(&market, Cursor::start());
    tick(&market, &["100"]).await;
    let cursor = drain(&mut updates).remove(0).cursor;
    (market, updates, cursor)
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_each_missed_tick_once_and_in_order() {
    let (market, _watching, cursor) = ticking().await;
    tick(&market, &["101", "102", "103"]).await;
    let mut back = follow(&market, cursor);
    let missed = drain(&mut back);
    let amounts: Vec<Decimal> = missed.iter().map(|tick| tick.update.price.amount).collect();
    assert_eq!(amounts, [dec("101"), dec("102"), dec("103")]);
    assert!(missed.iter().all(|tick| tick.replayed && !tick.gap));
    tick(&market, &["104"]).await;
    assert_eq!(told(&mut back), [(dec("104"), false)]);
    // From the middle of what was missed, and from its end.
    assert_eq!(told(&mut follow(&market, missed[1].cursor.clone())), [(dec("103"), false), (dec("104"), false)]);
    let text = missed[2].cursor.encode();
    let read = Cursor::decode(&text, &[id("bitcoin")]).unwrap();
    assert_eq!(told(&mut follow(&market, read)), [(dec("104"), false)]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_when_nobody_watched_meanwhile_goes_on_with_the_first_tick() {
    let (market, watching, cursor) = ticking().await;
    drop(watching);
    pass(INTERVAL * 5).await;
    let mut back = follow(&market, cursor);
    assert_eq!(told(&mut back), [], "nothing was missed");
    pass(INTERVAL).await;
    assert_eq!(told(&mut back), [(dec("100"), false)], "the feed begins again");
    tick(&market, &["101"]).await;
    assert_eq!(told(&mut back), [(dec("101"), false)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_remembered_is_a_gap() {
    let (market, watching, cursor) = ticking().await;
    tick(&market, &["101"]).await;
    drop(watching);
    pass(Duration::from_mins(3)).await;
    let mut back = follow(&market, cursor.clone());
    pass(INTERVAL).await;
    assert_eq!(told(&mut back), [(dec("101"), true)], "a tick is lost, and the first says so");
    tick(&market, &["102"]).await;
    assert_eq!(told(&mut back), [(dec("102"), false)]);
    // While others watch, the news of the gap does not wait for the next change either.
    pass(Duration::from_mins(3)).await;
    let mut late = follow(&market, cursor);
    pass(Duration::from_millis(100)).await;
    assert_eq!(told(&mut late), [(dec("102"), true)]);
    assert_eq!(told(&mut back), [], "who has heard it does not hear it again");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_another_history_is_a_gap() {
    let (market, _watching, mut cursor) = ticking().await;
    tick(&market, &["101"]).await;
    for place in [NOWHERE, Position { epoch: 7, offset: 1 }] {
        cursor.advance(&id("bitcoin"), place);
        let mut back = follow(&market, cursor.clone());
        assert_eq!(told(&mut back), [(dec("100"), true), (dec("101"), false)], "{place:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn coins_that_the_cursor_does_not_know_begin_now() {
    let (market, _watching, cursor) = ticking().await;
    market.set("ethereum", "10");
    tick(&market, &["101", "102"]).await;
    let mut both = market.prices.updates(vec![id("bitcoin"), id("ethereum")], cursor).unwrap();
    pass(Duration::from_millis(100)).await;
    let mut heard = told(&mut both);
    heard.sort_unstable();
    assert_eq!(heard, [(dec("10"), false), (dec("101"), false), (dec("102"), false)]);
}

#[tokio::test(start_paused = true)]
async fn an_old_tick_is_no_news_to_a_newcomer() {
    let (market, watching, _) = ticking().await;
    drop(watching);
    pass(Duration::from_mins(1)).await;
    for source in &market.sources {
        source.fail(Some(CallError::Timeout));
    }
    let mut newcomer = follow(&market, Cursor::start());
    assert_eq!(told(&mut newcomer), [], "a minute old, and nobody has asked since");
}

/// A tick as another node would publish it.
fn foreign_tick(price: &Arc<Price>, amount: &str, stamp: Stamp) -> PriceUpdate {
    let price = Arc::new(Price { amount: dec(amount), ..Price::clone(price) });
    let published_at = price.as_of + chrono::TimeDelta::milliseconds(30);
    PriceUpdate { price, previous: None, published_at, stamp, repeated: false }
}

#[tokio::test(start_paused = true)]
async fn a_query_is_never_behind_a_tick_of_another_node() {
    let market = Market::configured(|config| config.feed_interval_ms = 3_600_000);
    market.set("bitcoin", "100");
    let mut updates = follow(&market, Cursor::start());
    pass(Duration::from_millis(100)).await;
    let own = drain(&mut updates).remove(0).update;
    let stamp = |term, sequence| Stamp { term, sequence, apart: 0 };
    for (amount, stamp, expected) in [
        ("105", stamp(7, 1), vec![(dec("105"), false)]),
        ("103", stamp(6, 9), vec![]),
        ("105", stamp(7, 2), vec![]),
        ("106", stamp(7, 3), vec![(dec("106"), false)]),
    ] {
        market.bus.publish(&topic(&id("bitcoin")), foreign_tick(&own.price, amount, stamp)).await;
        assert_eq!(told(&mut updates), expected, "{stamp:?}");
        let newest = if amount == "106" { "106" } else { "105" };
        assert_eq!(market.price("bitcoin").await.unwrap().amount, dec(newest), "{stamp:?}");
    }
    assert_eq!(market.calls(), [1, 1, 1], "nobody was asked for it");
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_an_older_one_has_displaced_is_told_again() {
    let (market, mut updates, _) = ticking().await;
    let own = market.price("bitcoin").await.unwrap();
    market.set("bitcoin", "105");
    let topic = topic(&id("bitcoin"));
    market.bus.publish(&topic, foreign_tick(&own, "105", Stamp { term: 7, sequence: 1, apart: 0 })).await;
    assert_eq!(told(&mut updates), [(dec("105"), false)]);
    market.bus.publish(&topic, foreign_tick(&own, "90", Stamp { term: 6, sequence: 1, apart: 0 })).await;
    let mut newcomer = follow(&market, Cursor::start());
    assert_eq!(told(&mut newcomer), [(dec("90"), false)], "it knows no better");
    assert_eq!(told(&mut updates), []);
    pass(Duration::from_millis(10)).await;
    assert_eq!(told(&mut newcomer), [(dec("105"), false)]);
    assert_eq!(told(&mut updates), [], "who has heard it does not hear it again");
}
