//! What one subscriber is told: the ticks of its coins from the bus, without those that would tell it nothing.
//!
//! Each coin goes its own way: it resumes from a place or begins now. What comes from another node is taken into this
//! node's cache first, so that a query after a tick never shows an older price. An older tick never follows a newer
//! one. Where updates are lost to a subscriber who resumes, the next one says so. Proven by tests/updates.rs.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    Stream, StreamExt,
    stream::{BoxStream, SelectAll},
};

use tokio_util::sync::CancellationToken;

use super::{
    Cursor, Price, PriceUpdate, Stamp,
    cursor::NOWHERE,
    demand::{Demand, Interest},
    desk::Desk,
    feed::topic,
};
use crate::{
    bus::{Bus, Delivered},
    model::AssetId,
};

/// One update, as a subscriber gets it.
#[derive(Debug, Clone)]
pub struct PriceTick {
    /// What changed.
    pub update: PriceUpdate,
    /// Updates of this coin before this one are lost to the subscriber.
    pub gap: bool,
    /// It was published before the subscriber came back.
    pub replayed: bool,
    /// Up to where the subscriber has heard all its coins, this update included.
    pub cursor: Cursor,
}

/// Ticks of the coins that were asked for. Dropping it ends the demand for them.
pub struct PriceUpdates {
    // Before the ticks: whoever finds a coin watched must find its last tick still on the topic.
    _interest: Interest,
    ticks: BoxStream<'static, PriceTick>,
}

/// The topics of some coins, each from its place on.
pub(super) type Topics = SelectAll<BoxStream<'static, (AssetId, Delivered<PriceUpdate>)>>;

/// Reads the topics of the coins: from the cursor's places on, and from now on where it has none.
pub(super) fn topics(bus: &Bus, coins: &[AssetId], after: &Cursor) -> Topics {
    let read = |coin: &AssetId| {
        let updates = match after.place(coin) {
            Some(place) => bus.resume(&topic(coin), place),
            None => bus.subscribe(&topic(coin)),
        };
        let coin = coin.clone();
        updates.map(move |delivered| (coin.clone(), delivered)).boxed()
    };
    coins.iter().map(read).collect()
}

/// A subscriber's side of its coins.
pub(super) struct Listener {
    desk: Arc<Desk>,
    demand: Arc<Demand>,
    cursor: Cursor,
    heard: HashMap<AssetId, Heard>,
}

/// What a subscriber knows of a coin.
#[derive(Debug, Default)]
struct Heard {
    /// It was here before, so that what comes from the history may be news to it.
    resumed: bool,
    gap: bool,
    newest: Stamp,
    price: Option<Arc<Price>>,
}

impl PriceUpdates {
    /// Ends by itself when `stop` is cancelled.
    pub(super) fn new(interest: Interest, mut topics: Topics, mut listener: Listener, stop: CancellationToken) -> Self {
        let ticks = async_stream::stream! {
            while let Some((coin, delivered)) = topics.next().await {
                if let Some(tick) = listener.hear(coin, delivered) {
                    yield tick;
                }
            }
        };
        Self { _interest: interest, ticks: ticks.take_until(stop.cancelled_owned()).boxed() }
    }
}

impl Listener {
    pub(super) fn new(desk: Arc<Desk>, demand: Arc<Demand>, cursor: Cursor) -> Self {
        Self { desk, demand, cursor, heard: HashMap::new() }
    }

    /// What the subscriber is told of what its topic delivered, if anything.
    fn hear(&mut self, coin: AssetId, delivered: Delivered<PriceUpdate>) -> Option<PriceTick> {
        let resumed = self.cursor.place(&coin).is_some();
        let heard = self.heard.entry(coin.clone()).or_insert_with(|| Heard { resumed, ..Heard::default() });
        let Delivered::Message { message: update, position, replayed } = delivered else {
            heard.gap = true;
            // Nothing may be on its way that could carry the news of it.
            self.demand.ask([coin]);
            return None;
        };
        self.cursor.advance(&coin, position.unwrap_or(NOWHERE));
        if update.stamp <= heard.newest {
            if update.stamp < heard.newest && !replayed {
                // It may have taken the place of a newer one on the topic.
                self.demand.ask([coin]);
            }
            return None;
        }
        if heard.price.is_none() && !heard.resumed && replayed && self.desk.is_old(&update) {
            return None;
        }
        if self.demand.is_news(&coin, update.stamp) {
            self.desk.learn(&update, replayed);
            self.demand.learn(update.stamp, &update.price);
        }
        let news = heard.take_in(&update);
        let replayed = replayed && heard.resumed;
        let gap = news && std::mem::take(&mut heard.gap);
        news.then(|| PriceTick { update, gap, replayed, cursor: self.cursor.clone() })
    }
}

impl Heard {
    /// Notes an update; says whether it is worth telling.
    fn take_in(&mut self, update: &PriceUpdate) -> bool {
        self.newest = update.stamp;
        let before = self.price.replace(Arc::clone(&update.price));
        let known = match before {
            Some(before) => before.says_the_same(&update.price),
            // Who was here before has heard it the first time.
            None => self.resumed && update.repeated,
        };
        self.gap || !known
    }
}

impl Stream for PriceUpdates {
    type Item = PriceTick;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PriceTick>> {
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
        let ticks = stream::pending::<PriceTick>().inspect(move |_| drop(Arc::clone(&witness.watched))).boxed();
        let interest = demand.join(vec![AssetId::new("bitcoin").unwrap()]).unwrap();
        drop(PriceUpdates { _interest: interest, ticks });
        assert_eq!(watched.load(Ordering::Relaxed), 0);
    }
}
