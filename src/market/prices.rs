//! The way in: prices now, and prices as they change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Catalogue, Cursor, Leadership, Price, PriceError, PriceUpdates,
    demand::Demand,
    desk::{Desk, PriceCache},
    feed::Feed,
    panel::Panel,
    sources::Source,
    updates::{Listener, topics},
};
use crate::{
    bus::Bus,
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
    /// Which of several nodes feeds.
    pub leadership: Leadership,
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
        let PriceParts { sources, catalogue, cache, tags, bus, leadership, clock, tasks, stop } = parts;
        let desk = Arc::new(Desk {
            panel: Panel::new(sources, config, clock.clone(), tasks.clone(), stop.clone()),
            catalogue,
            cache,
            tags,
            rules: config.into(),
            fresh_for: Duration::from_secs(config.fresh_seconds),
            stale_for: Duration::from_secs(config.stale_seconds),
            clock: clock.clone(),
        });
        let demand = Arc::new(Demand::new(config.feed_max_coins));
        let interval = Duration::from_millis(config.feed_interval_ms);
        let standing = leadership.start(Arc::clone(&demand), bus.clone(), clock, &tasks, stop.clone());
        let feed = Feed::new(Arc::clone(&desk), Arc::clone(&demand), bus.clone(), standing, interval);
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

    /// The coins' prices as they change: from the cursor's places on, for coins that have one, every update that was
    /// missed, or one that says that there is a gap; for the others the last tick at once, if it is news; then one
    /// per change.
    ///
    /// Coins that no source knows never tick: ask [`Self::check_known`] first to tell the caller. A slow reader sees the
    /// newest tick of each coin and misses those in between, but none that were missed before it resumed. Dropping the
    /// stream ends the demand for its coins; it ends by itself when the server stops.
    ///
    /// # Errors
    /// [`PriceError::FeedFull`] when the coins would exceed what the feed may watch.
    pub fn updates(&self, coins: Vec<AssetId>, after: Cursor) -> Result<PriceUpdates, PriceError> {
        let coins = distinct(coins);
        // Before joining, as the first tick may be published at once.
        let topics = topics(&self.bus, &coins, &after);
        let interest = self.demand.join(coins)?;
        let listener = Listener::new(Arc::clone(&self.desk), Arc::clone(&self.demand), after);
        Ok(PriceUpdates::new(interest, topics, listener, self.stop.clone()))
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
