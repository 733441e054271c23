//! From an API key to a principal.
//!
//! What the database says of a key is remembered for five seconds, so that a busy key is looked up now and then and counts
//! while the database is briefly away. Whatever was read before a key was revoked on this node is not believed any more.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use moka::future::Cache;

use super::{ApiKey, store};
use crate::{
    auth::{
        AuthError,
        attempts::{Attempts, TooMany},
    },
    model::{Clock, Instant, Principal, Timestamp},
    store::Database,
};

/// For how long a key that another node has revoked may still count here.
const REMEMBERED: Duration = Duration::from_secs(5);
const MOST_REMEMBERED: u64 = 10_000;

/// Where keys are looked up.
enum Source {
    /// There are none.
    Nowhere,
    /// In the log's table.
    Log { log: Database, attempts: Attempts },
}

/// All keys there are, as far as whoever shows one can tell. Clones share everything.
#[derive(Clone)]
pub(in crate::auth) struct KeyRing(Arc<Shared>);

struct Shared {
    source: Source,
    clock: Clock,
    known: Cache<String, Known>,
    /// Grows with every key that is revoked on this node.
    revoked: AtomicU64,
}

#[derive(Clone)]
struct Known {
    key: Arc<store::Kept>,
    read_at: Instant,
    /// How many keys had been revoked here when this was about to be read.
    revoked: u64,
}

impl KeyRing {
    /// Without a database no key is known.
    pub(in crate::auth) fn empty(clock: Clock) -> Self {
        Self::of(Source::Nowhere, clock)
    }

    pub(super) fn new(log: Database, attempts: Attempts, clock: Clock) -> Self {
        Self::of(Source::Log { log, attempts }, clock)
    }

    fn of(source: Source, clock: Clock) -> Self {
        let shared = Shared { source, clock, known: Cache::new(MOST_REMEMBERED), revoked: AtomicU64::new(0) };
        Self(Arc::new(shared))
    }

    /// A key has been revoked, and that has been committed.
    pub(super) fn forget(&self) {
        self.0.revoked.fetch_add(1, Ordering::SeqCst);
    }

    /// The principal behind a key that was shown from `address`.
    pub(in crate::auth) async fn principal(&self, text: &str, address: IpAddr) -> Result<Principal, AuthError> {
        let key = ApiKey::parse(text).map_err(|_| AuthError::MalformedApiKey)?;
        let Source::Log { log, attempts } = &self.0.source else { return Err(AuthError::UnknownApiKey) };
        let mut found = self.remembered(key.id()).await;
        if found.is_none() {
            attempts.may_show_key(address).await.map_err(too_many)?;
            found = self.read(log, key.id()).await?;
        }
        let Some(kept) = found.filter(|kept| key.digest().matches(&kept.digest)) else {
            attempts.bad_key(address).await.map_err(too_many)?;
            return Err(AuthError::UnknownApiKey);
        };
        kept.principal(self.0.clock.now())
    }

    async fn remembered(&self, id: &str) -> Option<Arc<store::Kept>> {
        let Shared { clock, known, revoked, .. } = &*self.0;
        let known = known.get(id).await?;
        let is_young = clock.instant().saturating_duration_since(known.read_at) < REMEMBERED;
        let holds = is_young && known.revoked == revoked.load(Ordering::SeqCst);
        holds.then(|| {
            looked_up("remembered");
            known.key
        })
    }

    async fn read(&self, log: &Database, id: &str) -> Result<Option<Arc<store::Kept>>, AuthError> {
        let Shared { clock, known, revoked, .. } = &*self.0;
        let (read_at, revoked) = (clock.instant(), revoked.load(Ordering::SeqCst));
        let found = log.within(store::kept(log, id)).await.map_err(|error| {
            looked_up("failed");
            tracing::debug!(%error, "an API key cannot be looked up");
            AuthError::ApiKeysUnavailable
        })?;
        looked_up(if found.is_some() { "found" } else { "unknown" });
        let Some(key) = found.map(Arc::new) else { return Ok(None) };
        known.insert(id.to_owned(), Known { key: Arc::clone(&key), read_at, revoked }).await;
        Ok(Some(key))
    }
}

impl store::Kept {
    fn principal(&self, now: Timestamp) -> Result<Principal, AuthError> {
        if self.revoked_at.is_some() {
            return Err(AuthError::RevokedApiKey);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(AuthError::ExpiredApiKey);
        }
        Ok(Principal { subject: self.subject.as_str().into(), role: self.role, expires_at: self.expires_at })
    }
}

fn too_many(TooMany { retry_after }: TooMany) -> AuthError {
    AuthError::TooManyApiKeys { retry_after }
}

fn looked_up(outcome: &'static str) {
    counter!("tidegate_auth_api_key_lookups_total", "outcome" => outcome).increment(1);
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("remembered", &self.0.known.entry_count()).finish_non_exhaustive()
    }
}
