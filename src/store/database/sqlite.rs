//! SQLite: one file a store, one writer, several readers.
//!
//! Everything that was committed has been synced. A file that is gone, or is another one than was opened, is not written:
//! what was written to the old one would be lost with it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;
use sqlx::{
    ConnectOptions, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::DatabaseError;

/// The pools of one file.
#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    options: SqliteConnectOptions,
    readers: u32,
    deadline: Duration,
    opened: Mutex<Opened>,
}

/// The file as it was opened.
#[derive(Debug, Clone)]
struct Opened {
    /// How many files were opened at the path before.
    number: u64,
    identity: Option<Identity>,
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Which file is at the path: device and inode.
type Identity = (u64, u64);

impl SqliteFile {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf, readers: u32, deadline: Duration) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit that was acknowledged survives the loss of power, too.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What was deleted is overwritten.
            .pragma("secure_delete", "ON")
            .busy_timeout(deadline);
        let opened = Mutex::new(Opened::new(0, &options, readers, deadline, identity(&path)));
        Self { path, options, readers, deadline, opened }
    }

    /// A connection of its own, for changes of the tables. Makes the file if it is missing.
    pub(super) async fn unhurried(&self) -> Result<SqliteConnection, DatabaseError> {
        let connection = self.options.clone().create_if_missing(true).connect().await?;
        self.reopen_if_changed();
        Ok(connection)
    }

    /// The pool of the one writer.
    pub(super) fn writer(&self) -> Result<SqlitePool, DatabaseError> {
        self.present().map(|opened| opened.writer)
    }

    /// The pool of the readers.
    pub(super) fn readers(&self) -> Result<SqlitePool, DatabaseError> {
        self.present().map(|opened| opened.readers)
    }

    /// Opens the file anew if another one has taken its place.
    pub(super) fn reopen_if_changed(&self) {
        let now = identity(&self.path);
        let mut opened = self.opened.lock();
        if now.is_some() && opened.identity != now {
            *opened = Opened::new(opened.number + 1, &self.options, self.readers, self.deadline, now);
        }
    }

    /// Opens the same file anew. What could not be written when it was opened is open for reading alone, however it has
    /// become since.
    pub(super) fn renew(&self) {
        let mut opened = self.opened.lock();
        *opened = Opened::new(opened.number, &self.options, self.readers, self.deadline, opened.identity);
    }

    /// How many other files were opened at the path before.
    pub(super) fn number(&self) -> u64 {
        self.opened.lock().number
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        let Opened { writer, readers, .. } = self.opened.lock().clone();
        // The writer last, so that it brings everything into the file.
        readers.close().await;
        writer.close().await;
    }

    fn present(&self) -> Result<Opened, DatabaseError> {
        let now = identity(&self.path);
        let opened = self.opened.lock();
        match now {
            None => Err(DatabaseError::Unavailable("its file is gone".to_owned())),
            Some(_) if opened.identity != now => {
                Err(DatabaseError::Unavailable("its file was replaced and is being opened anew".to_owned()))
            }
            Some(_) => Ok(opened.clone()),
        }
    }
}

/// Begins a transaction on the one writer.
///
/// A commit that fails for want of room ends its transaction, of which the driver knows nothing: it takes the connection
/// for one in the middle of something for ever. Such a connection is replaced.
pub(super) async fn begin(writer: &SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    match writer.begin_with("BEGIN IMMEDIATE").await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            // Whatever it says: it is gone.
            let _ = writer.acquire().await?.close().await;
            writer.begin_with("BEGIN IMMEDIATE").await
        }
        begun => begun,
    }
}

impl Opened {
    fn new(
        number: u64,
        options: &SqliteConnectOptions,
        readers: u32,
        deadline: Duration,
        identity: Option<Identity>,
    ) -> Self {
        let pool = |most: u32| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(deadline)
                .idle_timeout(None)
                .max_lifetime(None)
                // There is no network between, and the file's presence is looked at before.
                .test_before_acquire(false)
        };
        Self {
            number,
            identity,
            writer: pool(1).connect_lazy_with(options.clone()),
            readers: pool(readers).connect_lazy_with(options.clone().read_only(false)),
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
