//! State that must not be lost: SQLite files of a folder, or PostgreSQL.
//!
//! Owns three stores, each with its own tables and their steps: the *log* is what happened and what one backs up, the
//! *index* can be made again from the log, the *vault* holds keys whose deletion makes data unreadable. It must never
//! keep anybody longer than `database.deadline_ms`, and knows nothing of what is stored. `on!` runs the same statement
//! on either database; tables belong to the rooms' `store.rs`. `tests/it/database_outages.rs` breaks it.

mod either;
mod error;
mod health;
mod migrations;
mod monitor;
mod postgres;
mod sqlite;

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};

use metrics::histogram;
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    health::Health,
    migrations::{Role, Unhurried},
    postgres::PostgresServer,
    sqlite::SqliteFile,
};
use crate::{
    config::DatabaseConfig,
    model::{Clock, Instant},
};

pub(crate) use either::on;
pub use either::{Either, Reader, Transaction};
pub use error::{DatabaseError, DatabaseOpenError};
pub use health::DatabaseState;

/// What [`Stores`] are opened with, apart from their configuration.
#[derive(Debug, Clone)]
pub struct StoreParts {
    /// The time.
    pub clock: Clock,
    /// Keeps the background work.
    pub tasks: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
}

impl StoreParts {
    /// For a command, whose end is the end of everything.
    #[must_use]
    pub fn alone(clock: Clock) -> Self {
        Self { clock, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }
}

/// All stores of the node. Clones share everything.
#[derive(Debug, Clone)]
pub struct Stores {
    /// What happened: events, snapshots, the audit log, keys of callers.
    pub log: Database,
    /// What was made from the log, and can be made again.
    pub index: Database,
    /// Keys of single pieces of data.
    pub vault: Database,
    health: Arc<Health>,
}

/// One store. Clones share everything.
#[derive(Debug, Clone)]
pub struct Database(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    role: Role,
    place: Either<SqliteFile, PostgresServer>,
    health: Arc<Health>,
    deadline: Duration,
    clock: Clock,
}

/// A store's tables, before and after they were brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The store: `log`, `index` or `vault`.
    pub store: &'static str,
    /// The version found; 0 without tables.
    pub from: i64,
    /// The version now.
    pub to: i64,
}

impl Stores {
    /// Opens the stores, makes their files if there are none, and brings their tables up to date where the configuration
    /// permits that. Must be called inside a tokio runtime.
    ///
    /// A PostgreSQL that is away is no error: the stores are down until it comes.
    pub async fn open(config: &DatabaseConfig, parts: &StoreParts) -> Result<Self, DatabaseOpenError> {
        let stores = Self::new(config, &parts.clock)?;
        match stores.migrate(config.migrate_at_start).await {
            Ok(_) => stores.health.set(&DatabaseState::Up),
            Err(DatabaseOpenError::Open { source, .. }) if stores.comes_later(&source) => {
                stores.health.failed(Role::Log.name(), &source);
            }
            Err(error) => return Err(error),
        }
        let heartbeat = Duration::from_millis(config.heartbeat_ms);
        let watched = monitor::watch(stores.clone(), heartbeat, config.migrate_at_start);
        parts.tasks.spawn(parts.stop.clone().run_until_cancelled_owned(watched));
        Ok(stores)
    }

    /// The stores, of which nothing is opened or checked yet: for commands.
    pub fn new(config: &DatabaseConfig, clock: &Clock) -> Result<Self, DatabaseOpenError> {
        let health = Arc::new(Health::new());
        let deadline = Duration::from_millis(config.deadline_ms);
        let store = |role, place| {
            Database(Arc::new(Shared { role, place, health: Arc::clone(&health), deadline, clock: clock.clone() }))
        };
        let server = |setting, url: &str| PostgresServer::new(setting, url, config.max_connections, deadline);
        let (log, index, vault) = if let Some(url) = &config.url {
            let main = server("database.url", url.expose())?;
            let vault = match &config.vault_url {
                Some(url) => server("database.vault_url", url.expose())?,
                None => main.clone(),
            };
            (Either::Postgres(main.clone()), Either::Postgres(main), Either::Postgres(vault))
        } else {
            let path = config.folder.clone();
            make_folder(&config.folder).map_err(|source| DatabaseOpenError::Folder { path, source })?;
            let file =
                |name| Either::Sqlite(SqliteFile::new(config.folder.join(name), config.max_connections, deadline));
            (file("tidegate.db"), file("index.db"), file("vault.db"))
        };
        let (log, index, vault) = (store(Role::Log, log), store(Role::Index, index), store(Role::Vault, vault));
        Ok(Self { log, index, vault, health })
    }

    /// Brings the tables of all stores up to date, or refuses older ones if that is not permitted.
    pub async fn migrate(&self, permitted: bool) -> Result<[Migrated; 3], DatabaseOpenError> {
        Ok([
            self.log.migrate(permitted).await?,
            self.index.migrate(permitted).await?,
            self.vault.migrate(permitted).await?,
        ])
    }

    /// Closes all connections, each when its work is done. SQLite then leaves one file a store.
    pub async fn close(&self) {
        for store in [&self.log, &self.index, &self.vault] {
            match &store.0.place {
                Either::Sqlite(file) => file.close().await,
                Either::Postgres(server) => server.pool.close().await,
            }
        }
    }

