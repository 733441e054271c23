//! One of the two databases, and code that is the same on both.

use sqlx::{Postgres, Sqlite, pool::PoolConnection};

/// What belongs to SQLite, or its like of PostgreSQL.
#[derive(Debug, Clone)]
pub enum Either<S, P> {
    /// Of SQLite.
    Sqlite(S),
    /// Of PostgreSQL.
    Postgres(P),
}

/// An open transaction; rolled back unless it is committed.
pub type Transaction = Either<sqlx::Transaction<'static, Sqlite>, sqlx::Transaction<'static, Postgres>>;

/// A connection for reading.
pub type Reader = Either<PoolConnection<Sqlite>, PoolConnection<Postgres>>;

/// Runs the same code on whichever database it is.
///
/// The code is compiled once for each driver, so that each statement runs with its own driver's types:
/// `on!(transaction, connection => sqlx::query(SQL).execute(&mut **connection).await)`.
macro_rules! on {
    ($either:expr, $connection:ident => $code:expr) => {
        match $either {
            $crate::store::Either::Sqlite($connection) => $code,
            $crate::store::Either::Postgres($connection) => $code,
        }
    };
}

pub(crate) use on;
