//! What only PostgreSQL needs: locks, the order of transactions, and word between nodes.
//!
//! Numbers are drawn before transactions commit, so a reader that goes by numbers alone passes over those that are still
//! open, and loses them. Readers go by transaction, and only up to the oldest one that is still open.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, postgres::PgListener};

use super::{
    LogPosition,
    store::{PAGE, Row, events},
};
use crate::model::stable_hash;

const CHANNEL: &str = "tidegate.events";

pub(super) const HEAD: &str = "SELECT transaction_id::text::bigint, position FROM events \
    WHERE transaction_id < pg_snapshot_xmin(pg_current_snapshot()) \
    ORDER BY transaction_id DESC, position DESC LIMIT 1";

/// Takes the locks, in an order that is the same for everybody, until the transaction ends.
///
/// Must come before anything that writes: a row lock would give the transaction its number first, and whoever waits for
/// one would then append under a number that is older than that of the event before.
pub(super) async fn lock(connection: &mut PgConnection, names: &[String]) -> Result<(), sqlx::Error> {
    let mut keys: Vec<i64> = names.iter().map(|name| stable_hash(name.as_bytes()).cast_signed()).collect();
    keys.sort_unstable();
    keys.dedup();
    let query = sqlx::query("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key").bind(keys);
    query.execute(connection).await.map(drop)
}

pub(super) async fn after(connection: &mut PgConnection, place: LogPosition) -> Result<Vec<Row>, sqlx::Error> {
    const AFTER: &str = events!(postgres "WHERE (transaction_id, position) > ($1::text::xid8, $2) \
        AND transaction_id < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY transaction_id, position LIMIT $3");
    let query = sqlx::query_as(AFTER).bind(place.transaction.to_string()).bind(place.number).bind(PAGE);
    query.fetch_all(connection).await
}

/// Tells the other nodes that there is something new. A hint only: whoever misses it looks a little later.
pub(super) async fn notify(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(pool).await.map(drop)
}

/// Hears what other nodes tell.
pub(super) async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// For how long the oldest open transaction has been writing. It holds back everybody who reads the log in order.
pub(super) async fn oldest_writer(pool: &PgPool) -> Result<Duration, sqlx::Error> {
    const OLDEST: &str = "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::double precision \
        FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()";
    let (seconds,): (f64,) = sqlx::query_as(OLDEST).fetch_one(pool).await?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Whether the log holds transactions that this server has not had yet: it was restored from a dump of another one.
/// Their events would be out of sight until the numbers have caught up. Gives all events the number 0, which keeps
/// their order, as numbers within a stream grow.
pub(super) async fn adopt_restored(pool: &PgPool) -> Result<u64, sqlx::Error> {
    const FROM_ELSEWHERE: &str = "SELECT EXISTS (SELECT 1 FROM events \
        WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot()))";
    let (restored,): (bool,) = sqlx::query_as(FROM_ELSEWHERE).fetch_one(pool).await?;
    if !restored {
        return Ok(0);
    }
    let mut transaction = pool.begin().await?;
    sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
    let adopt = "UPDATE events SET transaction_id = '0'::xid8 WHERE transaction_id > '0'::xid8";
    let adopted = sqlx::query(adopt).execute(&mut *transaction).await?.rows_affected();
    transaction.commit().await?;
    Ok(adopted)
}
