//! The tables of each store, as numbered steps that only go forward. The files are in `migrations/`.

use std::borrow::Cow;

use sqlx::{
    Connection, PgConnection, SqlSafeStr, SqliteConnection,
    migrate::{Migrate, Migration, MigrationType, Migrator},
};

use super::{DatabaseOpenError, Either, error::of_migration};

/// A step: its number, its name, and what it does on SQLite and on PostgreSQL.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Reads the steps of a store from `migrations/<store>/<database>/<file>.sql`.
macro_rules! steps {
    ($store:literal: $($version:literal $file:literal),+ $(,)?) => {
        &[$(Step {
            version: $version,
            name: $file,
            sqlite: include_str!(concat!("../../../migrations/", $store, "/sqlite/", $file, ".sql")),
            postgres: include_str!(concat!("../../../migrations/", $store, "/postgres/", $file, ".sql")),
        }),+]
    };
}

/// One of the three stores, by what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What happened: what one backs up.
    Log,
    /// What was made from the log, and can be made again.
    Index,
    /// Keys that make data unreadable by their deletion.
    Vault,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::Vault => "vault",
        }
    }

    /// The stores may share a database, so each keeps its own list of the steps that it has taken.
    fn table(self) -> &'static str {
        match self {
            Self::Log => "log_migrations",
            Self::Index => "index_migrations",
            Self::Vault => "vault_migrations",
        }
    }

    fn steps(self) -> &'static [Step] {
        match self {
            Self::Log => steps!("log": 1 "0001_events", 2 "0002_audit", 3 "0003_auth", 4 "0004_mcp_runs"),
            Self::Index => {
                steps!("index": 1 "0001_projections", 2 "0002_memories", 3 "0003_checkpoints", 4 "0004_mcp_servers")
            }
            Self::Vault => steps!("vault": 1 "0001_data_keys"),
        }
    }

    fn newest(self) -> i64 {
        self.steps().iter().map(|step| step.version).max().unwrap_or_default()
    }

    fn migrator(self, of: &Either<(), ()>) -> Migrator {
        let migration = |step: &Step| {
            let sql = match of {
                Either::Sqlite(()) => step.sqlite,
                Either::Postgres(()) => step.postgres,
            };
            Migration::new(step.version, Cow::Borrowed(step.name), MigrationType::Simple, sql.into_sql_str(), false)
        };
        let mut migrator = Migrator::with_migrations(self.steps().iter().map(migration).collect());
        migrator.dangerous_set_table_name(self.table());
        migrator
    }
}

/// A connection without deadlines, for as long as the steps take.
pub(super) type Unhurried = Either<SqliteConnection, PgConnection>;

/// Takes the steps that are missing, if that is permitted. Returns the version before and after.
pub(super) async fn bring_up_to_date(
    role: Role,
    connection: &mut Unhurried,
    permitted: bool,
) -> Result<(i64, i64), DatabaseOpenError> {
    let outcome = match connection {
        Either::Sqlite(connection) => {
            // One process at a time: the driver's own lock does nothing here.
            let mut transaction = opened(role, connection.begin_with("BEGIN IMMEDIATE").await)?;
            let outcome = take_steps(role, Either::Sqlite(()), &mut *transaction, permitted).await?;
            opened(role, transaction.commit().await)?;
            outcome
        }
        Either::Postgres(connection) => {
            // Held until the connection is closed.
            connection.lock().await.map_err(|error| of_migration(role.name(), error))?;
            take_steps(role, Either::Postgres(()), connection, permitted).await?
        }
    };
    if outcome.0 < outcome.1 {
        tracing::info!(store = role.name(), from = outcome.0, to = outcome.1, "the tables were brought up to date");
    }
    Ok(outcome)
}

async fn take_steps(
    role: Role,
    of: Either<(), ()>,
    connection: &mut impl Migrate,
    permitted: bool,
) -> Result<(i64, i64), DatabaseOpenError> {
    let (store, needed) = (role.name(), role.newest());
    let failed = |error| of_migration(store, error);
    connection.ensure_migrations_table(role.table()).await.map_err(failed)?;
    let taken = connection.list_applied_migrations(role.table()).await.map_err(failed)?;
    let found = taken.iter().map(|step| step.version).max().unwrap_or_default();
    if found < needed && !permitted {
        return Err(DatabaseOpenError::Behind { store, found, needed });
    }
    // Also checks what was done before: a newer or changed list of steps is refused.
    role.migrator(&of).run_direct(None, connection, false).await.map_err(failed)?;
    Ok((found, needed))
}

fn opened<T>(role: Role, result: Result<T, sqlx::Error>) -> Result<T, DatabaseOpenError> {
    result.map_err(|error| DatabaseOpenError::Open { store: role.name(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_without_holes() {
        for role in [Role::Log, Role::Index, Role::Vault] {
            let versions: Vec<i64> = role.steps().iter().map(|step| step.version).collect();
            let expected: Vec<i64> = (1..).take(versions.len()).collect();
            assert_eq!(versions, expected, "{}", role.name());
        }
    }
}
