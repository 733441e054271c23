//! The table of memories in the index.

use uuid::Uuid;

use super::{Memory, memory_index::NAME};
use crate::{
    model::Timestamp,
    store::{Database, DatabaseError, Either, Reader, Transaction, on},
};

/// A memory and its place among those of its owner.
pub(super) type Placed = (i64, Memory);

type Row = (i64, Uuid, String, Timestamp);

/// A row to be added.
pub(super) struct Entry<'a> {
    pub(super) owner: &'a str,
    pub(super) number: i64,
    pub(super) memory: Memory,
}

pub(super) async fn insert(
    index: &Database,
    transaction: &mut Transaction,
    generation: i64,
    entry: &Entry<'_>,
) -> Result<(), DatabaseError> {
    let Entry { owner, number, memory: Memory { id, content, created_at } } = entry;
    let done = match transaction {
        Either::Sqlite(connection) => {
            const ROW: &str = "INSERT INTO memories (generation, id, owner, number, created_at) \
                VALUES ($1, $2, $3, $4, $5) RETURNING row";
            const WORDS: &str = "INSERT INTO memory_words (rowid, content) VALUES ($1, $2)";
            let row = sqlx::query_as(ROW).bind(generation).bind(id).bind(owner).bind(number).bind(created_at);
            match row.fetch_one(&mut **connection).await {
                Ok((row,)) => {
                    let row: i64 = row;
                    sqlx::query(WORDS).bind(row).bind(content).execute(&mut **connection).await.map(drop)
                }
                Err(error) => Err(error),
            }
        }
        Either::Postgres(connection) => {
            const ROW: &str = "INSERT INTO memories (generation, id, owner, number, created_at, content) \
                VALUES ($1, $2, $3, $4, $5, $6)";
            let row = sqlx::query(ROW).bind(generation).bind(id).bind(owner).bind(number).bind(created_at);
            row.bind(content).execute(&mut **connection).await.map(drop)
        }
    };
    done.map_err(|error| index.failed(error))
}

pub(super) async fn delete(
    index: &Database,
    transaction: &mut Transaction,
    generation: i64,
    id: Uuid,
) -> Result<(), DatabaseError> {
    const WORDS: &str = "DELETE FROM memory_words WHERE rowid = \
        (SELECT row FROM memories WHERE generation = $1 AND id = $2)";
    const ROW: &str = "DELETE FROM memories WHERE generation = $1 AND id = $2";
    let words = match transaction {
        Either::Sqlite(connection) => {
            sqlx::query(WORDS).bind(generation).bind(id).execute(&mut **connection).await.map(drop)
        }
        Either::Postgres(_) => Ok(()),
    };
    words.map_err(|error| index.failed(error))?;
    let row = on!(transaction, connection => {
        sqlx::query(ROW).bind(generation).bind(id).execute(&mut **connection).await.map(drop)
    });
    row.map_err(|error| index.failed(error))
}

pub(super) async fn clear(
    index: &Database,
    transaction: &mut Transaction,
    generation: i64,
) -> Result<(), DatabaseError> {
    const WORDS: &str = "DELETE FROM memory_words WHERE rowid IN (SELECT row FROM memories WHERE generation = $1)";
    let words = match transaction {
        Either::Sqlite(connection) => sqlx::query(WORDS).bind(generation).execute(&mut **connection).await.map(drop),
        Either::Postgres(_) => Ok(()),
    };
    words.map_err(|error| index.failed(error))?;
    let rows = on!(transaction, connection => {
        let query = sqlx::query("DELETE FROM memories WHERE generation = $1").bind(generation);
        query.execute(&mut **connection).await.map(drop)
    });
    rows.map_err(|error| index.failed(error))
}

/// The memories of an owner that come before a place, newest first.
pub(super) async fn list(index: &Database, owner: &str, before: i64, most: i64) -> Result<Vec<Placed>, DatabaseError> {
    let rows: Result<Vec<Row>, _> = match &mut index.read().await? {
        Either::Sqlite(connection) => {
            const LIST: &str = "SELECT number, id, content, created_at FROM memories \
                JOIN memory_words ON memory_words.rowid = row \
                WHERE generation = (SELECT generation FROM projections WHERE name = $1 AND active) \
                AND owner = $2 AND number < $3 ORDER BY number DESC LIMIT $4";
            let query = sqlx::query_as(LIST).bind(NAME).bind(owner).bind(before).bind(most);
            query.fetch_all(&mut **connection).await
        }
        Either::Postgres(connection) => {
            const LIST: &str = "SELECT number, id, content, created_at FROM memories \
                WHERE generation = (SELECT generation FROM projections WHERE name = $1 AND active) \
                AND owner = $2 AND number < $3 ORDER BY number DESC LIMIT $4";
            let query = sqlx::query_as(LIST).bind(NAME).bind(owner).bind(before).bind(most);
            query.fetch_all(&mut **connection).await
        }
    };
    placed(index, rows)
}

/// Like [`list`], only those that hold all of the words.
pub(super) async fn search(
    index: &Database,
    owner: &str,
    words: &[&str],
    before: i64,
    most: i64,
) -> Result<Vec<Placed>, DatabaseError> {
    let rows: Result<Vec<Row>, _> = match &mut index.read().await? {
        Either::Sqlite(connection) => {
            const SEARCH: &str = "SELECT number, id, content, created_at FROM memory_words \
                JOIN memories ON row = memory_words.rowid WHERE memory_words MATCH $5 \
                AND generation = (SELECT generation FROM projections WHERE name = $1 AND active) \
                AND owner = $2 AND number < $3 ORDER BY number DESC LIMIT $4";
            // In quotes, so that nothing in them is an operator.
            let all: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let query = sqlx::query_as(SEARCH).bind(NAME).bind(owner).bind(before).bind(most).bind(all.join(" "));
            query.fetch_all(&mut **connection).await
        }
        Either::Postgres(connection) => {
            const SEARCH: &str = "SELECT number, id, content, created_at FROM memories \
                WHERE words @@ plainto_tsquery('english', $5) \
                AND generation = (SELECT generation FROM projections WHERE name = $1 AND active) \
                AND owner = $2 AND number < $3 ORDER BY number DESC LIMIT $4";
            let query = sqlx::query_as(SEARCH).bind(NAME).bind(owner).bind(before).bind(most).bind(words.join(" "));
            query.fetch_all(&mut **connection).await
        }
    };
    placed(index, rows)
}

/// How many memories an owner keeps.
pub(super) async fn count(index: &Database, owner: &str) -> Result<i64, DatabaseError> {
    const COUNT: &str = "SELECT count(*) FROM memories \
        WHERE generation = (SELECT generation FROM projections WHERE name = $1 AND active) AND owner = $2";
    let mut reader: Reader = index.read().await?;
    let found: Result<(i64,), _> = on!(&mut reader, connection => {
        sqlx::query_as(COUNT).bind(NAME).bind(owner).fetch_one(&mut **connection).await
    });
    found.map(|(count,)| count).map_err(|error| index.failed(error))
}

fn placed(index: &Database, rows: Result<Vec<Row>, sqlx::Error>) -> Result<Vec<Placed>, DatabaseError> {
    let placed = |(number, id, content, created_at)| (number, Memory { id, content, created_at });
    Ok(rows.map_err(|error| index.failed(error))?.into_iter().map(placed).collect())
}
