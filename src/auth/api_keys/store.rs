//! The table of API keys.

use super::{ApiKeyDraft, ApiKeyPlace, ApiKeyRecord};
use crate::{
    model::{Role, Timestamp},
    store::{Database, DatabaseError, Transaction, on},
};

/// A record as its row: number, id, name, subject, role, created by and at, expires at, revoked at and by.
type Row =
    (i64, String, String, String, String, String, Timestamp, Option<Timestamp>, Option<Timestamp>, Option<String>);

/// What a key is checked with.
pub(super) struct Kept {
    pub(super) digest: Vec<u8>,
    pub(super) subject: String,
    pub(super) role: Role,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) revoked_at: Option<Timestamp>,
}

/// A new key's row.
pub(super) struct Entry<'a> {
    pub(super) id: &'a str,
    pub(super) digest: &'a [u8; 32],
    pub(super) draft: &'a ApiKeyDraft,
    pub(super) created_by: &'a str,
    pub(super) created_at: Timestamp,
}

pub(super) async fn insert(
    log: &Database,
    transaction: &mut Transaction,
    entry: &Entry<'_>,
) -> Result<(), DatabaseError> {
    const INSERT: &str = "INSERT INTO api_keys \
        (id, name, subject, role, digest, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let Entry { id, digest, draft: ApiKeyDraft { name, subject, role, expires_at }, created_by, created_at } = entry;
    let inserted = on!(transaction, connection => {
        let query = sqlx::query(INSERT).bind(id).bind(name).bind(&**subject).bind(role.to_string());
        let query = query.bind(digest.as_slice()).bind(created_by).bind(created_at).bind(expires_at);
        query.execute(&mut **connection).await.map(drop)
    });
    inserted.map_err(|error| log.failed(error))
}

/// Revokes a key that is not revoked yet.
pub(super) async fn revoke(
    log: &Database,
    transaction: &mut Transaction,
    id: &str,
    by: &str,
    at: Timestamp,
) -> Result<bool, DatabaseError> {
    const REVOKE: &str = "UPDATE api_keys SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL";
    let revoked = on!(transaction, connection => {
        let query = sqlx::query(REVOKE).bind(id).bind(at).bind(by);
        query.execute(&mut **connection).await.map(|done| done.rows_affected())
    });
    Ok(revoked.map_err(|error| log.failed(error))? == 1)
}

const FIND: &str = "SELECT number, id, name, subject, role, created_by, created_at, expires_at, revoked_at, revoked_by \
    FROM api_keys WHERE id = $1";

/// A key as it stands, this change included.
pub(super) async fn find_within(
    log: &Database,
    transaction: &mut Transaction,
    id: &str,
) -> Result<Option<ApiKeyRecord>, DatabaseError> {
    let found: Result<Option<Row>, _> = on!(transaction, connection => {
        sqlx::query_as(FIND).bind(id).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|row| record(row).1))
}

pub(super) async fn find(log: &Database, id: &str) -> Result<Option<ApiKeyRecord>, DatabaseError> {
    let mut reader = log.read().await?;
    let found: Result<Option<Row>, _> = on!(&mut reader, connection => {
        sqlx::query_as(FIND).bind(id).fetch_optional(&mut **connection).await
    });
    Ok(found.map_err(|error| log.failed(error))?.map(|row| record(row).1))
}

/// Keys that come before a place, newest first.
pub(super) async fn list(
    log: &Database,
    before: i64,
    most: i64,
) -> Result<Vec<(ApiKeyPlace, ApiKeyRecord)>, DatabaseError> {
    const LIST: &str = "SELECT number, id, name, subject, role, created_by, created_at, expires_at, revoked_at, \
        revoked_by FROM api_keys WHERE number < $1 ORDER BY number DESC LIMIT $2";
    let mut reader = log.read().await?;
    let rows: Result<Vec<Row>, _> = on!(&mut reader, connection => {
        sqlx::query_as(LIST).bind(before).bind(most).fetch_all(&mut **connection).await
    });
    Ok(rows.map_err(|error| log.failed(error))?.into_iter().map(record).collect())
}

/// What a key of this id is checked with.
pub(super) async fn kept(log: &Database, id: &str) -> Result<Option<Kept>, DatabaseError> {
    const KEPT: &str = "SELECT digest, subject, role, expires_at, revoked_at FROM api_keys WHERE id = $1";
    type Found = (Vec<u8>, String, String, Option<Timestamp>, Option<Timestamp>);
    let mut reader = log.read().await?;
    let found: Result<Option<Found>, _> = on!(&mut reader, connection => {
        sqlx::query_as(KEPT).bind(id).fetch_optional(&mut **connection).await
    });
    let found = found.map_err(|error| log.failed(error))?;
    Ok(found.map(|(digest, subject, role, expires_at, revoked_at)| Kept {
        digest,
        subject,
        role: role_of(&role),
        expires_at,
        revoked_at,
    }))
}

fn record(row: Row) -> (ApiKeyPlace, ApiKeyRecord) {
    let (number, id, name, subject, role, created_by, created_at, expires_at, revoked_at, revoked_by) = row;
    let role = role_of(&role);
    let record = ApiKeyRecord { id, name, subject, role, created_by, created_at, expires_at, revoked_at, revoked_by };
    (ApiKeyPlace(number), record)
}

/// The table holds no other words; if it did, they would grant nothing.
fn role_of(text: &str) -> Role {
    text.parse().unwrap_or(Role::User)
}
