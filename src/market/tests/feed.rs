//! Prices as they change.

use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::{
    cache::Loaded,
    market::{Cursor, PriceUpdate, PriceUpdates, feed::topic, price_tag},
};

/// The ticks that are there now.
fn drain(updates: &mut PriceUpdates) -> Vec<PriceUpdate> {
    std::iter::from_fn(|| updates.next().now_or_never().flatten()).map(|tick| tick.update).collect()
}

fn amounts(updates: &mut PriceUpdates) -> Vec<Decimal> {
    drain(updates).iter().map(|update| update.price.amount).collect()
}

const INTERVAL: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn the_first_tick_comes_at_once_and_the_next_when_the_price_changes() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let mut updates = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    let first = drain(&mut updates).remove(0);
    assert_eq!((first.price.amount, first.previous, first.stamp.sequence), (dec("100"), None, 1));
    pass(INTERVAL * 3).await;
    assert_eq!(amounts(&mut updates), [], "a tick without a change");
    assert_eq!(market.calls(), [4, 4, 4]);
    market.set("bitcoin", "101");
    pass(INTERVAL).await;
    let second = drain(&mut updates).remove(0);
    assert_eq!((second.price.amount, second.previous, second.stamp.sequence), (dec("101"), Some(dec("100")), 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_before_the_first_reader_or_after_the_last() {
    let market = Market::open();
    market.set("bitcoin", "100");
    pass(INTERVAL * 5).await;
    assert_eq!(market.calls(), [0, 0, 0]);
    let (one, other) = (
        market.prices.updates(vec![id("bitcoin")], Cursor::start()),
        market.prices.updates(vec![id("bitcoin")], Cursor::start()),
    );
    pass(INTERVAL).await;
    drop(one);
    let fetched = market.calls();
    pass(INTERVAL).await;
    assert!(market.calls() > fetched, "the feed stopped while somebody watched");
    drop(other);
    let fetched = market.calls();
    pass(INTERVAL * 5).await;
    assert_eq!(market.calls(), fetched);
    assert_eq!(market.bus.readers(&topic(&id("bitcoin"))), 0);
    // And it starts again.
    let mut again = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    assert_eq!(amounts(&mut again), [dec("100")]);
}

#[tokio::test(start_paused = true)]
async fn only_watched_coins_are_fetched_and_each_once() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.set("ethereum", "10");
    let _one = market.prices.updates(vec![id("bitcoin"), id("bitcoin")], Cursor::start()).unwrap();
    let two = market.prices.updates(vec![id("bitcoin"), id("ethereum")], Cursor::start()).unwrap();
    pass(INTERVAL).await;
    drop(two);
    market.sources[0].calls.lock().clear();
    pass(INTERVAL * 2).await;
    assert_eq!(*market.sources[0].calls.lock(), [[id("bitcoin")], [id("bitcoin")]]);
}

#[tokio::test(start_paused = true)]
async fn a_new_coin_is_fetched_at_once_even_during_a_slow_round() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.set("ethereum", "10");
    let _bitcoin = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    for source in &market.sources {
        source.delay(Duration::from_millis(900));
    }
    pass(INTERVAL).await;
    for source in &market.sources {
        source.delay(Duration::from_millis(20));
    }
    let mut ethereum = market.prices.updates(vec![id("ethereum")], Cursor::start()).unwrap();
    pass(Duration::from_millis(40)).await;
    assert_eq!(amounts(&mut ethereum), [dec("10")]);
}

#[tokio::test(start_paused = true)]
async fn a_later_reader_gets_the_last_tick_at_once() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let _first = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    let fetched = market.calls();
    let mut second = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    assert_eq!(amounts(&mut second), [dec("100")]);
    pass(Duration::from_millis(100)).await;
    assert_eq!(market.calls(), fetched);
}