    /// The state of the stores, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<DatabaseState> {
        self.health.watch()
    }

    /// Whether the server that keeps the stores may be away for a while, and the start need not wait for it.
    fn comes_later(&self, error: &DatabaseError) -> bool {
        matches!(self.log.0.place, Either::Postgres(_))
            && matches!(error, DatabaseError::Unavailable(_) | DatabaseError::TimedOut)
    }
}

impl Database {
    /// A connection for reading.
    pub async fn read(&self) -> Result<Reader, DatabaseError> {
        if let Some(error) = self.0.health.bars_reading() {
            return Err(error);
        }
        let began = self.0.clock.instant();
        let reader = match &self.0.place {
            Either::Sqlite(file) => self.acquired(file.readers()?.acquire().await).map(Either::Sqlite),
            Either::Postgres(server) => self.acquired(server.pool.acquire().await).map(Either::Postgres),
        };
        self.waited("read", began);
        reader
    }

    /// A transaction for writing. Only one is open at a time in SQLite; in PostgreSQL it can read what others have
    /// committed since it began.
    pub async fn write(&self) -> Result<Transaction, DatabaseError> {
        if let Some(error) = self.0.health.bars_writing() {
            return Err(error);
        }
        self.write_anyway().await
    }

    /// Like [`write`](Self::write), also where writing does not work as far as is known.
    async fn write_anyway(&self) -> Result<Transaction, DatabaseError> {
        let began = self.0.clock.instant();
        let transaction = match &self.0.place {
            Either::Sqlite(file) => {
                let writer = file.writer().inspect_err(|error| self.note(error))?;
                self.acquired(sqlite::begin(&writer).await).map(Either::Sqlite)
            }
            Either::Postgres(server) => self.acquired(server.pool.begin().await).map(Either::Postgres),
        };
        self.waited("write", began);
        transaction
    }

    /// Makes what a transaction wrote last. After an error it may have lasted all the same.
    pub async fn commit(&self, transaction: Transaction) -> Result<(), DatabaseError> {
        let began = self.0.clock.instant();
        let done = on!(transaction, transaction => transaction.commit().await);
        histogram!("tidegate_database_commit_seconds", "store" => self.name()).record(self.0.clock.instant() - began);
        done.map_err(|error| self.failed(error))
    }

    /// Leaves nothing of what was deleted in files that are still there: SQLite's journal of what was written. What
    /// PostgreSQL keeps until its next vacuum, and in its own journal, is beyond a client. Times out while somebody reads
    /// what was there before.
    pub async fn scrub(&self) -> Result<(), DatabaseError> {
        if let Either::Sqlite(file) = &self.0.place {
            let mut connection = self.acquired(file.writer()?.acquire().await)?;
            let done = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
            let (is_busy, ..): (bool, i64, i64) = done.map_err(|error| self.failed(error))?;
            if is_busy {
                return Err(DatabaseError::TimedOut);
            }
        }
        Ok(())
    }

    /// Runs something that speaks to the store, within the deadline: a server that is stalled answers nothing at all.
    pub async fn within<T, E: From<DatabaseError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match timeout(self.0.deadline, work).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                self.note(&DatabaseError::TimedOut);
                Err(DatabaseError::TimedOut.into())
            }
        }
    }

    /// What a failed statement means. Every failure comes through here, so that outages are known at once.
    #[must_use]
    pub fn failed(&self, error: sqlx::Error) -> DatabaseError {
        let error = DatabaseError::from(error);
        self.note(&error);
        error
    }

    /// Grows whenever another file has taken the place of the one that was open: what is there may be another story.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        match &self.0.place {
            Either::Sqlite(file) => file.number(),
            Either::Postgres(_) => 0,
        }
    }

    /// The pool of the PostgreSQL server, where there is one.
    #[must_use]
    pub fn postgres(&self) -> Option<&sqlx::PgPool> {
        match &self.0.place {
            Either::Sqlite(_) => None,
            Either::Postgres(server) => Some(&server.pool),
        }
    }

    fn name(&self) -> &'static str {
        self.0.role.name()
    }

    fn note(&self, error: &DatabaseError) {
        self.0.health.failed(self.name(), error);
    }

    fn acquired<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, DatabaseError> {
        result.map_err(|error| self.failed(error))
    }

    fn waited(&self, op: &'static str, began: Instant) {
        histogram!("tidegate_database_wait_seconds", "store" => self.name(), "op" => op)
            .record(self.0.clock.instant() - began);
    }

    async fn migrate(&self, permitted: bool) -> Result<Migrated, DatabaseOpenError> {
        let open = |source| DatabaseOpenError::Open { store: self.name(), source };
        let opening = async {
            Ok(match &self.0.place {
                Either::Sqlite(file) => Unhurried::Sqlite(file.unhurried().await?),
                Either::Postgres(server) => Unhurried::Postgres(server.unhurried().await?),
            })
        };
        let opened = timeout(self.0.deadline, opening).await.unwrap_or(Err(DatabaseError::TimedOut));
        let mut connection = opened.map_err(open)?;
        let (from, to) = migrations::bring_up_to_date(self.0.role, &mut connection, permitted).await?;
        // What it says at the end changes nothing: the steps are committed.
        drop(on!(connection, connection => sqlx::Connection::close(connection).await));
        Ok(Migrated { store: self.name(), from, to })
    }
}

/// Makes the folder if it is missing, for nobody else's eyes: the index holds plain words.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
