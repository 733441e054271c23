//! The table of runs in the log.

use std::{collections::HashSet, time::Duration};

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Opening, Run, RunFilter, RunOutcome, opening::Ended};
use crate::{
    model::{Timestamp, without_nul},
    store::{Database, DatabaseError, Either, Transaction, on},
};

/// Most rows that one statement puts in or changes.
const MOST_AT_ONCE: usize = 100;

/// A run as its row: see `columns!`.
type Row = (
    i64,
    Uuid,
    String,
    Uuid,
    String,
    String,
    Timestamp,
    Option<Timestamp>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>,
);

/// What is asked of the runs, with the columns of [`Row`] in front.
macro_rules! columns {
    ($which:literal) => {
        concat!(
            "SELECT number, id, user_id, server_id, server, tool, started_at, ended_at, outcome, error_code, message, ",
            "duration_micros, result_bytes, command_key, fingerprint FROM mcp_tool_runs ",
            $which
        )
    };
}

/// A run that was begun under a key.
pub(super) struct Keyed {
    pub(super) run: Run,
    pub(super) key: String,
    pub(super) fingerprint: Vec<u8>,
}

/// Puts in what is about to be sent.
pub(super) async fn insert(
    log: &Database,
    transaction: &mut Transaction,
    openings: &[(Uuid, &Opening)],
    node: &str,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    const INTO: &str = "INSERT INTO mcp_tool_runs \
        (id, user_id, server_id, server, tool, started_at, command_key, fingerprint, node) ";
    for openings in openings.chunks(MOST_AT_ONCE) {
        let done = on!(&mut *transaction, connection => {
            let mut query = QueryBuilder::new(INTO);
            query.push_values(openings, |mut values, (id, opening)| {
                let key = opening.key.as_ref();
                values.push_bind(*id).push_bind(&*opening.user_id).push_bind(opening.server_id);
                values.push_bind(without_nul(&opening.server)).push_bind(without_nul(&opening.tool)).push_bind(now);
                values.push_bind(key.map(|key| without_nul(key.name())));
                values.push_bind(key.map(|key| key.fingerprint().to_vec())).push_bind(node);
            });
            // A statement for each number of rows would drive the others out of the driver's memory.
            query.build().persistent(false).execute(&mut **connection).await.map(drop)
        });
        done.map_err(|error| log.failed(error))?;
    }
    Ok(())
}

/// The runs that were begun under these keys: of which subject, and its name for the call.
pub(super) async fn keyed(
    log: &Database,
    transaction: &mut Transaction,
    keys: &[(&str, String)],
) -> Result<Vec<Keyed>, DatabaseError> {
    let mut found = Vec::new();
    for keys in keys.chunks(MOST_AT_ONCE) {
        let rows: Result<Vec<Row>, _> = on!(&mut *transaction, connection => {
            let mut query = QueryBuilder::new(columns!("WHERE "));
            let mut any = query.separated(" OR ");
            for (user, key) in keys {
                any.push("(user_id = ").push_bind_unseparated(user);
                any.push_unseparated(" AND command_key = ").push_bind_unseparated(key).push_unseparated(")");
            }
            query.build_query_as().persistent(false).fetch_all(&mut **connection).await
        });
        found.extend(rows.map_err(|error| log.failed(error))?.into_iter().map(|row| {
            let (run, key) = run(row);
            let (key, fingerprint) = key.unwrap_or_default();
            Keyed { run, key, fingerprint }
        }));
    }
    Ok(found)
}

/// Which of these ids runs have already.
pub(super) async fn taken(
    log: &Database,
    transaction: &mut Transaction,
    ids: &[Uuid],
) -> Result<HashSet<Uuid>, DatabaseError> {
    let mut taken = HashSet::new();
    for ids in ids.chunks(MOST_AT_ONCE) {
        let found: Result<Vec<(Uuid,)>, _> = on!(&mut *transaction, connection => {
            let mut query = QueryBuilder::new("SELECT id FROM mcp_tool_runs WHERE id IN (");
            let mut any = query.separated(", ");
            for id in ids {
                any.push_bind(*id);
            }
            query.push(")").build_query_as().fetch_all(&mut **connection).await
        });
        taken.extend(found.map_err(|error| log.failed(error))?.into_iter().map(|(id,)| id));
    }
    Ok(taken)
}

