//! Looking keys up: what is kept is answered, what is under way is joined, and the rest is one load.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::timeout_at;

use super::{
    Cache, CacheError, CacheKey, CacheValue, Core, LoadLost, Loaded, Lookup,
    entry::Entry,
    flights::{Departure, Flight, Outcome},
};
use crate::model::{Instant, Timestamp};

/// One answer per key asked for.
pub type Answers<K, V, E> = HashMap<K, Result<Lookup<V>, E>>;

/// How a caller depends on a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// There is no answer without it.
    Needed,
    /// There is a stale answer, should it take longer than the soft timeout.
    Preferred,
    /// The caller has its answer; the load is for those who come later.
    Background,
}

/// A key whose load a caller waits for.
struct Waiting<K, V, E> {
    key: K,
    patience: Patience,
    joined: bool,
    flight: Flight<K, V, E>,
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Cache<K, V, E> {
    /// Looks `keys` up. `load` is called at most once, with the keys that are neither kept nor being loaded already.
    /// It runs in its own task: dropping this future does not stop it.
    ///
    /// A key that `load` leaves out of its reply gets [`LoadLost::Unanswered`]. Errors are not kept; while a stale
    /// value may still be served, it is the answer instead of an error.
    pub async fn get_many<F, Fut>(&self, keys: &[K], load: F) -> Answers<K, V, E>
    where
        F: FnOnce(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = HashMap<K, Result<Loaded<V>, E>>> + Send + 'static,
    {
        let core = &self.0;
        let mut answers = HashMap::with_capacity(keys.len());
        let wanted = core.consult(keys, &mut answers);
        if wanted.is_empty() {
            return answers;
        }
        let boarding = core.board(wanted, &mut answers, Joining::Any);
        let Some(departure) = boarding.departure else {
            // All were joined, so `load` is still at hand for those that a tag has revoked since they began.
            let outdated = core.settle(boarding.waits, &mut answers, Verify::Tags).await;
            if !outdated.is_empty() {
                let boarding = core.board(outdated, &mut answers, Joining::Untouched);
                if let Some(departure) = boarding.departure {
                    core.depart(departure, load);
                }
                core.settle(boarding.waits, &mut answers, Verify::Nothing).await;
            }
            return answers;
        };
        core.depart(departure, load);
        core.settle(boarding.waits, &mut answers, Verify::Nothing).await;
        answers
    }

    /// Looks one key up; see [`get_many`](Self::get_many).
    pub async fn get<F, Fut>(&self, key: &K, load: F) -> Result<Lookup<V>, E>
    where
        F: FnOnce(K) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<V>, E>> + Send + 'static,
    {
        let asked = key.clone();
        let load_one = move |_| async move { HashMap::from([(asked.clone(), load(asked).await)]) };
        let mut answers = self.get_many(std::slice::from_ref(key), load_one).await;
        answers.remove(key).unwrap_or_else(|| Err(LoadLost::Unanswered.into()))
    }
}

/// Which loads under way a caller may share.
///
/// The tags of a load are known only when it lands. One that began before some tag was invalidated may turn out to
/// be revoked, and then the caller needs a load of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// Any, if all keys can be joined; else only untouched ones, because this caller's one load departs now.
    Any,
    /// Only those that began after the last invalidation of any tag.
    Untouched,
}

/// What a landed load is checked for before it is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    /// That none of its tags was invalidated since it began.
    Tags,
    /// Nothing: it was current when the caller boarded.
    Nothing,
}

/// Where a caller's keys went.
struct Boarding<K, V, E> {
    waits: Vec<Waiting<K, V, E>>,
    departure: Option<Departure<K, V, E>>,
}

