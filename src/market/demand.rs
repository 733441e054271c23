//! Which coins somebody watches, here or on another node, and what their readers were last told.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Price, PriceError, Stamp};
use crate::model::{AssetId, Decimal};

/// The union of the watched coins.
pub(super) struct Demand {
    coins: Mutex<Coins>,
    /// The feed has something to do.
    stirred: Notify,
    /// What is wanted here has changed.
    changed: Notify,
    limit: usize,
    size: Gauge,
    left_out: Gauge,
}

#[derive(Default)]
struct Coins {
    watched: HashMap<AssetId, Watched>,
    /// How many of them have readers here.
    here: usize,
    /// Coins with a reader who has not heard the last tick.
    asked: HashSet<AssetId>,
    /// The newest tick of any coin that this node knows of.
    newest: Stamp,
}

#[derive(Default)]
struct Watched {
    /// Readers on this node.
    readers: usize,
    /// Another node wants it, and this one feeds it.
    elsewhere: bool,
    /// The round that is fetching the coin; there is never more than one.
    round: Option<u64>,
    fetched: bool,
    /// What its readers were last told, by whichever node.
    last: Option<Arc<Price>>,
    /// When that was.
    newest: Stamp,
}

/// Somebody's interest in some coins; ends when dropped.
pub(super) struct Interest {
    demand: Arc<Demand>,
    coins: Vec<AssetId>,
}

/// A price that differs from what the coin's readers were last told.
pub(super) struct Change {
    pub(super) coin: AssetId,
    pub(super) price: Arc<Price>,
    pub(super) previous: Option<Decimal>,
    /// It does not differ, but somebody has not heard it.
    pub(super) repeated: bool,
}

impl Change {
    fn repeat(price: Arc<Price>) -> Self {
        Self { coin: price.coin.clone(), previous: Some(price.amount), price, repeated: true }
    }
}

impl Demand {
    pub(super) fn new(limit: usize) -> Self {
        let (size, left_out) = (gauge!("tidegate_feed_coins"), gauge!("tidegate_feed_coins_left_out"));
        Self { coins: Mutex::default(), stirred: Notify::new(), changed: Notify::new(), limit, size, left_out }
    }

    /// Adds interest in distinct coins.
    pub(super) fn join(self: &Arc<Self>, coins: Vec<AssetId>) -> Result<Interest, PriceError> {
        let mut state = self.coins.lock();
        let is_here = |coin: &AssetId| state.watched.get(coin).is_some_and(|watched| watched.readers > 0);
        let new: Vec<AssetId> = coins.iter().filter(|coin| !is_here(coin)).cloned().collect();
        if state.here + new.len() > self.limit {
            return Err(PriceError::FeedFull { limit: self.limit });
        }
        state.here += new.len();
        for coin in &coins {
            state.watched.entry(coin.clone()).or_default().readers += 1;
        }
        let wake = !new.is_empty();
        // Whoever feeds it may have told the price to others already.
        state.asked.extend(new);
        self.size.set(gauge_value(state.watched.len()));
        drop(state);
        if wake {
            self.wake();
        }
        Ok(Interest { demand: Arc::clone(self), coins })
    }

    fn wake(&self) {
        self.stirred.notify_one();
        self.changed.notify_one();
    }

    /// Waits until there was something for the feed since the last time this was called.
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Waits until the coins with readers here have changed since the last time this was called.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many coins are watched.
    pub(super) fn len(&self) -> usize {
        self.coins.lock().watched.len()
    }

    /// The coins with readers here.
    pub(super) fn wanted_here(&self) -> HashSet<AssetId> {
        let state = self.coins.lock();
        state.watched.iter().filter(|(_, watched)| watched.readers > 0).map(|(coin, _)| coin.clone()).collect()
    }

