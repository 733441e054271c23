//! The tables of the vault.

use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::{
    model::Timestamp,
    store::{Database, DatabaseError, on},
};

pub(super) async fn insert(vault: &Database, id: Uuid, sealed: &[u8], now: Timestamp) -> Result<(), DatabaseError> {
    const INSERT: &str = "INSERT INTO data_keys (id, sealed, created_at) VALUES ($1, $2, $3)";
    let mut transaction = vault.write().await?;
    let done = on!(&mut transaction, connection => {
        sqlx::query(INSERT).bind(id).bind(sealed).bind(now).execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| vault.failed(error))?;
    vault.commit(transaction).await
}

pub(super) async fn find(vault: &Database, ids: &[Uuid]) -> Result<Vec<(Uuid, Vec<u8>)>, DatabaseError> {
    let mut found = Vec::with_capacity(ids.len());
    let mut reader = vault.read().await?;
    for ids in ids.chunks(500) {
        let rows = on!(&mut reader, connection => {
            let mut query = QueryBuilder::new("SELECT id, sealed FROM data_keys WHERE id IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            query.push(")");
            query.build_query_as().fetch_all(&mut **connection).await
        });
        let rows: Vec<(Uuid, Vec<u8>)> = rows.map_err(|error| vault.failed(error))?;
        found.extend(rows);
    }
    Ok(found)
}

pub(super) async fn delete(vault: &Database, id: Uuid) -> Result<(), DatabaseError> {
    let mut transaction = vault.write().await?;
    let done = on!(&mut transaction, connection => {
        let query = sqlx::query("DELETE FROM data_keys WHERE id = $1").bind(id);
        query.execute(&mut **connection).await.map(drop)
    });
    done.map_err(|error| vault.failed(error))?;
    vault.commit(transaction).await
}

/// Keeps the fingerprint where none is kept; returns the one that is.
pub(super) async fn note_master_key(vault: &Database, fingerprint: &str) -> Result<String, DatabaseError> {
    const NOTE: &str = "INSERT INTO master_key (id, fingerprint) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
    const FIND: &str = "SELECT fingerprint FROM master_key WHERE id = 1";
    let mut transaction = vault.write().await?;
    let found: Result<(String,), _> = on!(&mut transaction, connection => {
        match sqlx::query(NOTE).bind(fingerprint).execute(&mut **connection).await {
            Ok(_) => sqlx::query_as(FIND).fetch_one(&mut **connection).await,
            Err(error) => Err(error),
        }
    });
    let (found,) = found.map_err(|error| vault.failed(error))?;
    vault.commit(transaction).await?;
    Ok(found)
}
