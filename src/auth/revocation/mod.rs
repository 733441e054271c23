//! Tokens that count no more, although they are good: single ones, and all of a subject up to some moment.
//!
//! Owns the tables of what was revoked and every node's copy of them, which is read on each second: no request waits for
//! the database. It never takes anything back. While the database is away, what is known holds; a node that never knew
//! believes no token. `tests/it/auth_state.rs` runs the same bodies on both databases.

mod list;
mod mark;
mod store;
mod wish;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use metrics::counter;
use serde_json::json;
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    list::KEPT_AFTER_END,
    store::{LOCK, PAGE, RevokedSubject, RevokedToken},
};
use super::changes::{Changes, Deed};
use crate::{
    config::AuthConfig,
    events::{Begun, Command, EventsError, Work},
    model::{Clock, FieldError, Origin, Timestamp},
    store::{Database, DatabaseError},
};

pub(super) use list::RevocationList;
pub(super) use mark::TokenMarks;
pub use wish::TokenName;

/// Most tokens, and most subjects, that are revoked at a time: every node keeps them all in memory.
const MOST: i64 = 100_000;
/// The whole table is read again after so many looks at what is new, should somebody have changed it by hand.
const LOOKS_PER_REREADING: u32 = 60;

/// Why nothing was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RevocationError {
    /// Everything that is wrong with the input.
    #[error("the input is invalid")]
    Invalid(Vec<FieldError>),
    /// No more can be kept in mind.
    #[error("{MOST} are revoked already, as many as may be")]
    Full,
    /// The log did not do it.
    #[error(transparent)]
    Events(#[from] EventsError),
}

impl From<DatabaseError> for RevocationError {
    fn from(error: DatabaseError) -> Self {
        Self::Events(error.into())
    }
}

/// What was revoked. Clones share everything.
#[derive(Debug, Clone)]
pub struct TokenRevocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    changes: Changes,
    log: Database,
    clock: Clock,
    list: RevocationList,
    skew: TimeDelta,
    poll: Duration,
}

/// Up to which numbers the tables were read.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    tokens: i64,
    subjects: i64,
}

impl TokenRevocations {
    pub(super) fn new(config: &AuthConfig, changes: Changes, log: Database, clock: Clock) -> Self {
        let skew = i64::try_from(config.clock_skew_seconds).ok().and_then(TimeDelta::try_seconds);
        let poll = Duration::from_millis(config.revocation_poll_ms);
        let skew = skew.unwrap_or_default();
        Self(Arc::new(Shared { changes, log, clock, list: RevocationList::unread(), skew, poll }))
    }

    pub(super) fn list(&self) -> RevocationList {
        self.0.list.clone()
    }