    /// These are the coins that other nodes want this one to feed. Those that it feeds already come first; what is over
    /// the limit is left out.
    pub(super) fn set_elsewhere(&self, coins: Vec<AssetId>) {
        let mut wanted: HashSet<AssetId> = coins.into_iter().collect();
        let mut state = self.coins.lock();
        let mut room = self.limit.saturating_sub(state.here);
        let mut left_out = 0;
        state.watched.retain(|coin, watched| {
            watched.elsewhere = wanted.remove(coin);
            if watched.readers > 0 {
                return true;
            }
            let stays = watched.elsewhere && room > 0;
            room -= usize::from(stays);
            left_out += usize::from(watched.elsewhere && !stays);
            stays
        });
        left_out += wanted.len().saturating_sub(room);
        let stirs = !wanted.is_empty();
        for coin in wanted.into_iter().take(room) {
            state.watched.insert(coin, Watched { elsewhere: true, ..Watched::default() });
        }
        self.size.set(gauge_value(state.watched.len()));
        self.left_out.set(gauge_value(left_out));
        drop(state);
        if stirs {
            self.stirred.notify_one();
        }
    }

    /// Another node feeds from now on: forgets what only others want, and every round under way.
    pub(super) fn lay_down(&self) {
        self.set_elsewhere(Vec::new());
        for watched in self.coins.lock().watched.values_mut() {
            (watched.round, watched.fetched) = (None, false);
        }
    }

    /// Notes that somebody has not heard the last tick of these coins.
    pub(super) fn ask(&self, coins: impl IntoIterator<Item = AssetId>) {
        if self.put_back(coins) {
            self.wake();
        }
    }

    /// The same for coins that could not be asked for now; those who do that are not woken by it. Whether any is new.
    pub(super) fn put_back(&self, coins: impl IntoIterator<Item = AssetId>) -> bool {
        let mut state = self.coins.lock();
        let before = state.asked.len();
        let known: Vec<AssetId> = coins.into_iter().filter(|coin| state.watched.contains_key(coin)).collect();
        state.asked.extend(known);
        state.asked.len() > before
    }

    /// Takes the coins of which somebody has not heard the last tick.
    pub(super) fn take_asked(&self) -> Vec<AssetId> {
        self.coins.lock().asked.drain().collect()
    }

    /// Takes the last tick once more of the coins of which somebody has not heard it. What has yet to be fetched is
    /// asked for until then.
    pub(super) fn take_repeats(&self) -> Vec<Change> {
        let mut guard = self.coins.lock();
        let Coins { watched, asked, .. } = &mut *guard;
        let known = asked.extract_if(|coin| watched.get(coin).is_none_or(|watched| watched.fetched));
        known.filter_map(|coin| Some(Change::repeat(watched.get(&coin)?.last.clone()?))).collect()
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
        let mut state = self.coins.lock();
        let due = state.watched.iter_mut().filter(|(_, watched)| watched.round.is_none() && wanted(watched));
        due.map(|(coin, watched)| {
            watched.round = Some(round);
            coin.clone()
        })
        .collect()
    }

    /// Ends a coin's part in a round; with a price, says whether that is news.
    ///
    /// A coin that was left and joined again meanwhile belongs to a newer round, and ignores this one.
    pub(super) fn settle(&self, round: u64, coin: AssetId, price: Option<Arc<Price>>) -> Option<Change> {
        let mut guard = self.coins.lock();
        let Coins { watched, asked, .. } = &mut *guard;
        let watched = watched.get_mut(&coin).filter(|watched| watched.round == Some(round))?;
        watched.round = None;
        watched.fetched = true;
        let price = price?;
        let is_asked = asked.remove(&coin);
        let told = watched.last.as_ref();
        if told.is_some_and(|told| told.says_the_same(&price)) {
            // Whoever fed it before has told others, who said the same.
            return is_asked.then(|| Change::repeat(price));
        }
        let previous = told.map(|told| told.amount);
        watched.last = Some(Arc::clone(&price));
        Some(Change { coin, price, previous, repeated: false })
    }