/// Says how runs have ended. What was marked as unknown is known after all; another end stays.
pub(super) async fn end(log: &Database, transaction: &mut Transaction, ends: &[Ended]) -> Result<(), DatabaseError> {
    const SET: &str = "UPDATE mcp_tool_runs SET ended_at = ended.column2, outcome = ended.column3, \
        error_code = ended.column4, message = ended.column5, duration_micros = ended.column6, \
        result_bytes = ended.column7, command_key = CASE WHEN ended.column8 THEN NULL ELSE command_key END, \
        fingerprint = CASE WHEN ended.column8 THEN NULL ELSE fingerprint END FROM (";
    const WHERE: &str = ") AS ended WHERE mcp_tool_runs.id = ended.column1 \
        AND (mcp_tool_runs.ended_at IS NULL OR mcp_tool_runs.outcome = 'UNKNOWN')";
    for ends in ends.chunks(MOST_AT_ONCE) {
        let done = on!(&mut *transaction, connection => {
            let mut query = QueryBuilder::new(SET);
            query.push_values(ends, |mut values, Ended { id, at, end, frees_key }| {
                values.push_bind(*id).push_bind(*at).push_bind(end.outcome.as_str());
                values.push_bind(&end.error_code).push_bind(&end.message).push_bind(micros(end.duration));
                values.push_bind(end.result_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
                values.push_bind(*frees_key);
            });
            query.push(WHERE);
            query.build().persistent(false).execute(&mut **connection).await.map(drop)
        });
        done.map_err(|error| log.failed(error))?;
    }
    Ok(())
}

/// Marks some open runs as those of which nobody knows how they ended: those begun before a time, and on SQLite, which is
/// one node's alone, those of its earlier lives. Returns how many.
pub(super) async fn give_up(
    log: &Database,
    transaction: &mut Transaction,
    before: Timestamp,
    node: &str,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    const SQLITE: &str = "UPDATE mcp_tool_runs SET ended_at = $1, outcome = 'UNKNOWN' WHERE number IN \
        (SELECT number FROM mcp_tool_runs WHERE ended_at IS NULL AND (started_at < $2 OR node <> $3) LIMIT $4)";
    // What another node is about to change is passed over, so that none waits for the other.
    const POSTGRES: &str = "UPDATE mcp_tool_runs SET ended_at = $1, outcome = 'UNKNOWN' WHERE number IN \
        (SELECT number FROM mcp_tool_runs WHERE ended_at IS NULL AND started_at < $2 LIMIT $3 FOR UPDATE SKIP LOCKED)";
    let marked = match transaction {
        Either::Sqlite(connection) => {
            let query = sqlx::query(SQLITE).bind(now).bind(before).bind(node).bind(STEP);
            query.execute(&mut **connection).await.map(|done| done.rows_affected())
        }
        Either::Postgres(connection) => {
            let query = sqlx::query(POSTGRES).bind(now).bind(before).bind(STEP);
            query.execute(&mut **connection).await.map(|done| done.rows_affected())
        }
    };
    marked.map_err(|error| log.failed(error))
}

/// How many runs are deleted, or given up, at a time.
const STEP: i64 = 500;

/// Deletes some of the oldest runs, those begun before a time. Returns how many.
pub(super) async fn delete(
    log: &Database,
    transaction: &mut Transaction,
    before: Timestamp,
) -> Result<u64, DatabaseError> {
    const DELETE: &str = "DELETE FROM mcp_tool_runs WHERE started_at < $1 \
        AND number IN (SELECT number FROM mcp_tool_runs ORDER BY number LIMIT $2)";
    let deleted = on!(transaction, connection => {
        let query = sqlx::query(DELETE).bind(before).bind(STEP);
        query.execute(&mut **connection).await.map(|done| done.rows_affected())
    });
    deleted.map_err(|error| log.failed(error))
}

pub(super) async fn find(log: &Database, id: Uuid) -> Result<Option<Run>, DatabaseError> {
    const FIND: &str = columns!("WHERE id = $1");
    let mut reader = log.read().await?;
    let found: Result<Option<Row>, _> = on!(&mut reader, connection => {
        sqlx::query_as(FIND).bind(id).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|row| run(row).0))
}

/// Runs before a place that the filter lets through, newest first.
pub(super) async fn page(
    log: &Database,
    filter: &RunFilter,
    before: i64,
    most: i64,
) -> Result<Vec<Run>, DatabaseError> {
    let RunFilter { user, server, tool, outcome } = filter;
    let outcome = outcome.map(|outcome| outcome.as_str().to_owned());
    let wanted = [("user_id", user), ("server", server), ("tool", tool), ("outcome", &outcome)];
    let rows: Result<Vec<Row>, _> = on!(&mut log.read().await?, connection => {
        let mut query = QueryBuilder::new(columns!("WHERE number < "));
        query.push_bind(before);
        // Only what is asked for is written, so that there is an index for it.
        for (column, value) in wanted {
            if let Some(value) = value {
                query.push(" AND ").push(column).push(" = ").push_bind(value);
            }
        }
        query.push(" ORDER BY number DESC LIMIT ").push_bind(most);
        query.build_query_as().fetch_all(&mut **connection).await
    });
    Ok(rows.map_err(|error| log.failed(error))?.into_iter().map(|row| run(row).0).collect())
}

/// A run, and the key under which it was begun with the fingerprint of the call.
fn run(row: Row) -> (Run, Option<(String, Vec<u8>)>) {
    let (
        number,
        id,
        user_id,
        server_id,
        server,
        tool,
        started_at,
        ended_at,
        outcome,
        error_code,
        message,
        duration,
        result_bytes,
        key,
        fingerprint,
    ) = row;
    let run = Run {
        number,
        id,
        user_id,
        server_id,
        server,
        tool,
        started_at,
        ended_at,
        outcome: outcome.as_deref().and_then(RunOutcome::named),
        error_code,
        message,
        duration: duration.map(|micros| Duration::from_micros(micros.unsigned_abs())),
        result_bytes: result_bytes.map(i64::unsigned_abs),
    };
    (run, key.zip(fingerprint))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
