//! API keys: made, listed, revoked and checked.
//!
//! Owns the table of keys, of which only digests are kept, and the memory of those that were shown of late. Who may make a
//! key is decided above. `tests/it/auth_state.rs` runs the same bodies on both databases.

mod draft;
mod key;
mod ring;
mod store;

use std::sync::Arc;

use chrono::SubsecRound;
use serde_json::json;
use thiserror::Error;

use self::store::Entry;
use super::{
    attempts::Attempts,
    changes::{Changes, Deed},
};
use crate::{
    events::{Begun, Command, EventsError, Work},
    model::{Clock, FieldError, Origin, Role, Timestamp},
    secrets::ShownOnce,
    store::{Database, DatabaseError},
};

pub use draft::ApiKeyDraft;
pub use key::{ApiKey, ApiKeyDigest, MalformedApiKey};
pub(super) use ring::KeyRing;

/// Most keys of one page.
pub const API_KEYS_OF_A_PAGE: usize = 100;

/// What is known of a key. The key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// How it is named; a part of the key, and no secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Who its bearer is.
    pub subject: String,
    /// What its bearer may do.
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    pub revoked_by: Option<String>,
}

/// A new key.
pub struct CreatedApiKey {
    /// What is known of it.
    pub record: ApiKeyRecord,
    /// The key itself; none if the same command was done before, which showed it.
    pub text: Option<ShownOnce>,
}

/// The place of a key in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyPlace(pub i64);

/// Some keys, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyPage {
    /// Each with its place, to go on after.
    pub keys: Vec<(ApiKeyPlace, ApiKeyRecord)>,
    /// Whether there are older ones.
    pub more: bool,
}

/// Why nothing was done with an API key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiKeyError {
    /// Everything that is wrong with the input.
    #[error("the input is invalid")]
    Invalid(Vec<FieldError>),
    /// There is no key of that id.
    #[error("there is no such API key")]
    NotFound,
    /// The log did not do it.
    #[error(transparent)]
    Events(#[from] EventsError),
}

impl From<DatabaseError> for ApiKeyError {
    fn from(error: DatabaseError) -> Self {
        Self::Events(error.into())
    }
}

/// All API keys. Clones share everything.
#[derive(Debug, Clone)]
pub struct ApiKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    changes: Changes,
    log: Database,
    clock: Clock,
    ring: KeyRing,
}

impl ApiKeys {
    pub(super) fn new(changes: Changes, log: Database, attempts: Attempts, clock: Clock) -> Self {
        let ring = KeyRing::new(log.clone(), attempts, clock.clone());
        Self(Arc::new(Shared { changes, log, clock, ring }))
    }

    pub(super) fn ring(&self) -> KeyRing {
        self.0.ring.clone()
    }

    /// Makes a key, which is shown this once.
    pub async fn create(
        &self,
        command: Command,
        origin: &Origin,
        draft: &ApiKeyDraft,
    ) -> Result<CreatedApiKey, ApiKeyError> {
        let Shared { changes, clock, .. } = &*self.0;
        let problems = draft.problems(clock.now());
        if !problems.is_empty() {
            return Err(ApiKeyError::Invalid(problems));
        }
        let created = async {
            let mut work = match changes.begin(command, &[]).await? {
                Begun::Fresh(work) => work,
                Begun::Repeated(result) => {
                    let id = result["apiKey"].as_str().unwrap_or_default();
                    return Ok(CreatedApiKey { record: self.get(id).await?, text: None });
                }
            };
            let (record, text) = add(&mut work, draft).await?;
            let metadata = json!({
                "name": record.name,
                "subject": record.subject,
                "role": record.role,
                "expiresAt": record.expires_at,
            });
            let deed = Deed { action: "api_key.create", resource: format!("api_key:{}", record.id), metadata };
            changes.commit(work, origin, &deed, json!({ "apiKey": record.id })).await?;
            Ok(CreatedApiKey { record, text: Some(text) })
        };
        changes.within(created).await
    }

    /// The key of this id.
    pub async fn get(&self, id: &str) -> Result<ApiKeyRecord, ApiKeyError> {
        let log = &self.0.log;
        if !ApiKey::is_id(id) {
            return Err(ApiKeyError::NotFound);
        }
        log.within(store::find(log, id)).await?.ok_or(ApiKeyError::NotFound)
    }

    /// The newest keys after (that is, older than) a place; at most 100.
    pub async fn page(&self, after: Option<ApiKeyPlace>, first: usize) -> Result<ApiKeyPage, ApiKeyError> {
        let log = &self.0.log;
        let first = first.min(API_KEYS_OF_A_PAGE);
        let before = after.map_or(i64::MAX, |place| place.0);
        let most = i64::try_from(first + 1).unwrap_or(i64::MAX);
        let mut keys = log.within(store::list(log, before, most)).await?;
        let more = keys.len() > first;
        keys.truncate(first);
        Ok(ApiKeyPage { keys, more })
    }

    /// Revokes a key, if it is not revoked already. This node believes it no more once this has returned; others may for
    /// five seconds.
    pub async fn revoke(&self, command: Command, origin: &Origin, id: &str) -> Result<ApiKeyRecord, ApiKeyError> {
        if !ApiKey::is_id(id) {
            return Err(ApiKeyError::NotFound);
        }
        let Shared { changes, ring, .. } = &*self.0;
        let revoked = async {
            let Begun::Fresh(mut work) = changes.begin(command, &[format!("api_key:{id}")]).await? else {
                return self.get(id).await;
            };
            let (record, changed) = end(&mut work, id).await?;
            if changed {
                let metadata = json!({ "name": record.name, "subject": record.subject });
                let deed = Deed { action: "api_key.revoke", resource: format!("api_key:{id}"), metadata };
                changes.commit(work, origin, &deed, json!({ "apiKey": id })).await?;
            }
            Ok(record)
        };
        let revoked = changes.within(revoked).await;
        // After an error, too: it may have lasted all the same.
        ring.forget();
        revoked
    }
}

async fn add(work: &mut Work, draft: &ApiKeyDraft) -> Result<(ApiKeyRecord, ShownOnce), ApiKeyError> {
    // What the database keeps is what is told.
    let draft = ApiKeyDraft { expires_at: draft.expires_at.map(|end| end.trunc_subsecs(6)), ..draft.clone() };
    let (key, created_at, created_by) = (ApiKey::generate(), work.now(), Arc::clone(&work.command().user_id));
    let (log, transaction) = work.transaction();
    let digest = key.digest();
    let entry = Entry { id: key.id(), digest: digest.as_bytes(), draft: &draft, created_by: &created_by, created_at };
    store::insert(log, transaction, &entry).await?;
    let record = ApiKeyRecord {
        id: key.id().to_owned(),
        name: draft.name,
        subject: draft.subject.to_string(),
        role: draft.role,
        created_by: created_by.to_string(),
        created_at,
        expires_at: draft.expires_at,
        revoked_at: None,
        revoked_by: None,
    };
    Ok((record, key.into_text()))
}

/// The key as it stands then, and whether this has changed it.
async fn end(work: &mut Work, id: &str) -> Result<(ApiKeyRecord, bool), ApiKeyError> {
    let (now, by) = (work.now(), Arc::clone(&work.command().user_id));
    let (log, transaction) = work.transaction();
    let changed = store::revoke(log, transaction, id, &by, now).await?;
    let record = store::find_within(log, transaction, id).await?.ok_or(ApiKeyError::NotFound)?;
    Ok((record, changed))
}