#[tokio::test(start_paused = true)]
async fn becoming_stale_and_recovering_are_ticks() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let mut updates = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    drain(&mut updates);
    for source in &market.sources[1..] {
        source.fail(Some(CallError::Timeout));
    }
    pass(INTERVAL * 3).await;
    let stale: Vec<(Decimal, bool)> =
        drain(&mut updates).iter().map(|update| (update.price.amount, update.price.stale)).collect();
    assert_eq!(stale, [(dec("100"), true)]);
    for source in &market.sources {
        source.fail(None);
    }
    pass(INTERVAL).await;
    let recovered = drain(&mut updates).remove(0);
    assert_eq!((recovered.price.stale, recovered.previous), (false, Some(dec("100"))));
}

#[tokio::test(start_paused = true)]
async fn queries_and_subscriptions_agree() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let mut updates = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    market.set("bitcoin", "105");
    pass(INTERVAL).await;
    let told = drain(&mut updates).pop().unwrap();
    let fetched = market.calls();
    assert_eq!(market.price("bitcoin").await.unwrap(), told.price);
    assert_eq!(market.calls(), fetched, "the feed's price was not cached");
}

#[tokio::test(start_paused = true)]
async fn a_tick_makes_what_was_made_from_the_price_out_of_date() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.set("ethereum", "10");
    let coins = vec![id("bitcoin"), id("ethereum")];
    let _updates = market.prices.updates(coins.clone(), Cursor::start()).unwrap();
    pass(Duration::from_millis(100)).await;
    let settings = (&CacheConfig::defaults()).into();
    let answers: Cache<AssetId, Arc<Price>, PriceError> =
        Cache::new("answers", settings, &market.tags, market.sources[0].clock.clone(), Chance::seeded(3));
    let fresh_for = Duration::from_mins(1);
    for (coin, price) in market.prices.many(&coins).await {
        let tags = vec![price_tag(&coin)];
        let loaded = Loaded::Found { value: price.unwrap(), fresh_for, stale_for: Duration::ZERO, tags };
        answers.put(answers.begin(), &coin, loaded).await;
    }
    pass(INTERVAL).await;
    assert!(coins.iter().all(|coin| answers.peek(coin).is_some()));
    market.set("bitcoin", "101");
    pass(INTERVAL).await;
    assert!(answers.peek(&id("bitcoin")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_sees_the_newest_price() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let mut updates = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    for price in ["101", "102", "103"] {
        pass(INTERVAL).await;
        market.set("bitcoin", price);
    }
    pass(INTERVAL).await;
    assert_eq!(amounts(&mut updates), [dec("103")]);
}

#[tokio::test(start_paused = true)]
async fn the_feed_watches_no_more_coins_than_it_may() {
    let market = Market::configured(|config| config.feed_max_coins = 2);
    let first = market.prices.updates(vec![id("bitcoin"), id("ethereum")], Cursor::start()).unwrap();
    let refused = market.prices.updates(vec![id("bitcoin"), id("solana")], Cursor::start()).err();
    assert_eq!(refused, Some(PriceError::FeedFull { limit: 2 }));
    assert!(market.prices.updates(vec![id("ethereum")], Cursor::start()).is_ok());
    drop(first);
    assert!(market.prices.updates(vec![id("solana"), id("cardano")], Cursor::start()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_coin_does_not_tick_and_costs_the_others_nothing() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let mut updates = market.prices.updates(vec![id("bitcoin"), id("nonsense")], Cursor::start()).unwrap();
    pass(INTERVAL).await;
    assert_eq!(amounts(&mut updates), [dec("100")]);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_streams_rounds_and_stragglers() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.sources[2].delay(Duration::from_hours(1));
    let mut updates = market.prices.updates(vec![id("bitcoin")], Cursor::start()).unwrap();
    pass(Duration::from_millis(500)).await;
    market.stop.cancel();
    market.tasks.close();
    tokio::time::timeout(Duration::from_secs(1), market.tasks.wait()).await.unwrap();
    drain(&mut updates);
    assert!(updates.next().await.is_none());
}
