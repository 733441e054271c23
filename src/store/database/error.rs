//! What can go wrong with a database, sorted by what a caller can make of it.

use std::path::PathBuf;

use sqlx::{error::ErrorKind, migrate::MigrateError, postgres::PgDatabaseError};
use thiserror::Error;

/// Why a transaction or a question has no result. After any of these, a commit that was under way may have happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseError {
    /// Not reachable, or not usable as it is. Says why, for operators.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Too slow, or too many were waiting.
    #[error("the database did not answer in time")]
    TimedOut,
    /// No room is left on its disk.
    #[error("the database's disk is full")]
    Full,
    /// It can be read and not written.
    #[error("the database cannot be written")]
    ReadOnly,
    /// What must be unique is there already.
    #[error("there is one already")]
    Taken,
    /// The database dislikes a statement of ours.
    #[error("the database refused: {0}")]
    Refused(String),
}

/// Why a database cannot be used at all, or not without somebody's doing.
#[derive(Debug, Error)]
pub enum DatabaseOpenError {
    /// The address makes no sense to the driver.
    #[error("{setting} cannot be used: {reason}")]
    Address {
        /// The setting.
        setting: &'static str,
        /// Why, without the address.
        reason: String,
    },
    /// The folder cannot be made or entered, or lacks a file that must be there.
    #[error("cannot use {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open the {store} database: {source}")]
    Open {
        /// Which of them.
        store: &'static str,
        /// Why.
        source: DatabaseError,
    },
    /// The tables are older than this program, and the start may not change that.
    #[error(
        "the tables of the {store} database are at version {found}, and this program needs {needed}: run tidegate migrate"
    )]
    Behind {
        /// Which of them.
        store: &'static str,
        /// The version found.
        found: i64,
        /// The version needed.
        needed: i64,
    },
    /// The tables are of a newer program, or were changed by hand.
    #[error("the tables of the {store} database are not those of this program: {reason}")]
    Foreign {
        /// Which of them.
        store: &'static str,
        /// How they differ.
        reason: String,
    },
}

impl DatabaseError {
    /// Whether nothing can be written until somebody or something mends it.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full | Self::ReadOnly)
    }

    /// The label under which it is counted.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Taken => "taken",
            Self::Refused(_) => "refused",
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::TimedOut,
            sqlx::Error::PoolClosed => Self::Unavailable("it is being opened anew".to_owned()),
            sqlx::Error::Io(error) => Self::Unavailable(error.to_string()),
            sqlx::Error::Tls(error) => Self::Unavailable(error.to_string()),
            sqlx::Error::WorkerCrashed => Self::Unavailable("the driver's thread has ended".to_owned()),
            // What a server says that is going away, as far as it gets.
            sqlx::Error::Protocol(reason) => Self::Unavailable(reason),
            sqlx::Error::Database(error) if error.kind() == ErrorKind::UniqueViolation => Self::Taken,
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                match error.try_downcast_ref::<PgDatabaseError>() {
                    Some(_) => of_postgres(&code, error.message()),
                    None => of_sqlite(&code, error.message()),
                }
            }
            other => Self::Refused(other.to_string()),
        }
    }
}

/// By SQLSTATE; see appendix A of PostgreSQL's documentation.
fn of_postgres(code: &str, message: &str) -> DatabaseError {
    match code {
        // statement_timeout and lock_timeout; deadlock and serialisation failure pass by themselves, too.
        "57014" | "55P03" | "40P01" | "40001" => DatabaseError::TimedOut,
        "53100" => DatabaseError::Full,
        "25006" => DatabaseError::ReadOnly,
        _ => match &code[..code.len().min(2)] {
            // Connection lost, not let in, no such database, out of resources, shutting down, a fault of its disk.
            "08" | "28" | "3D" | "53" | "57" | "58" => DatabaseError::Unavailable(message.to_owned()),
            _ => DatabaseError::Refused(message.to_owned()),
        },
    }
}

/// By the primary part of the result code; see <https://sqlite.org/rescode.html>.
fn of_sqlite(code: &str, message: &str) -> DatabaseError {
    let code = code.parse::<i32>().unwrap_or_default();
    match code & 0xff {
        // IOERR_SHMSIZE: the file of its shared memory found no room.
        _ if code == 4_874 => DatabaseError::Full,
        // BUSY, LOCKED, INTERRUPT.
        5 | 6 | 9 => DatabaseError::TimedOut,
        8 => DatabaseError::ReadOnly,
        13 => DatabaseError::Full,
        // IOERR, CORRUPT, CANTOPEN, NOTADB.
        10 | 11 | 14 | 26 => DatabaseError::Unavailable(message.to_owned()),
        _ => DatabaseError::Refused(message.to_owned()),
    }
}

/// What a failed migration says about the tables or the database.
pub(super) fn of_migration(store: &'static str, error: MigrateError) -> DatabaseOpenError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            DatabaseOpenError::Open { store, source: error.into() }
        }
        other => DatabaseOpenError::Foreign { store, reason: foreign(store, &other) },
    }
}

/// How the steps that were taken differ from those that there are. The driver's own words name a table that we do not have.
fn foreign(store: &str, error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMissing(version) => format!("step {version} was taken by a newer program"),
        MigrateError::VersionMismatch(version) => format!("step {version} was another one when it was taken"),
        MigrateError::Dirty(version) => {
            format!("step {version} was begun and not ended: mend its tables, and its row in {store}_migrations")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_a_caller_can_make_of_them() {
        let (away, refused) = (DatabaseError::Unavailable("m".into()), DatabaseError::Refused("m".into()));
        for (code, expected) in [
            ("57014", DatabaseError::TimedOut),
            ("40P01", DatabaseError::TimedOut),
            ("53100", DatabaseError::Full),
            ("25006", DatabaseError::ReadOnly),
            ("57P01", away.clone()),
            ("53300", away.clone()),
            ("28P01", away.clone()),
            ("42P01", refused.clone()),
            ("", refused.clone()),
        ] {
            assert_eq!(of_postgres(code, "m"), expected, "{code}");
        }
        for (code, expected) in [
            ("5", DatabaseError::TimedOut),
            ("517", DatabaseError::TimedOut),
            ("1032", DatabaseError::ReadOnly),
            ("13", DatabaseError::Full),
            ("4874", DatabaseError::Full),
            ("778", away),
            ("1", refused),
        ] {
            assert_eq!(of_sqlite(code, "m"), expected, "{code}");
        }
    }
}
