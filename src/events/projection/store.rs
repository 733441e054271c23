//! The table of places up to which projections have read.

use uuid::Uuid;

use crate::{
    events::LogPosition,
    store::{Database, DatabaseError, Transaction, on},
};

/// A generation of a projection, and up to where it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) generation: i64,
    pub(super) active: bool,
    pub(super) place: LogPosition,
    /// Whether deleted rows may still be readable in the database's files.
    pub(super) owes_scrub: bool,
    /// The event at the place, by which one log is told from another.
    pub(super) last_event: Option<Uuid>,
}

/// The generations of a projection, locked. The first one is made where there is none.
pub(super) async fn checkpoints(
    index: &Database,
    transaction: &mut Transaction,
    name: &'static str,
) -> Result<Vec<Checkpoint>, DatabaseError> {
    const FIRST: &str = "INSERT INTO projections (name, generation, active, transaction_id, position) \
        SELECT $1, 1, true, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM projections WHERE name = $1) \
        ON CONFLICT (name, generation) DO NOTHING";
    const FIND: &str = "SELECT generation, active, transaction_id, position, owes_scrub, last_event FROM projections \
        WHERE name = $1 ORDER BY generation";
    const FIND_LOCKED: &str = "SELECT generation, active, transaction_id, position, owes_scrub, last_event FROM projections \
        WHERE name = $1 ORDER BY generation FOR UPDATE";
    type Row = (i64, bool, i64, i64, bool, Option<Uuid>);
    let made = on!(&mut *transaction, connection => {
        sqlx::query(FIRST).bind(name).execute(&mut **connection).await.map(drop)
    });
    made.map_err(|error| index.failed(error))?;
    // A writer of SQLite is alone anyway.
    let find = if matches!(transaction, Transaction::Sqlite(_)) { FIND } else { FIND_LOCKED };
    let rows: Result<Vec<Row>, _> = on!(transaction, connection => {
        sqlx::query_as(find).bind(name).fetch_all(&mut **connection).await
    });
    let rows = rows.map_err(|error| index.failed(error))?;
    let checkpoint = |(generation, active, transaction, number, owes_scrub, last_event): Row| Checkpoint {
        generation,
        active,
        place: LogPosition { transaction, number },
        owes_scrub,
        last_event,
    };
    Ok(rows.into_iter().map(checkpoint).collect())
}

pub(super) async fn put(
    index: &Database,
    transaction: &mut Transaction,
    name: &'static str,
    checkpoint: Checkpoint,
) -> Result<(), DatabaseError> {
    const PUT: &str = "INSERT INTO projections \
        (name, generation, active, transaction_id, position, owes_scrub, last_event) VALUES ($1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (name, generation) DO UPDATE SET active = excluded.active, \
        transaction_id = excluded.transaction_id, position = excluded.position, owes_scrub = excluded.owes_scrub, \
        last_event = excluded.last_event";
    let Checkpoint { generation, active, place, owes_scrub, last_event } = checkpoint;
    let put = on!(transaction, connection => {
        let query = sqlx::query(PUT).bind(name).bind(generation).bind(active).bind(place.transaction);
        query.bind(place.number).bind(owes_scrub).bind(last_event).execute(&mut **connection).await.map(drop)
    });
    put.map_err(|error| index.failed(error))
}

/// Notes that nothing deleted is readable of a generation as it was at this checkpoint. It owes a scrub still if somebody
/// has deleted more since.
pub(super) async fn put_scrubbed(
    index: &Database,
    transaction: &mut Transaction,
    name: &'static str,
    checkpoint: &Checkpoint,
) -> Result<(), DatabaseError> {
    const PUT: &str = "UPDATE projections SET owes_scrub = false \
        WHERE name = $1 AND generation = $2 AND transaction_id = $3 AND position = $4";
    let Checkpoint { generation, place, .. } = checkpoint;
    let put = on!(transaction, connection => {
        let query = sqlx::query(PUT).bind(name).bind(generation).bind(place.transaction).bind(place.number);
        query.execute(&mut **connection).await.map(drop)
    });
    put.map_err(|error| index.failed(error))
}

pub(super) async fn delete(
    index: &Database,
    transaction: &mut Transaction,
    name: &'static str,
    generation: i64,
) -> Result<(), DatabaseError> {
    const DELETE: &str = "DELETE FROM projections WHERE name = $1 AND generation = $2";
    let deleted = on!(transaction, connection => {
        sqlx::query(DELETE).bind(name).bind(generation).execute(&mut **connection).await.map(drop)
    });
    deleted.map_err(|error| index.failed(error))
}