impl<K: CacheKey, V: CacheValue, E: CacheError> Core<K, V, E> {
    /// Answers what is kept; the rest is what a load must bring.
    fn consult(&self, keys: &[K], answers: &mut Answers<K, V, E>) -> Vec<(K, Patience)> {
        let now = self.clock.now();
        let mut wanted = Vec::new();
        for key in keys {
            let Some(entry) = self.usable(key, now) else {
                wanted.push((key.clone(), Patience::Needed));
                continue;
            };
            let fresh = self.is_fresh(&entry, now);
            if !fresh && entry.may_retry(now) {
                wanted.push((key.clone(), Patience::Preferred));
                continue;
            }
            if fresh && entry.may_retry(now) && self.refresh_is_due(&entry, now) {
                wanted.push((key.clone(), Patience::Background));
            }
            let lookup = entry.lookup(fresh);
            self.meters.answered(&lookup);
            answers.insert(key.clone(), Ok(lookup));
        }
        wanted
    }

    /// `XFetch`: the closer the end and the longer the load, the likelier a refresh ahead of time.
    fn refresh_is_due(&self, entry: &Entry<V>, now: Timestamp) -> bool {
        /// `-ln(u)` is beyond this once in nine million draws: earlier than that, no number needs to be drawn.
        const FARTHEST: f64 = 16.0;
        let left = (entry.fresh_until - now).to_std().unwrap_or(Duration::ZERO).as_secs_f64();
        let scale = entry.load_took.as_secs_f64() * self.settings.early_refresh_beta;
        left < scale * FARTHEST && left <= -scale * (1.0 - self.chance.fraction()).ln()
    }

    /// Waits for the loads; returns the keys whose load turned out to be revoked by a tag.
    async fn settle(
        &self,
        mut waits: Vec<Waiting<K, V, E>>,
        answers: &mut Answers<K, V, E>,
        verify: Verify,
    ) -> Vec<(K, Patience)> {
        let soft_deadline = self.settings.soft_timeout.map(|patience| self.clock.instant() + patience);
        // Keys without any answer first: the others' soft deadline passes meanwhile, and they take what has landed.
        waits.sort_by_key(|wait| wait.patience != Patience::Needed);
        let mut outdated = Vec::new();
        for mut wait in waits {
            let outcome = self.await_outcome(&mut wait, soft_deadline).await;
            if verify == Verify::Tags && matches!(&outcome, Some(Ok(entry)) if !self.is_current(entry)) {
                outdated.push((wait.key, Patience::Needed));
                continue;
            }
            let answer = self.answer(&wait, outcome);
            answers.insert(wait.key, answer);
        }
        outdated
    }

    /// What the load brought; `None` if the soft deadline came first.
    async fn await_outcome(&self, wait: &mut Waiting<K, V, E>, deadline: Option<Instant>) -> Option<Outcome<V, E>> {
        let Waiting { key, flight, .. } = wait;
        if let Some(deadline) = deadline {
            match timeout_at(deadline, flight.outcome(key)).await {
                Ok(outcome) => return Some(outcome),
                // Only what is kept now may be served: the value seen on arrival may have been removed since, and one
                // from the shared tier may have come.
                Err(_elapsed) if self.usable(key, self.clock.now()).is_some() => return None,
                Err(_elapsed) => {}
            }
        }
        Some(flight.outcome(key).await)
    }

    fn answer(&self, wait: &Waiting<K, V, E>, outcome: Option<Outcome<V, E>>) -> Result<Lookup<V>, E> {
        let now = self.clock.now();
        let error = match outcome {
            Some(Ok(entry)) => {
                self.meters.waited(wait.joined);
                return Ok(entry.lookup(self.is_fresh(&entry, now)));
            }
            Some(Err(error)) => error,
            None => LoadLost::TimedOut.into(),
        };
        self.kept_or(&wait.key, error, now)
    }

    /// What is kept about `key`, stale or not, or else the error.
    fn kept_or(&self, key: &K, error: E, now: Timestamp) -> Result<Lookup<V>, E> {
        let Some(entry) = self.usable(key, now) else { return Err(error) };
        let lookup = entry.lookup(self.is_fresh(&entry, now));
        self.meters.answered(&lookup);
        Ok(lookup)
    }

