//! The tables of second factors and recovery codes. Whoever changes them holds the lock of the subject.

use super::{EnrolledAt, RecoveryHash, Step};
use crate::{
    model::Timestamp,
    store::{Database, DatabaseError, Transaction, on},
};

/// What is kept of a subject's second factor.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The sealed secret that counts.
    pub(super) secret: Option<Vec<u8>>,
    /// Since when it counts.
    pub(super) enrolled: Option<EnrolledAt>,
    /// The sealed secret that will, once a code of it was shown.
    pub(super) pending: Option<Vec<u8>>,
    pub(super) last_used: Option<Step>,
}

/// Since when a subject has a second factor that counts, if it has one.
pub(super) async fn enrolled(log: &Database, subject: &str) -> Result<Option<EnrolledAt>, DatabaseError> {
    const FIND: &str = "SELECT confirmed_at FROM second_factors WHERE subject = $1 AND secret IS NOT NULL";
    let mut reader = log.read().await?;
    let found: Result<Option<(Timestamp,)>, _> = on!(&mut reader, connection => {
        sqlx::query_as(FIND).bind(subject).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|(at,)| EnrolledAt(at)))
}

pub(super) async fn find(log: &Database, transaction: &mut Transaction, subject: &str) -> Result<Kept, DatabaseError> {
    const FIND: &str =
        "SELECT secret, confirmed_at, pending_secret, last_used_step FROM second_factors WHERE subject = $1";
    type Row = (Option<Vec<u8>>, Option<Timestamp>, Option<Vec<u8>>, Option<i64>);
    let found: Result<Option<Row>, _> = on!(transaction, connection => {
        sqlx::query_as(FIND).bind(subject).fetch_optional(&mut **connection).await
    });
    let (secret, confirmed_at, pending, last_used) = found.map_err(|error| log.failed(error))?.unwrap_or_default();
    Ok(Kept { secret, enrolled: confirmed_at.map(EnrolledAt), pending, last_used })
}

/// Keeps a secret that does not count yet, in place of another one that does not.
pub(super) async fn put_pending(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
    sealed: &[u8],
    now: Timestamp,
) -> Result<(), DatabaseError> {
    const PUT: &str = "INSERT INTO second_factors (subject, pending_secret, created_at) VALUES ($1, $2, $3) \
        ON CONFLICT (subject) DO UPDATE SET pending_secret = excluded.pending_secret, created_at = excluded.created_at";
    let put = on!(transaction, connection => {
        sqlx::query(PUT).bind(subject).bind(sealed).bind(now).execute(&mut **connection).await.map(drop)
    });
    put.map_err(|error| log.failed(error))
}

/// Lets the pending secret count. The code that proved it is used up.
pub(super) async fn confirm(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
    used: Step,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    const CONFIRM: &str = "UPDATE second_factors SET secret = pending_secret, pending_secret = NULL, \
        confirmed_at = $2, last_used_step = $3 WHERE subject = $1 AND pending_secret IS NOT NULL";
    let confirmed = on!(transaction, connection => {
        let query = sqlx::query(CONFIRM).bind(subject).bind(now).bind(used);
        query.execute(&mut **connection).await.map(|done| done.rows_affected())
    });
    Ok(confirmed.map_err(|error| log.failed(error))? == 1)
}

/// Uses a step up, unless it or a later one was used.
pub(super) async fn use_step(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
    step: Step,
) -> Result<bool, DatabaseError> {
    const USE: &str = "UPDATE second_factors SET last_used_step = $2 WHERE subject = $1 AND last_used_step < $2";
    let used = on!(transaction, connection => {
        let query = sqlx::query(USE).bind(subject).bind(step);
        query.execute(&mut **connection).await.map(|done| done.rows_affected())
    });
    Ok(used.map_err(|error| log.failed(error))? == 1)
}

/// The numbers and hashes of the recovery codes that a subject has left.
pub(super) async fn recovery_codes(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
) -> Result<Vec<(i32, Vec<u8>)>, DatabaseError> {
    const LEFT: &str = "SELECT number, hash FROM recovery_codes WHERE subject = $1 AND used_at IS NULL ORDER BY number";
    let left = on!(transaction, connection => {
        sqlx::query_as(LEFT).bind(subject).fetch_all(&mut **connection).await
    });
    left.map_err(|error| log.failed(error))
}

/// Gives a subject recovery codes, in place of all that it has.
pub(super) async fn put_recovery_codes(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
    hashes: &[RecoveryHash],
) -> Result<(), DatabaseError> {
    const DELETE: &str = "DELETE FROM recovery_codes WHERE subject = $1";
    const INSERT: &str = "INSERT INTO recovery_codes (subject, number, hash) VALUES ($1, $2, $3)";
    let deleted = on!(transaction, connection => {
        sqlx::query(DELETE).bind(subject).execute(&mut **connection).await.map(drop)
    });
    deleted.map_err(|error| log.failed(error))?;
    for (number, hash) in (1_i32..).zip(hashes) {
        let inserted = on!(transaction, connection => {
            let query = sqlx::query(INSERT).bind(subject).bind(number).bind(hash.as_slice());
            query.execute(&mut **connection).await.map(drop)
        });
        inserted.map_err(|error| log.failed(error))?;
    }
    Ok(())
}

/// Uses a recovery code up, unless it was used.
pub(super) async fn use_recovery_code(
    log: &Database,
    transaction: &mut Transaction,
    subject: &str,
    number: i32,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    const USE: &str = "UPDATE recovery_codes SET used_at = $3 WHERE subject = $1 AND number = $2 AND used_at IS NULL";
    let used = on!(transaction, connection => {
        let query = sqlx::query(USE).bind(subject).bind(number).bind(now);
        query.execute(&mut **connection).await.map(|done| done.rows_affected())
    });
    Ok(used.map_err(|error| log.failed(error))? == 1)
}

/// Takes a subject's second factor away, with its recovery codes.
pub(super) async fn delete(log: &Database, transaction: &mut Transaction, subject: &str) -> Result<(), DatabaseError> {
    for statement in ["DELETE FROM recovery_codes WHERE subject = $1", "DELETE FROM second_factors WHERE subject = $1"]
    {
        let deleted = on!(transaction, connection => {
            sqlx::query(statement).bind(subject).execute(&mut **connection).await.map(drop)
        });
        deleted.map_err(|error| log.failed(error))?;
    }
    Ok(())
}