    /// Reads the tables, and what is new in them for as long as the server runs.
    pub(super) async fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let place = self.read(Place::default()).await.ok();
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().follow(place)));
    }

    /// Revokes one token, by its `jti` or by itself. This node refuses it once this has returned, the others after
    /// `auth.revocation_poll_ms`. `expires_at` says when the token ends, where it does not say so itself. Gives back until
    /// when the token is kept in mind.
    pub async fn revoke_token(
        &self,
        command: Command,
        origin: &Origin,
        name: &TokenName,
        expires_at: Option<Timestamp>,
    ) -> Result<Timestamp, RevocationError> {
        let Shared { changes, clock, list, .. } = &*self.0;
        let token = name.revoked(expires_at, clock.now()).map_err(RevocationError::Invalid)?;
        let metadata = json!({ "subject": token.subject, "expiresAt": token.expires_at });
        let deed = Deed { action: "token.revoke", resource: name.resource(&token), metadata };
        let revoking = async {
            let Begun::Fresh(mut work) = changes.begin(command, &[LOCK.to_owned()]).await? else {
                return Ok(token.clone());
            };
            let kept = put_token(&mut work, &token).await?;
            changes.commit(work, origin, &deed, json!({})).await?;
            Ok::<_, RevocationError>(kept)
        };
        let kept = changes.within(revoking).await?;
        let until = kept.expires_at;
        list.learn(&[kept], &[]);
        Ok(until)
    }

    /// Revokes all tokens of a subject that were issued before a moment. It holds as soon as
    /// [`revoke_token`](Self::revoke_token) does, and for good. Gives back the moment that counts, which may be a later one.
    pub async fn revoke_subject(
        &self,
        command: Command,
        origin: &Origin,
        subject: &str,
        issued_before: Option<Timestamp>,
    ) -> Result<Timestamp, RevocationError> {
        let Shared { changes, clock, list, skew, .. } = &*self.0;
        let now = clock.now();
        let revoked = wish::revoked_subject(subject, issued_before.unwrap_or(now), *skew, now);
        let revoked = revoked.map_err(RevocationError::Invalid)?;
        let metadata = json!({ "issuedBefore": revoked.issued_before });
        let deed = Deed { action: "subject.revoke", resource: format!("subject:{subject}"), metadata };
        let revoking = async {
            let mut work = match changes.begin(command, &[LOCK.to_owned()]).await? {
                Begun::Fresh(work) => work,
                // The moment of the first time: nothing issued since then is meant.
                Begun::Repeated(result) => {
                    let then = serde_json::from_value(result["issuedBefore"].clone()).ok();
                    return Ok(RevokedSubject { issued_before: then.unwrap_or(revoked.issued_before), ..revoked });
                }
            };
            let kept = put_subject(&mut work, &revoked).await?;
            changes.commit(work, origin, &deed, json!({ "issuedBefore": kept.issued_before })).await?;
            Ok::<_, RevocationError>(kept)
        };
        let kept = changes.within(revoking).await?;
        let before = kept.issued_before;
        list.learn(&[], &[kept]);
        Ok(before)
    }

    /// Reads what is new, for ever. `place` is up to where the tables were read, if they were.
    async fn follow(self, mut place: Option<Place>) {
        let mut looks = 0;
        loop {
            sleep(self.0.poll).await;
            looks += 1;
            let reread = looks % LOOKS_PER_REREADING == 0;
            let from = place.filter(|_| !reread).unwrap_or_default();
            match self.read(from).await {
                Ok(read) => place = Some(read),
                Err(error) => tracing::debug!(%error, "the list of revoked tokens cannot be read and is tried again"),
            }
        }
    }

    async fn read(&self, from: Place) -> Result<Place, DatabaseError> {
        let outcome = self.0.log.within(self.read_on(from)).await;
        let label = if outcome.is_ok() { "read" } else { "failed" };
        counter!("tidegate_auth_revocation_reads_total", "outcome" => label).increment(1);
        outcome
    }

    async fn read_on(&self, from: Place) -> Result<Place, DatabaseError> {
        let Shared { log, list, clock, .. } = &*self.0;
        let mut place = from;
        loop {
            let (tokens, newest_token) = store::tokens(log, place.tokens).await?;
            let (subjects, newest_subject) = store::subjects(log, place.subjects).await?;
            place = Place { tokens: newest_token, subjects: newest_subject };
            if !tokens.is_empty() || !subjects.is_empty() {
                list.learn(&tokens, &subjects);
            }
            let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
            if tokens.len() < page && subjects.len() < page {
                break;
            }
        }
        // Whoever began at the start has now read all there is.
        if from.tokens == 0 && from.subjects == 0 {
            list.read_through(clock.now());
        }
        Ok(place)
    }
}

async fn put_token(work: &mut Work, token: &RevokedToken) -> Result<RevokedToken, RevocationError> {
    let now = work.now();
    let (log, transaction) = work.transaction();
    let kept = store::put_token(log, transaction, token, now).await?;
    // Afterwards: one that is there already takes no more room.
    let (tokens, _) = store::tidy(log, transaction, now - KEPT_AFTER_END).await?;
    if tokens > MOST { Err(RevocationError::Full) } else { Ok(kept) }
}

async fn put_subject(work: &mut Work, subject: &RevokedSubject) -> Result<RevokedSubject, RevocationError> {
    let now = work.now();
    let (log, transaction) = work.transaction();
    let kept = store::put_subject(log, transaction, subject, now).await?;
    let (_, subjects) = store::tidy(log, transaction, now - KEPT_AFTER_END).await?;
    if subjects > MOST { Err(RevocationError::Full) } else { Ok(kept) }
}
