//! The tables of the log: statements that are the same on both databases.

use std::sync::Arc;

use serde_json::Value;
use sqlx::{QueryBuilder, types::Json};
use uuid::Uuid;

use super::{DomainEvent, EventsError, LogPosition, Metadata, postgres, upcast::Upcasters};
use crate::{
    model::Timestamp,
    store::{Database, DatabaseError, Either, Reader, Transaction, on},
};

/// Most events that one answer of the database carries.
pub(super) const PAGE: i64 = 500;

/// An event as its row: see [`events`].
pub(super) type Row = (i64, i64, Uuid, String, String, i64, String, i32, Json<Value>, Json<Metadata>);

/// What is asked of the events of one database, with the columns of [`Row`] in front. SQLite has one writer at a time, and
/// needs no transaction to order events by.
macro_rules! events {
    (sqlite $which:literal) => {
        events!("0", $which)
    };
    (postgres $which:literal) => {
        events!("transaction_id::text::bigint", $which)
    };
    ($transaction:literal, $which:literal) => {
        concat!(
            "SELECT ",
            $transaction,
            ", position, id, aggregate_id, aggregate_type, event_version, event_type, schema_version, data, metadata ",
            "FROM events ",
            $which
        )
    };
}

pub(super) use events;

/// An event that has no place in the log yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) event_version: u64,
    pub(super) event_type: String,
    pub(super) schema_version: u32,
    pub(super) data: Value,
    pub(super) metadata: Metadata,
}

/// What is kept of a state.
pub(super) struct Snapshot {
    pub(super) version: u64,
    pub(super) schema_version: u32,
    pub(super) state: Value,
    pub(super) hash: Vec<u8>,
}

/// A command that was done before.
pub(super) struct Done {
    pub(super) fingerprint: Vec<u8>,
    pub(super) result: Value,
}

pub(super) fn event(row: Row, upcasters: &Upcasters) -> Result<DomainEvent, EventsError> {
    let (transaction, number, id, aggregate_id, aggregate_type, version, event_type, schema, data, metadata) = row;
    let event_type: Arc<str> = event_type.into();
    let schema = u32::try_from(schema).unwrap_or_default();
    let data = upcasters.upcast(&event_type, schema, data.0).ok_or_else(|| EventsError::Unreadable {
        event_type: Arc::clone(&event_type),
        reason: format!("its form {schema} is newer than this program"),
    })?;
    Ok(DomainEvent {
        position: LogPosition { transaction, number },
        id,
        aggregate_id: aggregate_id.into(),
        aggregate_type: aggregate_type.into(),
        event_version: u64::try_from(version).unwrap_or_default(),
        schema_version: upcasters.newest(&event_type),
        event_type,
        data,
        metadata: metadata.0,
    })
}

/// The newest version of a stream; 0 without events.
pub(super) async fn version(
    log: &Database,
    transaction: &mut Transaction,
    aggregate_id: &str,
) -> Result<u64, DatabaseError> {
    const NEWEST: &str = "SELECT max(event_version) FROM events WHERE aggregate_id = $1";
    let newest: Result<(Option<i64>,), _> = on!(transaction, connection => {
        sqlx::query_as(NEWEST).bind(aggregate_id).fetch_one(&mut **connection).await
    });
    Ok(newest.map_err(|error| log.failed(error))?.0.and_then(|version| version.try_into().ok()).unwrap_or_default())
}

