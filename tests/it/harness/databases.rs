//! Both databases, so that one test body runs on each.

use std::sync::{Arc, Weak};

use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tidegate::{
    config::DatabaseConfig,
    model::Clock,
    store::{Database, Reader, StoreParts, Stores, Transaction},
};
use tokio::sync::Mutex;

use super::{PostgresServer, watchdog::scratch};

/// Runs each body on both databases.
macro_rules! on_both {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::harness::FreshDatabase::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::harness::FreshDatabase::postgres().await).await;
            })+
        }
    };
}

pub(crate) use on_both;

/// A database that holds nothing yet.
pub(crate) struct FreshDatabase {
    pub(crate) name: &'static str,
    pub(crate) config: DatabaseConfig,
    /// Go with it.
    _folder: TempDir,
    server: Option<Arc<PostgresServer>>,
}

impl FreshDatabase {
    /// Files in a folder of their own.
    pub(crate) fn sqlite() -> Self {
        let folder = scratch();
        let mut config = DatabaseConfig::defaults();
        folder.path().clone_into(&mut config.folder);
        Self { name: "SQLite", config, _folder: folder, server: None }
    }

    /// On a server that tests share for as long as one of them needs it.
    pub(crate) async fn postgres() -> Self {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        let running = shared.upgrade();
        let server = match running {
            Some(server) => server,
            None => Arc::new(PostgresServer::hasty().await),
        };
        *shared = Arc::downgrade(&server);
        drop(shared);
        Self::on(server)
    }

    /// On a server of its own, that can be broken.
    pub(crate) async fn own_postgres() -> Self {
        Self::on(Arc::new(PostgresServer::start().await))
    }

    fn on(server: Arc<PostgresServer>) -> Self {
        let mut config = DatabaseConfig::defaults();
        config.url = Some(server.fresh_database().as_str().into());
        config.master_key = Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into());
        let folder = scratch();
        folder.path().clone_into(&mut config.folder);
        Self { name: "PostgreSQL", config, _folder: folder, server: Some(server) }
    }

    /// The server, where there is one.
    pub(crate) fn server(&self) -> &PostgresServer {
        self.server.as_ref().expect("this is SQLite")
    }

    pub(crate) async fn stores(&self) -> Stores {
        Stores::open(&self.config, &StoreParts::alone(Clock::system())).await.expect("the database opens")
    }
}

/// What tests do to the tables behind the server's back.
impl FreshDatabase {
    /// The numbers of one column of the log.
    pub(crate) async fn rows(&self, stores: &Stores, sql: &'static str) -> Vec<i64> {
        numbers(&stores.log, sql).await
    }

    /// The numbers of one column of the index.
    pub(crate) async fn rows_of_index(&self, stores: &Stores, sql: &'static str) -> Vec<i64> {
        numbers(&stores.index, sql).await
    }

    pub(crate) async fn execute(&self, stores: &Stores, sql: &'static str) {
        execute(&stores.log, sql).await;
    }

    /// Several statements.
    pub(crate) async fn execute_each(&self, stores: &Stores, sql: &'static str) {
        for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
            execute(&stores.log, statement).await;
        }
    }

    pub(crate) async fn execute_index(&self, stores: &Stores, sql: &'static str) {
        execute(&stores.index, sql).await;
    }

    /// The numbers of one column of the vault.
    pub(crate) async fn rows_of_vault(&self, stores: &Stores, sql: &'static str) -> Vec<i64> {
        numbers(&stores.vault, sql).await
    }

    pub(crate) async fn execute_vault(&self, stores: &Stores, sql: &'static str) {
        execute(&stores.vault, sql).await;
    }

    /// Reads the index of SQLite, as another program does, until it is dropped.
    pub(crate) async fn read_index(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.config.folder.join("index.db"));
        let mut connection = options.connect().await.expect("there is an index");
        sqlx::query("BEGIN").execute(&mut connection).await.expect("good SQL");
        sqlx::query("SELECT count(*) FROM projections").fetch_one(&mut connection).await.expect("there are tables");
        connection
    }
}

/// What an operator does with it.
impl FreshDatabase {
    pub(crate) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    /// A backup of the log as the documentation tells to make it, while the server runs.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        if self.server.is_some() {
            return PostgresServer::dump(self.url());
        }
        let copy = self.config.folder.join("backup.db");
        let options = SqliteConnectOptions::new().filename(self.config.folder.join("tidegate.db"));
        let mut connection = options.connect().await.expect("there is a log");
        let vacuum = format!("VACUUM INTO '{}'", copy.display());
        sqlx::query(sqlx::AssertSqlSafe(vacuum)).execute(&mut connection).await.expect("there is room");
        let bytes = std::fs::read(&copy).expect("it was made");
        std::fs::remove_file(&copy).expect("it was made");
        bytes
    }

    /// Puts the log back as it was in a backup. Nothing may run on it.
    pub(crate) fn restore(&self, backup: &[u8]) {
        if let Some(server) = &self.server {
            return server.restore(self.url(), backup);
        }
        for rest in ["tidegate.db-wal", "tidegate.db-shm"] {
            let _ = std::fs::remove_file(self.config.folder.join(rest));
        }
        std::fs::write(self.config.folder.join("tidegate.db"), backup).expect("the folder takes files");
    }

    fn url(&self) -> &str {
        self.config.url.as_ref().expect("this is PostgreSQL").expose()
    }
}

async fn numbers(store: &Database, sql: &'static str) -> Vec<i64> {
    let rows: Vec<(i64,)> = match &mut store.read().await.expect("the database can be read") {
        Reader::Sqlite(connection) => sqlx::query_as(sql).fetch_all(&mut **connection).await.expect("good SQL"),
        Reader::Postgres(connection) => sqlx::query_as(sql).fetch_all(&mut **connection).await.expect("good SQL"),
    };
    rows.into_iter().map(|(number,)| number).collect()
}

async fn execute(store: &Database, sql: &'static str) {
    let mut transaction = store.write().await.expect("the database can be written");
    match &mut transaction {
        Transaction::Sqlite(connection) => drop(sqlx::query(sql).execute(&mut **connection).await.expect("good SQL")),
        Transaction::Postgres(connection) => drop(sqlx::query(sql).execute(&mut **connection).await.expect("good SQL")),
    }
    store.commit(transaction).await.expect("the database can be written");
}
