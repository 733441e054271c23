//! Prices on demand.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_for_cold_coins_make_one_call_per_source_and_batch() {
    let market = Market::open();
    let coins = ["bitcoin", "ethereum", "solana", "cardano"].map(id);
    for coin in &coins {
        market.set(coin.as_str(), "100");
    }
    let callers = (0..1_000).map(|_| market.prices.many(&coins));
    for answer in join_all(callers).await {
        assert!(coins.iter().all(|coin| answer[coin].is_ok()));
    }
    // Four coins are two batches of at most three.
    assert_eq!(market.calls(), [2, 2, 2]);
    for source in &market.sources {
        let mut asked: Vec<AssetId> = source.calls.lock().concat();
        asked.sort();
        assert_eq!(asked.len(), 4, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_asked_once_and_fresh_prices_not_again() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let twice = market.prices.many(&[id("bitcoin"), id("bitcoin")]).await;
    assert_eq!(twice.len(), 1);
    pass(Duration::from_secs(9)).await;
    let price = market.price("bitcoin").await.unwrap();
    assert_eq!((price.amount, price.stale, market.calls()), (dec("100"), false, [1, 1, 1]));
    assert!(price.sources.iter().all(|source| source.simulated && source.accepted()));
    pass(Duration::from_secs(2)).await;
    market.price("bitcoin").await.unwrap();
    assert_eq!(market.calls(), [2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_price_says_how_long_it_is_fresh() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let began = market.sources[0].clock.now();
    let first = market.price("bitcoin").await.unwrap();
    assert_eq!(market.prices.fresh_until(&first), began + Duration::from_secs(10));
    pass(Duration::from_secs(11)).await;
    let second = market.price("bitcoin").await.unwrap();
    assert!(market.prices.fresh_until(&second) > second.as_of);
    assert_eq!(market.prices.fresh_until(&first), first.as_of, "there is a newer one");
}

#[tokio::test(start_paused = true)]
async fn a_straggler_is_waited_for_no_longer_than_the_grace_and_still_ends() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.sources[2].delay(Duration::from_millis(600));
    let began = market.sources[0].clock.instant();
    let price = market.price("bitcoin").await.unwrap();
    let took = market.sources[0].clock.instant() - began;
    assert!(took >= Duration::from_millis(170) && took <= Duration::from_millis(175), "{took:?}");
    assert_eq!(reasons(&price), [None, None, Some(RejectReason::Late)]);
    pass(Duration::from_millis(600)).await;
    assert_eq!(market.sources[2].finished.load(Ordering::Relaxed), 1, "the straggler was cancelled");
}

#[tokio::test(start_paused = true)]
async fn one_dead_one_hanging_and_one_lying_leave_the_last_price_and_say_so() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.price("bitcoin").await.unwrap();
    pass(Duration::from_secs(11)).await;
    market.sources[0].fail(Some(CallError::Upstream { status: None, detail: "connection refused".into() }));
    market.sources[1].delay(Duration::from_hours(1));
    market.sources[2].set("bitcoin", "1000");
    let began = market.sources[0].clock.instant();
    let first = market.price("bitcoin").await.unwrap();
    let took = market.sources[0].clock.instant() - began;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert_eq!((first.amount, first.stale), (dec("100"), true));
    // The round ends behind the caller's back and brings the reasons.
    pass(Duration::from_secs(2)).await;
    let price = market.price("bitcoin").await.unwrap();
    assert_eq!((price.amount, price.stale, price.quorum.used), (dec("100"), true, 0));
    let expected = [RejectReason::Unavailable, RejectReason::Late, RejectReason::Disagrees];
    assert_eq!(reasons(&price), expected.map(Some));
    assert_eq!(price.as_of, first.as_of);
}

#[tokio::test(start_paused = true)]
async fn a_last_price_ends_when_it_would_have_and_is_not_renewed_by_being_given() {
    let market = Market::configured(|config| config.stale_seconds = 50);
    market.set("bitcoin", "100");
    market.price("bitcoin").await.unwrap();
    for source in &market.sources {
        source.fail(Some(CallError::Timeout));
    }
    // Ten seconds fresh and fifty stale are sixty.
    for _ in 0..8 {
        pass(Duration::from_secs(7)).await;
        market.price("bitcoin").await.unwrap();
    }
    pass(Duration::from_secs(5)).await;
    assert_eq!(market.price("bitcoin").await, Err(PriceError::Unavailable(CallError::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_price_is_no_last_price() {
    let market = Market::open();
    market.set("bitcoin", "100");
    market.price("bitcoin").await.unwrap();
    for source in &market.sources {
        source.fail(Some(CallError::Timeout));
    }
    market.cache.invalidate(&id("bitcoin")).await;
    assert_eq!(market.price("bitcoin").await, Err(PriceError::Unavailable(CallError::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_coin_is_remembered_and_suggests_what_was_meant() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let both = market.prices.many(&[id("btc"), id("bitcoin")]).await;
    assert_eq!(both[&id("btc")], Err(PriceError::UnknownCoin { coin: "btc".into(), candidates: vec![id("bitcoin")] }));
    assert!(both[&id("bitcoin")].is_ok(), "one bad coin cost the other");
    market.price("btc").await.unwrap_err();
    assert_eq!(market.calls(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_coin_outside_the_catalogue_is_priced_by_those_who_know_it() {
    let market = Market::open();
    market.sources[0].set("obscure-coin", "3");
    let price = market.price("obscure-coin").await.unwrap();
    assert_eq!((price.amount, price.quorum.total, price.stale), (dec("3"), 1, false));
}

#[tokio::test(start_paused = true)]
async fn without_quorum_and_history_there_is_no_price() {
    let market = Market::open();
    market.sources[0].set("bitcoin", "100");
    assert_eq!(market.price("bitcoin").await, Err(PriceError::NoQuorum { used: 1, needed: 2 }));
    // Errors are not remembered.
    market.set("bitcoin", "100");
    assert!(market.price("bitcoin").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn only_an_unknown_coin_is_refused_ahead_and_an_outage_is_not() {
    let market = Market::open();
    market.set("bitcoin", "100");
    let nonsense = market.prices.check_known(&[id("bitcoin"), id("nonsense")]).await;
    assert!(matches!(nonsense, Err(PriceError::UnknownCoin { coin, .. }) if coin == "nonsense"));
    for source in &market.sources {
        source.fail(Some(CallError::Timeout));
    }
    assert_eq!(market.prices.check_known(&[id("bitcoin"), id("ethereum")]).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn texts_become_ids_or_candidates() {
    let market = Market::open();
    assert_eq!(market.prices.identify("bitcoin"), Ok(id("bitcoin")));
    let btc = PriceError::UnknownCoin { coin: "BTC".into(), candidates: vec![id("bitcoin")] };
    assert_eq!(market.prices.identify("BTC"), Err(btc));
    let rocket = PriceError::UnknownCoin { coin: "🚀".into(), candidates: vec![] };
    assert_eq!(market.prices.identify("🚀"), Err(rocket));
}