/// Appends to one stream; returns the places in the log, which grow with the versions.
pub(super) async fn insert(
    log: &Database,
    transaction: &mut Transaction,
    aggregate_id: &str,
    aggregate_type: &str,
    entries: &[Entry],
) -> Result<Vec<LogPosition>, DatabaseError> {
    const INTO: &str = "INSERT INTO events \
        (id, aggregate_id, aggregate_type, event_version, event_type, schema_version, data, metadata, created_at) ";
    let mut places = Vec::with_capacity(entries.len());
    for entries in entries.chunks(100) {
        macro_rules! insert_into {
            ($database:ty, $connection:expr, $returning:literal) => {{
                let mut query = QueryBuilder::<$database>::new(INTO);
                query.push_values(entries, |mut row, entry| {
                    row.push_bind(entry.id)
                        .push_bind(aggregate_id)
                        .push_bind(aggregate_type)
                        .push_bind(i64::try_from(entry.event_version).unwrap_or(i64::MAX))
                        .push_bind(&entry.event_type)
                        .push_bind(i32::try_from(entry.schema_version).unwrap_or(i32::MAX))
                        .push_bind(Json(&entry.data))
                        .push_bind(Json(&entry.metadata))
                        .push_bind(entry.metadata.time);
                });
                query.push($returning);
                query.build_query_as::<(i64, i64)>().fetch_all(&mut **$connection).await
            }};
        }
        let found = match transaction {
            Either::Sqlite(connection) => {
                insert_into!(sqlx::Sqlite, connection, " RETURNING 0, position")
            }
            Either::Postgres(connection) => {
                insert_into!(sqlx::Postgres, connection, " RETURNING transaction_id::text::bigint, position")
            }
        };
        let found = found.map_err(|error| log.failed(error))?;
        places.extend(found.into_iter().map(|(transaction, number)| LogPosition { transaction, number }));
    }
    places.sort_unstable();
    Ok(places)
}

/// Events of one stream after a version, oldest first, at most a page.
macro_rules! stream_of {
    ($either:expr, $aggregate_id:expr, $after:expr) => {{
        const SQLITE: &str =
            events!(sqlite "WHERE aggregate_id = $1 AND event_version > $2 ORDER BY event_version LIMIT $3");
        const POSTGRES: &str =
            events!(postgres "WHERE aggregate_id = $1 AND event_version > $2 ORDER BY event_version LIMIT $3");
        let stream = if matches!($either, Either::Sqlite(_)) { SQLITE } else { POSTGRES };
        on!($either, connection => {
            let query = sqlx::query_as(stream).bind($aggregate_id).bind($after).bind(PAGE);
            query.fetch_all(&mut **connection).await
        })
    }};
}

/// Where a stream is read from: an open transaction, which sees its own events, or what is committed.
pub(super) enum Source<'a> {
    Transaction(&'a mut Transaction),
    Reader(&'a mut Reader),
}

pub(super) async fn stream(
    log: &Database,
    from: &mut Source<'_>,
    aggregate_id: &str,
    after: u64,
) -> Result<Vec<Row>, DatabaseError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows: Result<Vec<Row>, sqlx::Error> = match from {
        Source::Transaction(transaction) => stream_of!(transaction, aggregate_id, after),
        Source::Reader(reader) => stream_of!(reader, aggregate_id, after),
    };
    rows.map_err(|error| log.failed(error))
}

/// Events of all streams after a place, in an order to which nothing is added before what was read. At most a page.
pub(super) async fn after(log: &Database, place: LogPosition) -> Result<Vec<Row>, DatabaseError> {
    const AFTER: &str = events!(sqlite "WHERE position > $1 ORDER BY position LIMIT $2");
    let rows = match &mut log.read().await? {
        Either::Sqlite(connection) => {
            sqlx::query_as(AFTER).bind(place.number).bind(PAGE).fetch_all(&mut **connection).await
        }
        Either::Postgres(connection) => postgres::after(connection, place).await,
    };
    rows.map_err(|error| log.failed(error))
}

/// The place of the newest event, as far as [`after`] would read.
pub(super) async fn head(log: &Database) -> Result<LogPosition, DatabaseError> {
    const HEAD: &str = "SELECT 0, coalesce(max(position), 0) FROM events";
    let found: Result<Option<(i64, i64)>, _> = match &mut log.read().await? {
        Either::Sqlite(connection) => sqlx::query_as(HEAD).fetch_optional(&mut **connection).await,
        Either::Postgres(connection) => sqlx::query_as(postgres::HEAD).fetch_optional(&mut **connection).await,
    };
    let (transaction, number) = found.map_err(|error| log.failed(error))?.unwrap_or_default();
    Ok(LogPosition { transaction, number })
}