    /// The stamp of the next tick of a coin, published here in this term. Later than every tick known here.
    pub(super) fn stamp(&self, coin: &AssetId, term: Option<u64>) -> Stamp {
        let mut state = self.coins.lock();
        state.newest = state.newest.next(term);
        let stamp = state.newest;
        if let Some(watched) = state.watched.get_mut(coin) {
            watched.newest = stamp;
        }
        stamp
    }

    /// Whether a tick is newer than every other of its coin that this node has taken in.
    pub(super) fn is_news(&self, coin: &AssetId, stamp: Stamp) -> bool {
        self.coins.lock().watched.get(coin).is_none_or(|watched| watched.newest < stamp)
    }

    /// Notes that a tick of another node's was taken in.
    pub(super) fn learn(&self, stamp: Stamp, price: &Arc<Price>) {
        let mut state = self.coins.lock();
        state.newest = state.newest.max(stamp);
        if let Some(watched) = state.watched.get_mut(&price.coin).filter(|watched| watched.newest < stamp) {
            watched.newest = stamp;
            watched.last = Some(Arc::clone(price));
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut guard = self.demand.coins.lock();
        let state = &mut *guard;
        let mut left = false;
        for coin in self.coins.drain(..) {
            let Entry::Occupied(mut entry) = state.watched.entry(coin) else { continue };
            entry.get_mut().readers -= 1;
            if entry.get().readers > 0 {
                continue;
            }
            left = true;
            let coin = if entry.get().elsewhere { entry.key().clone() } else { entry.remove_entry().0 };
            state.here -= 1;
            state.asked.remove(&coin);
        }
        self.demand.size.set(gauge_value(state.watched.len()));
        drop(guard);
        if left {
            self.demand.changed.notify_one();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the limit on coins is far below 2^52")]
fn gauge_value(coins: usize) -> f64 {
    coins as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        market::{Confidence, Currency, Quorum},
        model::Timestamp,
    };

    fn ids(names: &[&str]) -> Vec<AssetId> {
        names.iter().map(|name| AssetId::new(name).unwrap()).collect()
    }

    fn price(coin: &str, amount: i64) -> Price {
        let amount = Decimal::from(amount);
        Price {
            coin: AssetId::new(coin).unwrap(),
            currency: Currency::Usd,
            amount,
            change24h: None,
            confidence: Confidence { low: amount, high: amount },
            as_of: Timestamp::UNIX_EPOCH,
            stale: false,
            quorum: Quorum { used: 1, total: 1, min: 1 },
            sources: Vec::new(),
        }
    }

    fn taken(demand: &Demand, round: u64) -> Vec<String> {
        let mut coins: Vec<String> = demand.take_all(round).iter().map(ToString::to_string).collect();
        coins.sort();
        demand.lay_down_rounds();
        coins
    }

    impl Demand {
        fn lay_down_rounds(&self) {
            for watched in self.coins.lock().watched.values_mut() {
                watched.round = None;
            }
        }
    }

    #[test]
    fn what_others_want_is_fed_within_the_limit_and_goes_when_they_go() {
        let demand = Arc::new(Demand::new(3));
        let here = demand.join(ids(&["a"])).unwrap();
        demand.set_elsewhere(ids(&["a", "b", "c", "d"]));
        let fed = taken(&demand, 1);
        assert_eq!(fed.len(), 3, "{fed:?}");
        // Those that are fed stay, whoever else comes.
        let mut others: Vec<&str> = fed.iter().map(String::as_str).collect();
        others.extend(["x", "y", "z"]);
        demand.set_elsewhere(ids(&others));
        assert_eq!(taken(&demand, 2), fed);
        drop(here);
        assert_eq!(taken(&demand, 3), fed, "others still want it");
        assert_eq!(demand.wanted_here().len(), 0);
        demand.set_elsewhere(Vec::new());
        assert_eq!(demand.len(), 0);
    }

    #[test]
    fn readers_here_have_the_first_right_to_the_limit() {
        let demand = Arc::new(Demand::new(2));
        demand.set_elsewhere(ids(&["x", "y"]));
        let _here = demand.join(ids(&["a"])).unwrap();
        demand.set_elsewhere(ids(&["x", "y"]));
        assert_eq!((demand.len(), demand.wanted_here()), (2, ids(&["a"]).into_iter().collect()));
        assert_eq!(demand.join(ids(&["b", "c"])).err(), Some(PriceError::FeedFull { limit: 2 }));
    }

    #[test]
    fn only_the_first_reader_of_a_coin_asks_to_hear_it_again() {
        let demand = Arc::new(Demand::new(9));
        let first = demand.join(ids(&["a", "b"])).unwrap();
        assert_eq!(demand.take_asked().len(), 2);
        let _second = demand.join(ids(&["a"])).unwrap();
        assert_eq!(demand.take_asked(), []);
        demand.ask(ids(&["a", "unwatched"]));
        assert_eq!(demand.take_asked(), ids(&["a"]));
        demand.ask(ids(&["b"]));
        drop(first);
        assert_eq!(demand.take_asked(), [], "nobody is left to hear b");
    }

    #[test]
    fn stamps_grow_over_terms_and_what_others_told() {
        let demand = Arc::new(Demand::new(9));
        let _here = demand.join(ids(&["a"])).unwrap();
        let a = &ids(&["a"])[0];
        let stamp = |term, sequence| Stamp { term, sequence, apart: 0 };
        assert_eq!(demand.stamp(a, Some(5)), stamp(5, 1));
        assert_eq!(demand.stamp(a, Some(5)), stamp(5, 2));
        assert_eq!(demand.stamp(a, None), Stamp { apart: 1, ..stamp(5, 2) }, "cut off, it goes on from where it was");
        assert_eq!(demand.stamp(a, None), Stamp { apart: 2, ..stamp(5, 2) });
        assert!(demand.is_news(a, stamp(5, 3)), "the leader's next tick is later, whatever was told meanwhile");
        assert_eq!(demand.stamp(a, Some(9)), stamp(9, 1));
        assert!(demand.is_news(a, stamp(9, 2)) && !demand.is_news(a, stamp(9, 1)) && !demand.is_news(a, stamp(5, 77)));
    }

    #[test]
    fn who_asks_while_nobody_feeds_is_told_by_whoever_feeds_next() {
        let demand = Arc::new(Demand::new(9));
        let _here = demand.join(ids(&["a"])).unwrap();
        let a = ids(&["a"]).remove(0);
        demand.take_asked();
        let price = Arc::new(price("a", 100));
        demand.learn(Stamp { term: 1, sequence: 1, apart: 0 }, &price);
        // Now this node takes the lead, and somebody elsewhere has not heard the price.
        demand.ask([a.clone()]);
        assert_eq!(demand.take_repeats().len(), 0, "it may be out of date");
        assert_eq!(demand.take_new(1).len(), 1);
        let told = demand.settle(1, a.clone(), Some(Arc::clone(&price))).expect("somebody waits for it");
        assert!(told.repeated && told.price == price);
        assert_eq!(demand.take_repeats().len(), 0, "once");
        demand.ask([a]);
        assert_eq!(demand.take_repeats().len(), 1, "what is fetched is told at once");
    }

    #[test]
    fn a_round_that_was_laid_down_has_no_say() {
        let demand = Arc::new(Demand::new(9));
        let _here = demand.join(ids(&["a"])).unwrap();
        let coin = ids(&["a"]).remove(0);
        assert_eq!(demand.take_new(1).len(), 1);
        demand.lay_down();
        assert!(demand.settle(1, coin.clone(), None).is_none());
        assert_eq!(demand.take_new(2), [coin], "whoever feeds next fetches it at once");
    }
}
