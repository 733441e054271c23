//! The feed: fetches what somebody watches, and only while somebody does, and tells them what changed.
//!
//! One task, which works only while this node's [`Standing`] says that it feeds. A coin that is new to it is fetched at
//! once, the others every interval; a slow round never holds up the next coin. It must never publish what it fetched
//! after another node may have taken over. Who feeds is decided in `leadership.rs`.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    PriceUpdate,
    demand::{Change, Demand},
    desk::{Desk, Round, price_tag},
    leadership::Standing,
};
use crate::{
    bus::{Bus, Delivery, History, Topic},
    cache::Loaded,
    model::AssetId,
};

/// Ticks of one coin that are kept for subscribers who come back, and for how long after the last of them.
const HISTORY: History = History { messages: 128, keep_for: Duration::from_mins(2) };
/// Ticks that are being published at once.
const PUBLISHING: usize = 64;

/// The loop that feeds the topics.
pub(super) struct Feed {
    desk: Arc<Desk>,
    demand: Arc<Demand>,
    bus: Bus,
    standing: watch::Receiver<Standing>,
    interval: Duration,
    round: u64,
    ticks: Counter,
    age: Histogram,
}

/// The topic on which a coin's ticks are published.
pub(super) fn topic(coin: &AssetId) -> Topic<PriceUpdate> {
    Topic::new(format!("price:{coin}"), Delivery::Latest).remembering(HISTORY)
}

impl Feed {
    pub(super) fn new(
        desk: Arc<Desk>,
        demand: Arc<Demand>,
        bus: Bus,
        standing: watch::Receiver<Standing>,
        interval: Duration,
    ) -> Self {
        let ticks = counter!("tidegate_price_ticks_total");
        let age = histogram!("tidegate_price_age_seconds");
        Self { desk, demand, bus, standing, interval, round: 0, ticks, age }
    }

    /// Feeds until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticker = self.ticker();
        let mut rounds = FuturesUnordered::new();
        let mut standing = self.standing.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((round, prices)) = rounds.next() => self.publish(round, prices).await,
                () = stirred(&self.demand, &mut standing) => {
                    let Some(coins) = self.stir().await else { continue };
                    if coins.len() == self.demand.len() {
                        ticker.reset();
                    }
                    rounds.push(self.fetch(coins));
                }
                _ = ticker.tick(), if self.feeds() && self.demand.len() > 0 => {
                    self.round += 1;
                    let coins = self.demand.take_all(self.round);
                    rounds.push(self.fetch(coins));
                }
            }
        }
    }

    fn feeds(&self) -> bool {
        self.standing.borrow().feeds(self.desk.clock.instant())
    }

    fn ticker(&self) -> Interval {
        let mut ticker = interval_at(self.desk.clock.instant() + self.interval, self.interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticker
    }

    /// Tells again what was asked for, and takes the coins that are new to the feed into a round.
    async fn stir(&mut self) -> Option<Vec<AssetId>> {
        if !self.feeds() {
            return None;
        }
        self.tell(self.demand.take_repeats()).await;
        self.round += 1;
        Some(self.demand.take_new(self.round)).filter(|coins| !coins.is_empty())
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
            let found = prices.iter().filter_map(|(coin, found)| Some((coin.clone(), found.as_ref().ok()?.clone())));
            desk.cache.put_many(ticket, found.collect::<Vec<_>>()).await;
            (round, prices)
        }
    }

    async fn publish(&self, round: u64, prices: Round) {
        let feeds = self.feeds();
        let changes = prices.into_iter().filter_map(|(coin, loaded)| {
            let price = match loaded {
                Ok(Loaded::Found { value, .. }) if feeds => Some(value),
                Ok(_) | Err(_) => None,
            };
            self.demand.settle(round, coin, price)
        });
        self.tell(changes.collect()).await;
    }

    /// Publishes changes of different coins, many at a time: each may wait for Redis.
    async fn tell(&self, changes: Vec<Change>) {
        stream::iter(changes).for_each_concurrent(PUBLISHING, |change| self.tick(change)).await;
    }

    async fn tick(&self, Change { coin, price, previous, repeated }: Change) {
        // Looked at for each: some may have waited.
        let standing = *self.standing.borrow();
        if !standing.feeds(self.desk.clock.instant()) {
            return;
        }
        let (published_at, stamp) = (self.desk.clock.now(), self.demand.stamp(&coin, standing.term()));
        self.ticks.increment(1);
        self.age.record(price.age(published_at).to_std().unwrap_or_default().as_secs_f64());
        if !repeated {
            // Answers made from the old price go before anyone hears of the new one, which is cached already.
            self.desk.tags.invalidate(&[price_tag(&coin)]).await;
            // That may have taken longer than the lease had left.
            if !standing.feeds(self.desk.clock.instant()) {
                return;
            }
        }
        self.bus.publish(&topic(&coin), PriceUpdate { price, previous, published_at, stamp, repeated }).await;
    }
}

/// Waits until there is something new to feed, or this node's standing changes.
async fn stirred(demand: &Demand, standing: &mut watch::Receiver<Standing>) {
    tokio::select! {
        () = demand.stirred() => {}
        // A node that is alone stays so: nobody holds the other end.
        Ok(()) = standing.changed() => {}
    }
}
