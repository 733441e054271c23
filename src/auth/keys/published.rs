//! An issuer's published keys, fetched when needed and kept for a while.
//!
//! Fresh keys are used as they are. Older ones are fetched again first, by one caller for all; if that fails or hangs
//! they stay in use until they are too old. A key id that nobody knows may mean that the issuer has rotated its keys, so it
//! causes a fetch too, but only one per pause, whatever strangers send.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use jsonwebtoken::Algorithm;
use metrics::{counter, gauge};
use parking_lot::RwLock;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout_at,
};
use tracing::{debug, warn};
use url::Url;

use super::KeySet;
use crate::{
    auth::AuthError,
    config::{AuthConfig, KeyAlgorithm},
    model::{Clock, Instant},
    resilience::{CallError, CallKind, CallPolicy, Outbound, Upstreams},
};

/// Larger documents are refused; real ones have a few kilobytes.
const LARGEST_DOCUMENT_BYTES: usize = 256 * 1_024;

/// How long a fetch is waited for by callers with usable keys at hand, so that an issuer that hangs holds nobody up.
const PATIENCE_WITH_USABLE_KEYS: Duration = Duration::from_millis(500);

/// How long nobody asks again after a failed fetch, so that an outage is not answered with a storm.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// An issuer's published keys.
#[derive(Debug)]
pub(in crate::auth) struct PublishedKeys {
    url: Url,
    accepted: Vec<Algorithm>,
    fresh_for: Duration,
    usable_for: Duration,
    pause_for_unknown_keys: Duration,
    clock: Clock,
    outbound: Outbound,
    policy: CallPolicy,
    held: RwLock<Option<Held>>,
    /// Held by whoever fetches; its value is the last fetch that ended.
    flight: Arc<Mutex<Option<Ended>>>,
    /// When the fetch under way began.
    asking_since: RwLock<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<KeySet>,
    /// When the fetch began, because the keys are as of then at the earliest.
    as_of: Instant,
}

/// How the last fetch went.
#[derive(Debug, Clone)]
struct Ended {
    at: Instant,
    outcome: Result<(), CallError>,
}

impl PublishedKeys {
    pub(super) fn new(
        url: Url,
        config: &AuthConfig,
        clock: Clock,
        upstreams: &Upstreams,
        outbound: Outbound,
    ) -> Arc<Self> {
        let fresh_for = Duration::from_secs(config.jwks_refresh_seconds);
        Arc::new(Self {
            url,
            accepted: config.algorithms.iter().copied().map(algorithm).collect(),
            fresh_for,
            usable_for: fresh_for + Duration::from_secs(config.jwks_stale_seconds),
            pause_for_unknown_keys: Duration::from_secs(config.jwks_min_refresh_seconds),
            clock,
            outbound,
            policy: upstreams.register("jwks", upstreams.defaults()),
            held: RwLock::new(None),
            flight: Arc::default(),
            asking_since: RwLock::new(None),
        })
    }

    pub(super) fn accepts(&self, algorithm: Algorithm) -> bool {
        self.accepted.contains(&algorithm)
    }

