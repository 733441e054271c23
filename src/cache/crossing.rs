//! What passes between this process and the shared tier: entries that others have loaded, and those loaded here.
//!
//! A flight first looks there for its keys, and writes there what it has loaded, after its callers were told. What cannot
//! be read, reached or trusted is a miss. A claim keeps two nodes from loading one key at the same time, where they can
//! agree on that in time; it is never waited for longer than `cache.shared_flight_ms`.

use std::{collections::HashMap, future::ready, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::{
    CacheKey, CacheValue, Core, Ticket,
    entry::Entry,
    shared::{Content, Envelope},
    slots::Slot,
};
use crate::store::RedisError;

/// Commands of one batch that are under way at once.
const COMMANDS_AT_ONCE: usize = 16;
/// How often another node's load is looked for.
const POLL: Duration = Duration::from_millis(25);

/// Keys with what they are called in the shared tier.
pub(super) type Named<K> = Vec<(K, String)>;

/// What a flight learns from the shared tier before it loads.
pub(super) struct Fetched<K, V> {
    /// Fresh answers that others have loaded.
    pub(super) found: HashMap<K, Arc<Entry<V>>>,
    /// Names whose load this node has claimed.
    pub(super) claimed: Vec<String>,
}

impl<K, V> Default for Fetched<K, V> {
    fn default() -> Self {
        Self { found: HashMap::new(), claimed: Vec::new() }
    }
}

impl<K: CacheKey, V: CacheValue, E> Core<K, V, E> {
    /// Whether this cache has others to share with.
    fn has_others(&self) -> bool {
        self.settings.shared && V::SCHEMA.is_some() && !self.tags.shared().remote.is_none()
    }

    /// Whether values of this cache may travel now.
    pub(super) fn is_shared(&self) -> bool {
        self.has_others() && self.tags.shared().mirror.is_live()
    }

    /// The same for somebody who would read or write now; counts what is not done because this node is blind.
    fn may_cross(&self) -> bool {
        let may = self.is_shared();
        if !may && self.has_others() {
            self.meters.shared.skipped();
        }
        may
    }

    /// What the shared tier has of these keys, or will have when another node's load is over.
    pub(super) async fn fetch(&self, ticket: &Ticket, keys: &[K]) -> Fetched<K, V> {
        let mut fetched = Fetched::default();
        if !self.may_cross() {
            return fetched;
        }
        let mut missing = keys.iter().map(|key| (key.clone(), self.shared_name(key))).collect();
        let answered = self.look(ticket, &mut missing, &mut fetched.found).await;
        // Whoever does not answer a question is not asked another one.
        if !answered || missing.is_empty() || self.settings.shared_flight.is_zero() {
            return fetched;
        }
        let names = names(&missing);
        let claims = self.tags.shared().remote.claim(&names, self.settings.shared_flight).await;
        let is_ours = |claim: &Result<bool, RedisError>| matches!(claim, Ok(true));
        let unknown = claims.iter().any(Result::is_err);
        fetched.claimed =
            names.into_iter().zip(&claims).filter(|(_, claim)| is_ours(claim)).map(|(name, _)| name).collect();
        // One load brings all that is missing, so it goes at once unless others bring every part of it.
        if fetched.claimed.is_empty() && !unknown {
            self.await_others(ticket, &mut missing, &mut fetched.found).await;
        }
        fetched
    }

    /// Waits while other nodes load what is missing, but not for ever.
    async fn await_others(&self, ticket: &Ticket, missing: &mut Named<K>, found: &mut HashMap<K, Arc<Entry<V>>>) {
        let deadline = self.clock.instant() + self.settings.shared_flight;
        while !missing.is_empty() && self.clock.instant() < deadline {
            sleep(POLL).await;
            // In this order: a claim that is gone was given up after its value was there to be seen.
            let claims = self.tags.shared().remote.is_claimed(&names(missing)).await;
            let answered = self.look(ticket, missing, found).await;
            if !answered || !claims.iter().any(|claim| matches!(claim, Ok(true))) {
                return;
            }
        }
    }

    /// Moves what the shared tier has, and is fresh, from the missing to the found. False when it did not answer.
    async fn look(&self, ticket: &Ticket, missing: &mut Named<K>, found: &mut HashMap<K, Arc<Entry<V>>>) -> bool {
        let answers = self.tags.shared().remote.read(&names(missing)).await;
        let answered = answers.iter().all(Result::is_ok);
        let mut unreadable = Vec::new();
        for ((key, name), answer) in std::mem::take(missing).into_iter().zip(answers) {
            match self.take_in(ticket, &key, &name, answer, &mut unreadable) {
                Some(entry) => {
                    found.insert(key, entry);
                }
                None => missing.push((key, name)),
            }
        }
        // All at once: where versions run side by side there may be many, and callers wait.
        self.tags.shared().remote.discard(unreadable).await;
        answered
    }

    /// The fresh entry in an answer. A stale one is kept for the time until the load has landed.
    fn take_in(
        &self,
        ticket: &Ticket,
        key: &K,
        name: &str,
        answer: Result<Option<Vec<u8>>, RedisError>,
        unreadable: &mut Vec<String>,
    ) -> Option<Arc<Entry<V>>> {
        let meters = &self.meters.shared;
        let bytes = match answer {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return meters.missed(),
            Err(_) => return meters.failed_read(),
        };
        let Some((envelope, value)) = open(&bytes) else {
            unreadable.push(name.to_owned());
            return meters.missed();
        };
        if envelope.content == Content::Tombstone {
            return meters.missed();
        }
        let slots: Box<[Slot]> = self.own_slots(key).into_iter().chain(envelope.tags.iter().copied()).collect();
        if !self.tags.shared().accepts(envelope.stamp, &slots) {
            return meters.found_dead();
        }
        let entry = Arc::new(Entry::from_elsewhere(ticket, &envelope, value, slots));
        let now = self.clock.now();
        // Whatever the others share is news where the value at hand is known to be superseded.
        let is_known = self
            .usable(key, now)
            .is_some_and(|present| present.created_at >= entry.created_at && !self.is_superseded(&present));
        if is_known || now >= entry.stale_until {
            return meters.missed();
        }
        meters.hit();
        if entry.is_fresh(now) {
            return Some(entry);
        }
        self.tier.keep(key, &entry, self.tags.revocations());
        None
    }

    /// Writes what was loaded to the shared tier, as far as it may be believed there.
    pub(super) async fn publish(&self, ticket: &Ticket, loaded: Vec<(K, Arc<Entry<V>>)>) {
        if loaded.is_empty() || !self.may_cross() {
            return;
        }
        let Ok(_permit) = self.tags.shared().writes.try_acquire() else {
            return self.meters.shared.skipped();
        };
        let mut writes = Vec::with_capacity(loaded.len());
        for (key, entry) in &loaded {
            writes.push(self.write(ticket, key, entry));
        }
        stream::iter(writes).buffer_unordered(COMMANDS_AT_ONCE).collect::<()>().await;
    }

    async fn write(&self, ticket: &Ticket, key: &K, entry: &Entry<V>) {
        let lifetime = (entry.stale_until - self.clock.now()).to_std().unwrap_or_default();
        let sealed = ticket.stamp.filter(|_| !lifetime.is_zero() && self.is_current(entry)).and_then(|stamp| {
            let schema = V::SCHEMA?;
            let content = entry.value.as_ref().map_or(Content::Missing, |value| Content::Value(value.encode()));
            entry.envelope(stamp, content).seal(schema)
        });
        let Some(sealed) = sealed else { return self.meters.shared.skipped() };
        let outcome = self.tags.shared().remote.put(&self.shared_name(key), &sealed, lifetime).await;
        self.meters.shared.wrote(&outcome);
    }

    /// Gives up the claims of a flight that is over.
    pub(super) async fn release(&self, claimed: Vec<String>) {
        let mut releases = Vec::with_capacity(claimed.len());
        for name in &claimed {
            releases.push(self.tags.shared().remote.release(name));
        }
        // A claim that is not given up ends by itself soon.
        stream::iter(releases).buffer_unordered(COMMANDS_AT_ONCE).for_each(|_released| ready(())).await;
    }

    fn shared_name(&self, key: &K) -> String {
        self.tags.shared().remote.name(self.name, &key.shared_name())
    }
}

fn names<K>(named: &Named<K>) -> Vec<String> {
    named.iter().map(|(_, name)| name.clone()).collect()
}

/// The envelope and its value, which is `None` where there is none; nothing at all for what cannot be read.
fn open<V: CacheValue>(bytes: &[u8]) -> Option<(Envelope, Option<V>)> {
    let envelope = Envelope::open(bytes, V::SCHEMA?)?;
    let value = match &envelope.content {
        Content::Value(bytes) => Some(V::decode(bytes)?),
        Content::Missing | Content::Tombstone => None,
    };
    Some((envelope, value))
}