    /// Finds every wanted key a place: on a load under way, or together on one new load.
    fn board(
        &self,
        mut wanted: Vec<(K, Patience)>,
        answers: &mut Answers<K, V, E>,
        joining: Joining,
    ) -> Boarding<K, V, E> {
        let now = self.clock.now();
        let mut flights = self.flights.0.lock();
        wanted.retain(|(key, patience)| {
            let landed = self.landed_meanwhile(key, *patience, now);
            if let Some(entry) = &landed {
                let lookup = entry.lookup(true);
                self.meters.answered(&lookup);
                answers.insert(key.clone(), Ok(lookup));
            }
            landed.is_none()
        });
        let find = |flights: &HashMap<K, Flight<K, V, E>>, key: &K, joining| {
            flights.get(key).filter(|flight| self.may_join(key, flight, joining, now)).cloned()
        };
        let joins_all = wanted.iter().all(|(key, _)| find(&flights, key, joining).is_some());
        let joining = if joins_all { joining } else { Joining::Untouched };
        let mut departure = None;
        let mut waits = Vec::with_capacity(wanted.len());
        for (key, patience) in wanted {
            let joined = find(&flights, &key, joining);
            let is_joined = joined.is_some();
            let flight = joined.or_else(|| {
                let departure = self.departure(&mut departure)?;
                departure.keys.push(key.clone());
                flights.insert(key.clone(), departure.flight());
                Some(departure.flight())
            });
            match flight {
                _ if patience == Patience::Background => {}
                Some(flight) => waits.push(Waiting { key, patience, joined: is_joined, flight }),
                None => {
                    let answer = self.kept_or(&key, LoadLost::Saturated.into(), now);
                    answers.insert(key, answer);
                }
            }
        }
        Boarding { waits, departure }
    }

    /// A load under way may be shared unless it was revoked before the caller came, or may have been on another node, or
    /// was abandoned.
    fn may_join(&self, key: &K, flight: &Flight<K, V, E>, joining: Joining, now: Timestamp) -> bool {
        flight.is_alive()
            && self.tags.shared().mirror.vouches(flight.begun_at, now)
            && !self.key_revoked(key, flight.began)
            && (joining == Joining::Any || !self.tags.revocations().any_tag_revoked(flight.began))
    }

    /// The answer of a load that landed between looking and boarding.
    fn landed_meanwhile(&self, key: &K, patience: Patience, now: Timestamp) -> Option<Arc<Entry<V>>> {
        self.usable(key, now).filter(|entry| patience != Patience::Background && self.is_fresh(entry, now))
    }

    /// The one new load of this call, opened on first need; `None` when too many are under way.
    fn departure<'d>(&self, departure: &'d mut Option<Departure<K, V, E>>) -> Option<&'d mut Departure<K, V, E>> {
        if departure.is_none() {
            let permit = self.loads.clone().try_acquire_owned().ok()?;
            *departure = Some(Departure::new(self.begin(), permit));
        }
        departure.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{CacheSettings, Tags},
        config::CacheConfig,
        model::{Chance, Clock},
    };

    #[derive(Debug, Clone, PartialEq)]
    struct Number;

    impl CacheValue for Number {
        fn weight(&self) -> u32 {
            0
        }
    }

    /// Between looking and boarding there is no await, so only another thread can land a load there; the test
    /// boards by hand instead of hoping for one.
    #[tokio::test(start_paused = true)]
    async fn a_load_that_lands_before_boarding_is_not_repeated() {
        let settings = CacheSettings::from(&CacheConfig::defaults());
        let clock = Clock::stepped_from(Timestamp::UNIX_EPOCH);
        let cache: Cache<u32, Number, LoadLost> =
            Cache::new("numbers", settings, &Tags::new(), clock, Chance::seeded(1));
        let mut answers = HashMap::new();
        let wanted = cache.0.consult(&[1, 2], &mut answers);
        assert!(answers.is_empty());
        cache.put(cache.begin(), &1, Loaded::found(Number, Duration::from_secs(9), Duration::ZERO)).await;
        let boarding = cache.0.board(wanted, &mut answers, Joining::Any);
        assert_eq!(boarding.departure.map(|departure| departure.keys), Some(vec![2]));
        assert!(matches!(answers.get(&1), Some(Ok(Lookup::Found(hit))) if hit.value == Number));
    }
}
