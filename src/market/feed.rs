//! The feed: fetches what somebody watches, and only while somebody does, and tells them what changed.
//!
//! One task. A coin that is new to it is fetched at once, the others every interval; a slow round never holds up the
//! next coin. With Redis there will be one leader among the nodes that runs this loop; its place is [`Feed::run`].

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{
    PriceUpdate,
    demand::{Change, Demand},
    desk::{Desk, Round, price_tag},
};
use crate::{
    bus::{Bus, Delivery, Topic},
    cache::{Loaded, Tags},
    model::{AssetId, Clock},
};

/// The loop that feeds the topics.
pub(super) struct Feed {
    desk: Arc<Desk>,
    demand: Arc<Demand>,
    tags: Tags,
    bus: Bus,
    clock: Clock,
    interval: Duration,
    sequence: u64,
    round: u64,
    ticks: Counter,
    age: Histogram,
}

/// The topic on which a coin's ticks are published.
pub(super) fn topic(coin: &AssetId) -> Topic<PriceUpdate> {
    Topic::new(format!("price:{coin}"), Delivery::Latest)
}

impl Feed {
    pub(super) fn new(desk: Arc<Desk>, demand: Arc<Demand>, tags: Tags, bus: Bus, interval: Duration) -> Self {
        let ticks = counter!("tidegate_price_ticks_total");
        let age = histogram!("tidegate_price_age_seconds");
        let clock = desk.clock.clone();
        Self { desk, demand, tags, bus, clock, interval, sequence: 0, round: 0, ticks, age }
    }

    /// Feeds until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticker = self.ticker();
        let mut rounds = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((round, prices)) = rounds.next() => self.publish(round, prices),
                () = self.demand.joined() => {
                    self.round += 1;
                    let coins = self.demand.take_new(self.round);
                    if coins.len() == self.demand.len() {
                        ticker.reset();
                    }
                    rounds.push(self.fetch(coins));
                }
                _ = ticker.tick(), if self.demand.len() > 0 => {
                    self.round += 1;
                    let coins = self.demand.take_all(self.round);
                    rounds.push(self.fetch(coins));
                }
            }
        }
    }

    fn ticker(&self) -> Interval {
        let mut ticker = interval_at(self.clock.instant() + self.interval, self.interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticker
    }

    /// Prices the coins and writes the value cache, so that queries see what subscribers are told.
    fn fetch(&self, coins: Vec<AssetId>) -> impl Future<Output = (u64, Round)> + use<> {
        let (desk, round) = (Arc::clone(&self.desk), self.round);
        async move {
            if coins.is_empty() {
                return (round, Round::new());
            }
            // Taken before the fetch: what is invalidated meanwhile must not come back.
            let ticket = desk.cache.begin();
            let prices = desk.round(&coins).await;
            for (coin, loaded) in &prices {
                if let Ok(loaded) = loaded {
                    desk.cache.put(ticket, coin, loaded.clone()).await;
                }
            }
            (round, prices)
        }
    }

    fn publish(&mut self, round: u64, prices: Round) {
        for (coin, loaded) in prices {
            let price = match loaded {
                Ok(Loaded::Found { value, .. }) => Some(value),
                Ok(Loaded::Missing) | Err(_) => None,
            };
            if let Some(change) = self.demand.settle(round, &coin, price) {
                self.tick(&coin, change);
            }
        }
    }

    fn tick(&mut self, coin: &AssetId, Change { price, previous }: Change) {
        let published_at = self.clock.now();
        self.sequence += 1;
        self.ticks.increment(1);
        self.age.record(price.age(published_at).to_std().unwrap_or_default().as_secs_f64());
        // Answers made from the old price go before anyone hears of the new one, which is cached already.
        self.tags.invalidate(&price_tag(coin));
        self.bus.publish(&topic(coin), PriceUpdate { price, previous, published_at, sequence: self.sequence });
    }
}
