//! Keys of single pieces of data. Deleting one makes its data unreadable wherever there is a copy of that: in the log, in
//! snapshots, in backups.
//!
//! Owns data keys, each sealed with a key that is derived from the master key. It never hands a key to a log line, and
//! never keeps one in memory for longer than the caller does. It does not know what the data is.
//! `tests/it/agent_state.rs` proves that what was forgotten cannot be read.

mod store;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;
use uuid::Uuid;

use crate::{
    model::Clock,
    secrets::{Key, MasterKey, Seal},
    store::{Database, DatabaseError},
};

/// The data keys. Clones share everything.
#[derive(Debug, Clone)]
pub struct Vault(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Database,
    seal: Seal,
    fingerprint: String,
    /// The master key was found to be the one of what is stored.
    checked: AtomicBool,
    clock: Clock,
}

/// Why a key cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VaultError {
    /// The vault's database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A key was sealed with another master key, or was changed.
    #[error("a data key cannot be opened with this master key")]
    Unreadable,
    /// What is stored was sealed with another master key than the configured one.
    #[error("the master key is not the one that the stored data was sealed with")]
    WrongMasterKey,
}

impl Vault {
    /// The keys in this store, sealed with what is derived from the master key.
    #[must_use]
    pub fn new(store: Database, master_key: &MasterKey, clock: Clock) -> Self {
        let seal = Seal::new(&master_key.derive("vault/data-key"));
        let (fingerprint, checked) = (master_key.fingerprint(), AtomicBool::new(false));
        Self(Arc::new(Shared { store, seal, fingerprint, checked, clock }))
    }

    /// Notes the master key at the first start, and refuses another one afterwards.
    pub async fn check_master_key(&self) -> Result<(), VaultError> {
        let known = store::note_master_key(&self.0.store, &self.0.fingerprint).await?;
        let good = known == self.0.fingerprint;
        self.0.checked.store(good, Ordering::Relaxed);
        if good { Ok(()) } else { Err(VaultError::WrongMasterKey) }
    }

    /// A new key, kept before it is returned: nothing is ever sealed with a key that may be lost.
    pub async fn create(&self) -> Result<(Uuid, Key), VaultError> {
        if !self.0.checked.load(Ordering::Relaxed) {
            self.check_master_key().await?;
        }
        let (id, key) = (Uuid::now_v7(), Key::generate());
        let sealed = self.0.seal.seal(key.expose(), id.as_bytes());
        store::insert(&self.0.store, id, &sealed, self.0.clock.now()).await?;
        Ok((id, key))
    }

    /// The keys that are still there.
    pub async fn find(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Key>, VaultError> {
        let found = store::find(&self.0.store, ids).await?;
        let opened = found.into_iter().map(|(id, sealed)| {
            let opened = self.0.seal.open(&sealed, id.as_bytes()).map_err(|_| VaultError::Unreadable)?;
            Ok((id, Key::try_from(&opened[..]).map_err(|_| VaultError::Unreadable)?))
        });
        opened.collect()
    }

    /// Deletes a key for good. One that is gone already is no error.
    pub async fn destroy(&self, id: Uuid) -> Result<(), VaultError> {
        store::delete(&self.0.store, id).await?;
        Ok(self.0.store.scrub().await?)
    }
}
