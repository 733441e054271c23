//! Loads under way: one per key, spawned so that no caller's cancellation ends it, always landing.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::Instrument;

use super::{
    CacheError, CacheKey, CacheValue, Core, LoadLost, Loaded, Ticket,
    crossing::Fetched,
    entry::{Entry, later},
    revocations::Moment,
};
use crate::model::Timestamp;

/// What a load left for one key.
pub(super) type Outcome<V, E> = Result<Arc<Entry<V>>, E>;

/// What other nodes had loaded already.
type Found<K, V> = HashMap<K, Arc<Entry<V>>>;

/// What a loader said about the keys.
type Reply<K, V, E> = Result<HashMap<K, Result<Loaded<V>, E>>, LoadLost>;

type Landing<K, V, E> = Option<Arc<HashMap<K, Outcome<V, E>>>>;

/// The loads under way, by key.
pub(super) struct Flights<K, V, E>(pub(super) Mutex<HashMap<K, Flight<K, V, E>>>);

impl<K, V, E> Flights<K, V, E> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

/// A caller's place on a load under way.
pub(super) struct Flight<K, V, E> {
    pub(super) began: Moment,
    pub(super) begun_at: Timestamp,
    landing: watch::Receiver<Landing<K, V, E>>,
}

impl<K, V, E> Clone for Flight<K, V, E> {
    fn clone(&self) -> Self {
        Self { began: self.began, begun_at: self.begun_at, landing: self.landing.clone() }
    }
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Flight<K, V, E> {
    /// Waits until the load has landed.
    pub(super) async fn outcome(&mut self, key: &K) -> Outcome<V, E> {
        let landing = self.landing.wait_for(Option::is_some).await.map_err(|_| LoadLost::Interrupted)?;
        landing.as_ref().and_then(|landed| landed.get(key)).cloned().unwrap_or_else(|| Err(LoadLost::Unanswered.into()))
    }

    /// Whether the load's task is still there to land it.
    pub(super) fn is_alive(&self) -> bool {
        self.landing.has_changed().is_ok()
    }
}

/// A load about to begin.
pub(super) struct Departure<K, V, E> {
    pub(super) ticket: Ticket,
    pub(super) keys: Vec<K>,
    landing: watch::Sender<Landing<K, V, E>>,
    permit: OwnedSemaphorePermit,
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Departure<K, V, E> {
    pub(super) fn new(ticket: Ticket, permit: OwnedSemaphorePermit) -> Self {
        Self { ticket, keys: Vec::new(), landing: watch::Sender::new(None), permit }
    }

    pub(super) fn flight(&self) -> Flight<K, V, E> {
        Flight { began: self.ticket.moment, begun_at: self.ticket.begun_at, landing: self.landing.subscribe() }
    }
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Core<K, V, E> {
    /// Runs the load in a task of its own.
    pub(super) fn depart<F, Fut>(self: &Arc<Self>, departure: Departure<K, V, E>, load: F)
    where
        F: FnOnce(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = HashMap<K, Result<Loaded<V>, E>>> + Send + 'static,
    {
        let core = self.clone();
        let flight = async move {
            let ticket = departure.ticket;
            let Fetched { found, claimed } = core.fetch(&ticket, &departure.keys).await;
            let keys: Vec<K> = departure.keys.iter().filter(|key| !found.contains_key(key)).cloned().collect();
            let load = async move { load(keys).await };
            let reply = if found.len() == departure.keys.len() { Ok(HashMap::new()) } else { core.run(load).await };
            let loaded = core.land(departure, found, reply);
            // The callers have their answers; what follows is for the other nodes.
            core.publish(&ticket, loaded).await;
            core.release(claimed).await;
        };
        tokio::spawn(flight.in_current_span());
    }

    /// Drives a load to its end, its deadline or its panic.
    async fn run<R>(&self, load: impl Future<Output = R>) -> Result<R, LoadLost> {
        let load = AssertUnwindSafe(load).catch_unwind();
        let reply = match tokio::time::timeout(self.settings.load_timeout, load).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_panic)) => Err(LoadLost::Interrupted),
            Err(_elapsed) => Err(LoadLost::TimedOut),
        };
        if let Err(lost) = &reply {
            tracing::error!(cache = self.name, error = %lost, "cache load lost");
        }
        reply
    }

    /// Keeps what came, then opens the keys for new flights, then tells the callers: in this order nobody who looks
    /// in between starts a second load. Returns what was loaded.
    fn land(
        &self,
        departure: Departure<K, V, E>,
        found: Found<K, V>,
        reply: Reply<K, V, E>,
    ) -> Vec<(K, Arc<Entry<V>>)> {
        let Departure { ticket, keys, landing, permit } = departure;
        let (mut replies, lost) = match reply {
            Ok(replies) => (replies, LoadLost::Unanswered),
            Err(lost) => (HashMap::new(), lost),
        };
        let mut landed = HashMap::with_capacity(keys.len());
        let mut loaded_here = Vec::new();
        for (key, entry) in found {
            self.tier.keep(&key, &entry, self.tags.revocations());
            landed.insert(key, Ok(entry));
        }
        for key in keys {
            if landed.contains_key(&key) {
                continue;
            }
            let outcome = match replies.remove(&key).unwrap_or_else(|| Err(lost.into())) {
                Ok(loaded) => Ok(self.keep(ticket, &key, loaded)),
                Err(error) => {
                    self.put_off(&key);
                    Err(error)
                }
            };
            self.meters.loaded(outcome.as_ref().ok().map(|entry| entry.value.is_some()));
            loaded_here.extend(outcome.iter().map(|entry| (key.clone(), Arc::clone(entry))));
            landed.insert(key, outcome);
        }
        let mut flights = self.flights.0.lock();
        for key in landed.keys() {
            if flights.get(key).is_some_and(|flight| flight.began == ticket.moment) {
                flights.remove(key);
            }
        }
        drop(flights);
        drop(permit);
        landing.send_replace(Some(Arc::new(landed)));
        loaded_here
    }

    /// After a failed load: leaves the upstream alone for a while if there is something to answer with meanwhile.
    fn put_off(&self, key: &K) {
        let now = self.clock.now();
        if let Some(entry) = self.usable(key, now) {
            entry.retry_at(later(now, self.settings.retry_after_error));
        }
    }
}
