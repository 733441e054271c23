//! The tables of the audit log.

use serde_json::Value;
use sqlx::{Column, FromRow, QueryBuilder, types::Json};

use super::{AuditFilter, AuditRow, checkpoint::Checkpoint, row::LANES};
use crate::{
    model::Timestamp,
    store::{Database, DatabaseError, Either, Transaction, on},
};

/// Most rows that one answer of the database carries.
pub(super) const PAGE: i64 = 1_000;

/// Most rows that one statement puts in.
const MOST_AT_ONCE: usize = 100;

type Row =
    (i64, i16, i64, Timestamp, String, String, String, String, Json<Value>, String, Option<String>, Vec<u8>, Vec<u8>);

type CheckpointRow = (i64, Timestamp, Json<Value>, i64, Vec<u8>, Vec<u8>);

/// What a table holds at some place. Whoever tampers may leave what cannot be read, which must not hide the rest.
pub(super) type Found<T> = Result<T, Unreadable>;

/// A row with a column that is not what it should be.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Always readable: SQLite and PostgreSQL keep nothing else in this column.
    pub(super) id: i64,
    /// The first bad column.
    pub(super) column: String,
}

/// Columns, the first of which is the id, as they are read by the driver.
struct Legible<T>(Found<T>);

impl<'r, R, T> FromRow<'r, R> for Legible<T>
where
    R: sqlx::Row,
    T: FromRow<'r, R>,
    (i64,): FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        match T::from_row(row) {
            Ok(columns) => Ok(Self(Ok(columns))),
            Err(sqlx::Error::ColumnDecode { index, .. }) => {
                let (id,) = <(i64,)>::from_row(row)?;
                let column = index.parse().ok().and_then(|index: usize| row.columns().get(index));
                Ok(Self(Err(Unreadable { id, column: column.map_or(index, |column| column.name().to_owned()) })))
            }
            Err(error) => Err(error),
        }
    }
}

/// The column `time`; null, and so unreadable, where it is none that the driver can compute with.
macro_rules! time {
    () => {
        "CASE WHEN \"time\" BETWEEN '0001-01-01' AND '9999-12-31' THEN \"time\" END AS \"time\""
    };
}

/// What is asked of the rows, with the columns of [`Row`] in front.
macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT id, lane, number, ",
            time!(),
            ", user_id, action, resource, result, metadata, source_address, user_agent, previous_hash, hash ",
            "FROM audit_log ",
            $which
        )
    };
}

/// What is asked of the checkpoints, with the columns of [`CheckpointRow`] in front.
macro_rules! checkpoints {
    ($which:literal) => {
        concat!("SELECT id, ", time!(), ", heads, row_count, signature, public_key FROM audit_checkpoints ", $which)
    };
}

fn row(row: Row) -> AuditRow {
    let (
        id,
        lane,
        number,
        time,
        user_id,
        action,
        resource,
        result,
        metadata,
        source_address,
        user_agent,
        previous,
        hash,
    ) = row;
    AuditRow {
        id,
        lane,
        number,
        time,
        user_id,
        action,
        resource,
        result,
        metadata: metadata.0,
        source_address,
        user_agent,
        previous_hash: previous,
        hash,
    }
}

/// The newest row of a lane that another can follow: its number and hash.
pub(super) async fn head(
    log: &Database,
    transaction: &mut Transaction,
    lane: i16,
) -> Result<Option<(i64, Vec<u8>)>, DatabaseError> {
    // The bound passes over what was tampered with, a text included, so that the lane goes on.
    const HEAD: &str = "SELECT number, hash FROM audit_log WHERE lane = $1 AND number < 9223372036854775807 \
        ORDER BY number DESC LIMIT 1";
    let found = on!(transaction, connection => {
        sqlx::query_as(HEAD).bind(lane).fetch_optional(&mut **connection).await
    });
    found.map_err(|error| log.failed(error))
}

/// The ids of the next rows, in order. PostgreSQL draws them from the sequence. In SQLite, which has one writer at a time,
/// they are the first free ones from the top: a row that was given the largest number there is stops nobody.
pub(super) async fn next_ids(
    log: &Database,
    transaction: &mut Transaction,
    count: usize,
) -> Result<Vec<i64>, DatabaseError> {
    const SQLITE: &str = "SELECT id + 1 FROM audit_log AS taken WHERE id <= 9223372036854775807 - $1 \
        AND NOT EXISTS (SELECT 1 FROM audit_log WHERE id > taken.id AND id <= taken.id + $1) ORDER BY id DESC LIMIT 1";
    const POSTGRES: &str =
        "SELECT nextval(pg_get_serial_sequence('audit_log', 'id')) FROM generate_series(1::bigint, $1)";
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let found: Result<Vec<i64>, _> = match transaction {
        Either::Sqlite(connection) => {
            let first = sqlx::query_scalar(SQLITE).bind(count).fetch_optional(&mut **connection).await;
            first.map(|first: Option<i64>| (first.unwrap_or(1)..).zip(0..count).map(|(id, _)| id).collect())
        }
        Either::Postgres(connection) => sqlx::query_scalar(POSTGRES).bind(count).fetch_all(&mut **connection).await,
    };
    let mut ids = found.map_err(|error| log.failed(error))?;
    ids.sort_unstable();
    Ok(ids)
}

