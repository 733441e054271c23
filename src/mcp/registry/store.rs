//! The table of servers in the index.

use std::sync::Arc;

use sqlx::types::Json;
use uuid::Uuid;

use super::ServerSource;
use crate::{
    mcp::ServerSpec,
    model::Timestamp,
    store::{Database, DatabaseError, Transaction, on},
};

/// Which row, and which event of its server makes it so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) generation: i64,
    pub(super) id: Uuid,
    pub(super) stream_version: u64,
}

/// What changes of a row; what is not given stays. An error goes with the status.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) config: Option<Arc<ServerSpec>>,
    pub(super) enabled: Option<bool>,
    pub(super) status: Option<&'static str>,
    pub(super) version: Option<Arc<str>>,
    pub(super) error: Option<Arc<str>>,
    pub(super) last_health_check: Option<Timestamp>,
    pub(super) updated_at: Option<Timestamp>,
}

impl Row {
    fn stream_version(&self) -> i64 {
        i64::try_from(self.stream_version).unwrap_or(i64::MAX)
    }
}

/// A row to be added.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) source: ServerSource,
    pub(super) config: &'a ServerSpec,
    pub(super) enabled: bool,
    pub(super) at: Timestamp,
}

pub(super) async fn insert(
    index: &Database,
    transaction: &mut Transaction,
    row: Row,
    entry: &Entry<'_>,
) -> Result<(), DatabaseError> {
    const INTO: &str = "INSERT INTO mcp_servers \
        (generation, id, name, source, config, enabled, status, created_at, updated_at, stream_version) \
        VALUES ($1, $2, $3, $4, $5, $6, 'UNKNOWN', $7, $7, $8)";
    let source = match entry.source {
        ServerSource::File => "FILE",
        ServerSource::Registered => "REGISTERED",
    };
    let done = on!(transaction, connection => {
        let query = sqlx::query(INTO).bind(row.generation).bind(row.id).bind(entry.name).bind(source);
        let query = query.bind(Json(entry.config)).bind(entry.enabled).bind(entry.at).bind(row.stream_version());
        query.execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| index.failed(error))
}

pub(super) async fn update(
    index: &Database,
    transaction: &mut Transaction,
    row: Row,
    change: &Change,
) -> Result<(), DatabaseError> {
    const UPDATE: &str = "UPDATE mcp_servers SET config = coalesce($3, config), enabled = coalesce($4, enabled), \
        status = coalesce($5, status), version = coalesce($6, version), \
        error = CASE WHEN $5 IS NULL THEN error ELSE $7 END, last_health_check = coalesce($8, last_health_check), \
        updated_at = coalesce($9, updated_at), stream_version = $10 WHERE generation = $1 AND id = $2";
    let done = on!(transaction, connection => {
        let query = sqlx::query(UPDATE).bind(row.generation).bind(row.id).bind(change.config.as_deref().map(Json));
        let query = query.bind(change.enabled).bind(change.status).bind(change.version.as_deref());
        let query = query.bind(change.error.as_deref()).bind(change.last_health_check).bind(change.updated_at);
        query.bind(row.stream_version()).execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| index.failed(error))
}

pub(super) async fn delete(index: &Database, transaction: &mut Transaction, row: Row) -> Result<(), DatabaseError> {
    const DELETE: &str = "DELETE FROM mcp_servers WHERE generation = $1 AND id = $2";
    let done = on!(transaction, connection => {
        sqlx::query(DELETE).bind(row.generation).bind(row.id).execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| index.failed(error))
}

pub(super) async fn clear(
    index: &Database,
    transaction: &mut Transaction,
    generation: i64,
) -> Result<(), DatabaseError> {
    let done = on!(transaction, connection => {
        let query = sqlx::query("DELETE FROM mcp_servers WHERE generation = $1").bind(generation);
        query.execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| index.failed(error))
}
