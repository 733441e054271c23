//! Which coins somebody watches, and what each of them was last told.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Price, PriceError};
use crate::model::{AssetId, Decimal};

/// The union of the watched coins.
pub(super) struct Demand {
    coins: Mutex<HashMap<AssetId, Watched>>,
    joined: Notify,
    limit: usize,
    size: Gauge,
}

#[derive(Default)]
struct Watched {
    readers: usize,
    /// The round that is fetching the coin; there is never more than one.
    round: Option<u64>,
    fetched: bool,
    last: Option<Arc<Price>>,
}

/// Somebody's interest in some coins; ends when dropped.
pub(super) struct Interest {
    demand: Arc<Demand>,
    coins: Vec<AssetId>,
}

/// A price that differs from what the coin's readers were last told.
pub(super) struct Change {
    pub(super) price: Arc<Price>,
    pub(super) previous: Option<Decimal>,
}

impl Demand {
    pub(super) fn new(limit: usize) -> Self {
        let size = gauge!("tidegate_feed_coins");
        Self { coins: Mutex::default(), joined: Notify::new(), limit, size }
    }

    /// Adds interest in distinct coins.
    pub(super) fn join(self: &Arc<Self>, coins: Vec<AssetId>) -> Result<Interest, PriceError> {
        let mut watched = self.coins.lock();
        let new = coins.iter().filter(|coin| !watched.contains_key(*coin)).count();
        if watched.len() + new > self.limit {
            return Err(PriceError::FeedFull { limit: self.limit });
        }
        for coin in &coins {
            watched.entry(coin.clone()).or_default().readers += 1;
        }
        self.size.set(gauge_value(watched.len()));
        drop(watched);
        self.joined.notify_one();
        Ok(Interest { demand: Arc::clone(self), coins })
    }

    /// Waits until somebody joined since the last time this was called.
    pub(super) async fn joined(&self) {
        self.joined.notified().await;
    }

    /// How many coins are watched.
    pub(super) fn len(&self) -> usize {
        self.coins.lock().len()
    }

    /// Takes the coins that no round is fetching into `round`.
    pub(super) fn take_all(&self, round: u64) -> Vec<AssetId> {
        self.take(round, |_| true)
    }

    /// Takes the coins that were never fetched for their present readers into `round`.
    pub(super) fn take_new(&self, round: u64) -> Vec<AssetId> {
        self.take(round, |watched| !watched.fetched)
    }

    fn take(&self, round: u64, wanted: impl Fn(&Watched) -> bool) -> Vec<AssetId> {
        let mut coins = self.coins.lock();
        let due = coins.iter_mut().filter(|(_, watched)| watched.round.is_none() && wanted(watched));
        due.map(|(coin, watched)| {
            watched.round = Some(round);
            coin.clone()
        })
        .collect()
    }

    /// Ends a coin's part in a round; with a price, says whether that is news.
    ///
    /// A coin that was left and joined again meanwhile belongs to a newer round, and ignores this one.
    pub(super) fn settle(&self, round: u64, coin: &AssetId, price: Option<Arc<Price>>) -> Option<Change> {
        let mut coins = self.coins.lock();
        let watched = coins.get_mut(coin).filter(|watched| watched.round == Some(round))?;
        watched.round = None;
        watched.fetched = true;
        let price = price?;
        let told = watched.last.as_ref();
        if told.is_some_and(|told| told.amount == price.amount && told.stale == price.stale) {
            return None;
        }
        let previous = told.map(|told| told.amount);
        watched.last = Some(Arc::clone(&price));
        Some(Change { price, previous })
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut watched = self.demand.coins.lock();
        for coin in self.coins.drain(..) {
            if let Entry::Occupied(mut entry) = watched.entry(coin) {
                entry.get_mut().readers -= 1;
                if entry.get().readers == 0 {
                    entry.remove();
                }
            }
        }
        self.demand.size.set(gauge_value(watched.len()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "the limit on coins is far below 2^52")]
fn gauge_value(coins: usize) -> f64 {
    coins as f64
}
