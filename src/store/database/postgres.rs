//! PostgreSQL: a pool whose sessions have deadlines.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{DatabaseError, DatabaseOpenError};

/// A server and how to reach it.
#[derive(Debug, Clone)]
pub(super) struct PostgresServer {
    options: PgConnectOptions,
    pub(super) pool: PgPool,
}

impl PostgresServer {
    /// Connects to nothing yet.
    pub(super) fn new(
        setting: &'static str,
        url: &str,
        connections: u32,
        deadline: Duration,
    ) -> Result<Self, DatabaseOpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| DatabaseOpenError::Address {
            setting,
            reason: error.to_string().replace(url, "[redacted]"),
        })?;
        // What is there already is no news.
        let options = options.application_name("tidegate").options([("client_min_messages", "warning")]);
        let milliseconds = deadline.as_millis();
        let hurried = options.clone().options([
            ("statement_timeout", milliseconds),
            // A forgotten transaction would hold back everybody who reads the log in order.
            ("idle_in_transaction_session_timeout", milliseconds),
            ("lock_timeout", milliseconds),
        ]);
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(deadline);
        Ok(Self { pool: pool.connect_lazy_with(hurried), options })
    }

    /// A connection of its own without deadlines, for changes of the tables.
    pub(super) async fn unhurried(&self) -> Result<PgConnection, DatabaseError> {
        Ok(self.options.connect().await?)
    }
}