/// The id of the event with a number, whatever transaction it was appended in.
pub(super) async fn id_at(log: &Database, place: LogPosition) -> Result<Option<Uuid>, DatabaseError> {
    const FIND: &str = "SELECT id FROM events WHERE position = $1";
    let found: Result<Option<(Uuid,)>, _> = on!(&mut log.read().await?, connection => {
        sqlx::query_as(FIND).bind(place.number).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|(id,)| id))
}

pub(super) async fn snapshot(
    log: &Database,
    from: &mut Source<'_>,
    aggregate_id: &str,
) -> Result<Option<Snapshot>, DatabaseError> {
    const FIND: &str = "SELECT event_version, schema_version, state, state_hash FROM snapshots WHERE aggregate_id = $1";
    macro_rules! find {
        ($either:expr) => {
            on!($either, connection => sqlx::query_as(FIND).bind(aggregate_id).fetch_optional(&mut **connection).await)
        };
    }
    type Row = (i64, i32, Json<Value>, Vec<u8>);
    let found: Result<Option<Row>, _> = match from {
        Source::Transaction(transaction) => find!(transaction),
        Source::Reader(reader) => find!(reader),
    };
    let found = found.map_err(|error| log.failed(error))?;
    Ok(found.map(|(version, schema_version, state, hash)| Snapshot {
        version: version.try_into().unwrap_or_default(),
        schema_version: schema_version.try_into().unwrap_or_default(),
        state: state.0,
        hash,
    }))
}

pub(super) async fn put_snapshot(
    log: &Database,
    transaction: &mut Transaction,
    aggregate_id: &str,
    aggregate_type: &str,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    const PUT: &str = "INSERT INTO snapshots \
        (aggregate_id, aggregate_type, event_version, schema_version, state, state_hash, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (aggregate_id) DO UPDATE SET \
        event_version = excluded.event_version, schema_version = excluded.schema_version, state = excluded.state, \
        state_hash = excluded.state_hash, created_at = excluded.created_at";
    let version = i64::try_from(snapshot.version).unwrap_or(i64::MAX);
    let schema_version = i32::try_from(snapshot.schema_version).unwrap_or(i32::MAX);
    let put = on!(transaction, connection => {
        let query = sqlx::query(PUT).bind(aggregate_id).bind(aggregate_type).bind(version).bind(schema_version);
        let query = query.bind(Json(&snapshot.state)).bind(&snapshot.hash).bind(now);
        query.execute(&mut **connection).await.map(drop)
    });
    put.map_err(|error| log.failed(error))
}

pub(super) async fn command(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
    key: &str,
) -> Result<Option<Done>, DatabaseError> {
    const FIND: &str = "SELECT fingerprint, result FROM commands WHERE subject = $1 AND key = $2";
    let found: Result<Option<(Vec<u8>, Json<Value>)>, _> = on!(transaction, connection => {
        sqlx::query_as(FIND).bind(subject).bind(key).fetch_optional(&mut **connection).await
    });
    let found = found.map_err(|error| log.failed(error))?;
    Ok(found.map(|(fingerprint, result)| Done { fingerprint, result: result.0 }))
}

pub(super) async fn put_command(
    log: &Database,
    transaction: &mut Transaction,
    (subject, key): (&str, &str),
    done: &Done,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    const PUT: &str =
        "INSERT INTO commands (subject, key, fingerprint, result, created_at) VALUES ($1, $2, $3, $4, $5)";
    let put = on!(transaction, connection => {
        let query = sqlx::query(PUT).bind(subject).bind(key).bind(&done.fingerprint).bind(Json(&done.result)).bind(now);
        query.execute(&mut **connection).await.map(drop)
    });
    put.map_err(|error| log.failed(error))
}

/// Forgets commands that nobody retries any more; returns how many.
pub(super) async fn forget_commands(log: &Database, before: Timestamp) -> Result<u64, DatabaseError> {
    let mut transaction = log.write().await?;
    let deleted = on!(&mut transaction, connection => {
        let query = sqlx::query("DELETE FROM commands WHERE created_at < $1").bind(before);
        query.execute(&mut **connection).await.map(|done| done.rows_affected())
    });
    let deleted = deleted.map_err(|error| log.failed(error))?;
    log.commit(transaction).await?;
    Ok(deleted)
}