    /// The keys that count now.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, AuthError> {
        if let Some(keys) = self.younger_than(self.fresh_for) {
            return Ok(keys);
        }
        let outcome = match self.younger_than(self.usable_for) {
            None => self.refresh().await,
            Some(usable) => match timeout_at(self.patience_ends(), self.refresh()).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => return Ok(usable),
            },
        };
        self.younger_than(self.usable_for).ok_or_else(|| AuthError::KeysUnavailable {
            retry_after: Some(outcome.err().and_then(|error| error.retry_after()).unwrap_or(PAUSE_AFTER_FAILURE)),
        })
    }

    /// Asks the issuer, or shares what others were told meanwhile.
    async fn refresh(self: &Arc<Self>) -> Result<(), CallError> {
        let asked_at = self.clock.instant();
        let flight = Arc::clone(&self.flight).lock_owned().await;
        let ended = flight.clone();
        // Others may have fetched while this caller waited for its turn, well or not: that answer is shared.
        let just_tried = ended.as_ref().is_some_and(|ended| ended.at >= asked_at || self.pauses_after(ended));
        match ended {
            _ if self.younger_than(self.fresh_for).is_some() => Ok(()),
            Some(ended) if just_tried => ended.outcome,
            _ => self.fetch(flight).await,
        }
    }

    /// Counted from the start of the fetch: whoever comes late to one that hangs does not wait again.
    fn patience_ends(&self) -> Instant {
        self.asking_since.read().unwrap_or_else(|| self.clock.instant()) + PATIENCE_WITH_USABLE_KEYS
    }

    /// The keys that count once the issuer was asked for a key that `lacking` does not have.
    pub(super) async fn beyond(self: &Arc<Self>, lacking: Arc<KeySet>) -> Result<Arc<KeySet>, AuthError> {
        let flight = Arc::clone(&self.flight).lock_owned().await;
        let keys = self.current_or(&lacking);
        let paused = flight.as_ref().is_some_and(|ended| self.since(ended.at) < self.pause_for_unknown_keys);
        if keys.version != lacking.version || paused {
            return Ok(keys);
        }
        // A failure is not this token's fault, but without the fetch its key is unknown all the same.
        let _ = self.fetch(flight).await;
        Ok(self.current_or(&lacking))
    }

    /// Fetches in a task of its own: a caller that goes away must not make the next one begin again.
    async fn fetch(self: &Arc<Self>, mut flight: OwnedMutexGuard<Option<Ended>>) -> Result<(), CallError> {
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            *this.asking_since.write() = Some(this.clock.instant());
            let outcome = this.fetch_once().await;
            *this.asking_since.write() = None;
            *flight = Some(Ended { at: this.clock.instant(), outcome: outcome.clone() });
            outcome
        });
        task.await.unwrap_or_else(|_| Err(CallError::Upstream { status: None, detail: "the fetch broke off".into() }))
    }

    async fn fetch_once(&self) -> Result<(), CallError> {
        let as_of = self.clock.instant();
        let fetched = self.policy.call(CallKind::Idempotent, || self.download()).await;
        match fetched {
            Ok(keys) => {
                counter!("tidegate_auth_key_fetches_total", "outcome" => "success").increment(1);
                #[expect(clippy::cast_precision_loss, reason = "there are at most 64 keys")]
                gauge!("tidegate_auth_keys").set(keys.len() as f64);
                debug!(keys = keys.len(), "token keys fetched");
                *self.held.write() = Some(Held { keys: Arc::new(keys), as_of });
                Ok(())
            }
            Err(error) => {
                counter!("tidegate_auth_key_fetches_total", "outcome" => "failure").increment(1);
                warn!(upstream.name = "jwks", %error, "token keys could not be fetched");
                Err(error)
            }
        }
    }

    async fn download(&self) -> Result<KeySet, CallError> {
        let reply = self.outbound.get(self.url.clone(), HeaderMap::new()).await?;
        let unreadable = |detail: &str| CallError::Decode { detail: detail.into() };
        if reply.body.len() > LARGEST_DOCUMENT_BYTES {
            return Err(unreadable("the key document is too large"));
        }
        let version = self.held.read().as_ref().map_or(0, |held| held.keys.version) + 1;
        KeySet::of_jwks(&reply.body, version, &self.accepted).ok_or_else(|| unreadable("no usable key in the document"))
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<KeySet>> {
        let held = self.held.read();
        held.as_ref().filter(|held| self.since(held.as_of) < age).map(|held| Arc::clone(&held.keys))
    }

    fn current_or(&self, otherwise: &Arc<KeySet>) -> Arc<KeySet> {
        Arc::clone(self.held.read().as_ref().map_or(otherwise, |held| &held.keys))
    }

    fn pauses_after(&self, ended: &Ended) -> bool {
        ended.outcome.is_err() && self.since(ended.at) < PAUSE_AFTER_FAILURE
    }

    fn since(&self, past: Instant) -> Duration {
        self.clock.instant().saturating_duration_since(past)
    }
}

fn algorithm(configured: KeyAlgorithm) -> Algorithm {
    match configured {
        KeyAlgorithm::Rs256 => Algorithm::RS256,
        KeyAlgorithm::Es256 => Algorithm::ES256,
    }
}