pub(super) async fn insert(
    log: &Database,
    transaction: &mut Transaction,
    rows: &[AuditRow],
) -> Result<(), DatabaseError> {
    const INTO: &str = "INSERT INTO audit_log (id, lane, number, \"time\", user_id, action, resource, result, \
        metadata, source_address, user_agent, previous_hash, hash) ";
    for rows in rows.chunks(MOST_AT_ONCE) {
        let done = on!(&mut *transaction, connection => {
            let mut query = QueryBuilder::new(INTO);
            query.push_values(rows, |mut values, row| {
                values.push_bind(row.id).push_bind(row.lane).push_bind(row.number).push_bind(row.time);
                values.push_bind(&row.user_id).push_bind(&row.action).push_bind(&row.resource);
                values.push_bind(&row.result).push_bind(Json(&row.metadata)).push_bind(&row.source_address);
                values.push_bind(&row.user_agent).push_bind(&row.previous_hash).push_bind(&row.hash);
            });
            // A statement for each number of rows would drive the others out of the driver's memory.
            query.build().persistent(rows.len() == 1).execute(&mut **connection).await.map(drop)
        });
        done.map_err(|error| log.failed(error))?;
    }
    Ok(())
}

/// Rows of a lane after a number, in order, at most a page.
pub(super) async fn lane(log: &Database, lane: i16, after: i64) -> Result<Vec<Found<AuditRow>>, DatabaseError> {
    const LANE: &str = rows!("WHERE lane = $1 AND number > $2 ORDER BY number LIMIT $3");
    let rows: Result<Vec<Legible<Row>>, _> = on!(&mut log.read().await?, connection => {
        sqlx::query_as(LANE).bind(lane).bind(after).bind(PAGE).fetch_all(&mut **connection).await
    });
    Ok(rows.map_err(|error| log.failed(error))?.into_iter().map(|row| row.0.map(self::row)).collect())
}

/// One row of a lane.
pub(super) async fn find(log: &Database, lane: i16, number: i64) -> Result<Option<Found<AuditRow>>, DatabaseError> {
    const FIND: &str = rows!("WHERE lane = $1 AND number = $2");
    let found: Result<Option<Legible<Row>>, _> = on!(&mut log.read().await?, connection => {
        sqlx::query_as(FIND).bind(lane).bind(number).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|row| row.0.map(self::row)))
}

/// A row that is in none of the lanes, or has no number there. SQLite keeps fractions and texts as numbers, too.
pub(super) async fn outside(log: &Database) -> Result<Option<i64>, DatabaseError> {
    const OUTSIDE: &str = "SELECT min(id) FROM audit_log WHERE lane < 0 OR lane >= $1 OR number < 1 \
        OR lane <> CAST(lane AS BIGINT) OR number <> CAST(number AS BIGINT)";
    let found: Result<(Option<i64>,), _> = on!(&mut log.read().await?, connection => {
        sqlx::query_as(OUTSIDE).bind(LANES).fetch_one(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.0)
}

/// Rows up to an id that the filter lets through, newest first.
pub(super) async fn page(
    log: &Database,
    filter: &AuditFilter,
    upto: i64,
    most: i64,
) -> Result<Vec<Found<AuditRow>>, DatabaseError> {
    const PAGE: &str = rows!(
        "WHERE id <= $1 AND ($2 IS NULL OR user_id = $2) \
        AND ($3 IS NULL OR action = $3) ORDER BY id DESC LIMIT $4"
    );
    let rows: Result<Vec<Legible<Row>>, _> = on!(&mut log.read().await?, connection => {
        let query = sqlx::query_as(PAGE).bind(upto).bind(&filter.user_id).bind(&filter.action).bind(most);
        query.fetch_all(&mut **connection).await
    });
    Ok(rows.map_err(|error| log.failed(error))?.into_iter().map(|row| row.0.map(self::row)).collect())
}

pub(super) async fn put_checkpoint(
    log: &Database,
    transaction: &mut Transaction,
    checkpoint: &Checkpoint,
) -> Result<(), DatabaseError> {
    const PUT: &str = "INSERT INTO audit_checkpoints (id, \"time\", heads, row_count, signature, public_key) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    let Checkpoint { id, time, heads, rows, signature, public_key } = checkpoint;
    let heads = Json(serde_json::to_value(heads).unwrap_or_default());
    let done = on!(transaction, connection => {
        let query = sqlx::query(PUT).bind(id).bind(time).bind(&heads).bind(rows).bind(signature).bind(public_key);
        query.execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| log.failed(error))
}

pub(super) async fn newest_checkpoint(
    log: &Database,
    transaction: &mut Transaction,
) -> Result<Option<Found<Checkpoint>>, DatabaseError> {
    const NEWEST: &str = checkpoints!("ORDER BY id DESC LIMIT 1");
    let found: Result<Option<Legible<CheckpointRow>>, _> = on!(transaction, connection => {
        sqlx::query_as(NEWEST).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|row| row.0.map(checkpoint)))
}

/// Checkpoints after an id, in order, at most a page.
pub(super) async fn checkpoints(log: &Database, after: i64) -> Result<Vec<Found<Checkpoint>>, DatabaseError> {
    const LIST: &str = checkpoints!("WHERE id > $1 ORDER BY id LIMIT $2");
    let rows: Result<Vec<Legible<CheckpointRow>>, _> = on!(&mut log.read().await?, connection => {
        sqlx::query_as(LIST).bind(after).bind(PAGE).fetch_all(&mut **connection).await
    });
    Ok(rows.map_err(|error| log.failed(error))?.into_iter().map(|row| row.0.map(checkpoint)).collect())
}

fn checkpoint((id, time, heads, rows, signature, public_key): CheckpointRow) -> Checkpoint {
    // Heads that cannot be read are none, and the signature does not fit them.
    Checkpoint { id, time, heads: serde_json::from_value(heads.0).unwrap_or_default(), rows, signature, public_key }
}
