//! The way in: prices now, and prices as they change.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream::BoxStream, stream::SelectAll};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Catalogue, Price, PriceError, PriceUpdate,
    demand::{Demand, Interest},
    desk::{Desk, PriceCache},
    feed::{Feed, topic},
    panel::Panel,
    sources::Source,
};
use crate::{
    bus::{Bus, Delivered},
    cache::{Hit, Lookup, Tags},
    config::MarketConfig,
    model::{AssetId, Clock, Timestamp},
};

/// What [`Prices`] is built from.
pub struct PriceParts {
    /// Who is asked, from [`super::sources::build`].
    pub sources: Vec<Source>,
    /// The coins known by heart.
    pub catalogue: Catalogue,
    /// Where prices are kept.
    pub cache: PriceCache,
    /// Where a tick invalidates what was made from the price before; see [`super::price_tag`].
    pub tags: Tags,
    /// Where ticks are published.
    pub bus: Bus,
    /// The time.
    pub clock: Clock,
    /// Keeps the feed's task and the calls that nobody waits for any more.
    pub tasks: TaskTracker,
    /// Ends the feed, its streams and those calls.
    pub stop: CancellationToken,
}

/// Prices now, and prices as they change; clones share everything.
#[derive(Clone)]
pub struct Prices {
    desk: Arc<Desk>,
    demand: Arc<Demand>,
    bus: Bus,
    stop: CancellationToken,
}

impl Prices {
    /// Opens the market and starts its feed. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(parts: PriceParts, config: &MarketConfig) -> Self {
        let PriceParts { sources, catalogue, cache, tags, bus, clock, tasks, stop } = parts;
        let desk = Arc::new(Desk {
            panel: Panel::new(sources, config, clock.clone(), tasks.clone(), stop.clone()),
            catalogue,
            cache,
            rules: config.into(),
            fresh_for: Duration::from_secs(config.fresh_seconds),
            stale_for: Duration::from_secs(config.stale_seconds),
            clock,
        });
        let demand = Arc::new(Demand::new(config.feed_max_coins));
        let interval = Duration::from_millis(config.feed_interval_ms);
        let feed = Feed::new(Arc::clone(&desk), Arc::clone(&demand), tags, bus.clone(), interval);
        tasks.spawn(feed.run(stop.clone()));
        Self { desk, demand, bus, stop }
    }

    /// What the coins are worth, one entry per distinct coin.
    ///
    /// Concurrent callers share one load per coin. The number of coins is the caller's to bound.
    pub async fn many(&self, coins: &[AssetId]) -> HashMap<AssetId, Result<Arc<Price>, PriceError>> {
        let coins = distinct(coins.to_vec());
        let desk = Arc::clone(&self.desk);
        let load = move |missing: Vec<AssetId>| {
            let desk = Arc::clone(&desk);
            async move { desk.round(&missing).await }
        };
        let found = self.desk.cache.get_many(&coins, load).await;
        found.into_iter().map(|(coin, lookup)| (coin.clone(), self.answer(&coin, lookup))).collect()
    }

    /// Until when a price from [`Self::many`] needs no new look; when it was observed, if there is a newer one already.
    #[must_use]
    pub fn fresh_until(&self, price: &Price) -> Timestamp {
        let known = self.desk.cache.last_known(&price.coin);
        known.filter(|hit| hit.value.as_of == price.as_of).map_or(price.as_of, |hit| hit.fresh_until)
    }

    /// The id in a caller's text. Whether a source knows that id is only learnt by asking.
    ///
    /// # Errors
    /// [`PriceError::UnknownCoin`] for a text that cannot be an id, such as `BTC`.
    pub fn identify(&self, text: &str) -> Result<AssetId, PriceError> {
        AssetId::new(text).map_err(|_| self.desk.catalogue.unknown(text))
    }

    /// Whether some source may know every one of the coins, as far as can be told: an outage is no refusal.
    ///
    /// # Errors
    /// [`PriceError::UnknownCoin`] for the first coin that no source knows.
    pub async fn check_known(&self, coins: &[AssetId]) -> Result<(), PriceError> {
        let mut prices = self.many(coins).await;
        let refused = coins.iter().find_map(|coin| match prices.remove(coin) {
            Some(Err(error @ PriceError::UnknownCoin { .. })) => Some(error),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// The coins' prices from now on: the last published tick of each at once, then one per change.
    ///
    /// Coins that no source knows never tick: ask [`Self::check_known`] first to tell the caller. A slow reader sees the
    /// newest tick of each coin and misses those in between. Dropping the stream ends the demand for its coins; it
    /// ends by itself when the server stops.
    ///
    /// # Errors
    /// [`PriceError::FeedFull`] when the coins would exceed what the feed may watch.
    pub fn updates(&self, coins: Vec<AssetId>) -> Result<PriceUpdates, PriceError> {
        let coins = distinct(coins);
        // Before joining, as the first tick may be published at once.
        let ticks: SelectAll<_> = coins.iter().map(|coin| self.bus.subscribe(&topic(coin))).collect();
        let interest = self.demand.join(coins)?;
        let ticks = ticks
            .filter_map(async |delivered| match delivered {
                Delivered::Message(update) => Some(update),
                Delivered::Missed(_) => None,
            })
            .take_until(self.stop.clone().cancelled_owned());
        Ok(PriceUpdates { _interest: interest, ticks: ticks.boxed() })
    }

    fn answer(&self, coin: &AssetId, lookup: Result<Lookup<Arc<Price>>, PriceError>) -> Result<Arc<Price>, PriceError> {
        match lookup? {
            Lookup::Found(Hit { value, stale: true, .. }) if !value.stale => {
                Ok(Arc::new(Arc::unwrap_or_clone(value).into_stale()))
            }
            Lookup::Found(hit) => Ok(hit.value),
            Lookup::Missing => Err(self.desk.catalogue.unknown(coin.as_str())),
        }
    }
}

fn distinct(mut coins: Vec<AssetId>) -> Vec<AssetId> {
    coins.sort_unstable();
    coins.dedup();
    coins
}

/// Ticks of the coins that were asked for.
pub struct PriceUpdates {
    // Before the ticks: whoever finds a coin watched must find its last tick still on the topic.
    _interest: Interest,
    ticks: BoxStream<'static, PriceUpdate>,
}

impl Stream for PriceUpdates {
    type Item = PriceUpdate;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PriceUpdate>> {
        self.ticks.as_mut().poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;

    use super::*;

    /// Notes how many coins are watched at the moment when it goes.
    struct Witness {
        demand: Arc<Demand>,
        watched: Arc<AtomicUsize>,
    }

    impl Drop for Witness {
        fn drop(&mut self) {
            self.watched.store(self.demand.len(), Ordering::Relaxed);
        }
    }

    /// In the other order a reader who joins in between finds the coin watched and told, but its last tick gone, and
    /// hears nothing until the price changes.
    #[test]
    fn a_coin_is_no_longer_watched_when_its_last_tick_goes() {
        let (demand, watched) = (Arc::new(Demand::new(1)), Arc::new(AtomicUsize::new(usize::MAX)));
        let witness = Witness { demand: Arc::clone(&demand), watched: Arc::clone(&watched) };
        let ticks = stream::pending::<PriceUpdate>().inspect(move |_| drop(Arc::clone(&witness.watched))).boxed();
        let interest = demand.join(vec![AssetId::new("bitcoin").unwrap()]).unwrap();
        drop(PriceUpdates { _interest: interest, ticks });
        assert_eq!(watched.load(Ordering::Relaxed), 0);
    }
}
