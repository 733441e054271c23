//! The tables of what was revoked. Whoever writes holds the lock [`LOCK`], so that numbers grow in the order of commits.

use super::mark::Mark;
use crate::{
    model::Timestamp,
    store::{Database, DatabaseError, Transaction, on},
};

/// What is locked before anything is revoked.
pub(super) const LOCK: &str = "auth:revocations";

/// Most rows that one answer of the database carries.
pub(super) const PAGE: i64 = 10_000;

/// A token that counts no more, and when it would have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RevokedToken {
    pub(super) mark: Mark,
    /// Whose it is, where that is known; for people who look into the table.
    pub(super) subject: Option<String>,
    pub(super) expires_at: Timestamp,
}

/// A subject whose older tokens count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RevokedSubject {
    pub(super) subject: String,
    pub(super) issued_before: Timestamp,
}

/// What was revoked, in place of what was known of the same token. Gives it back as it is kept.
pub(super) async fn put_token(
    log: &Database,
    transaction: &mut Transaction,
    token: &RevokedToken,
    now: Timestamp,
) -> Result<RevokedToken, DatabaseError> {
    const FIND: &str = "SELECT expires_at FROM revoked_tokens WHERE mark = $1";
    const DELETE: &str = "DELETE FROM revoked_tokens WHERE mark = $1";
    const INSERT: &str = "INSERT INTO revoked_tokens (mark, subject, expires_at, revoked_at) VALUES ($1, $2, $3, $4)";
    let mark = token.mark.as_slice();
    let known: Result<Option<(Timestamp,)>, _> = on!(transaction, connection => {
        sqlx::query_as(FIND).bind(mark).fetch_optional(&mut **connection).await
    });
    let known = known.map_err(|error| log.failed(error))?.map(|(expires_at,)| expires_at);
    let expires_at = known.map_or(token.expires_at, |known| known.max(token.expires_at));
    let deleted = on!(transaction, connection => {
        sqlx::query(DELETE).bind(mark).execute(&mut **connection).await.map(drop)
    });
    deleted.map_err(|error| log.failed(error))?;
    let inserted = on!(transaction, connection => {
        let query = sqlx::query(INSERT).bind(mark).bind(&token.subject).bind(expires_at).bind(now);
        query.execute(&mut **connection).await.map(drop)
    });
    inserted.map_err(|error| log.failed(error))?;
    Ok(RevokedToken { expires_at, ..token.clone() })
}

/// Like [`put_token`], of a subject.
pub(super) async fn put_subject(
    log: &Database,
    transaction: &mut Transaction,
    revoked: &RevokedSubject,
    now: Timestamp,
) -> Result<RevokedSubject, DatabaseError> {
    const FIND: &str = "SELECT issued_before FROM revoked_subjects WHERE subject = $1";
    const DELETE: &str = "DELETE FROM revoked_subjects WHERE subject = $1";
    const INSERT: &str = "INSERT INTO revoked_subjects (subject, issued_before, revoked_at) VALUES ($1, $2, $3)";
    let subject = revoked.subject.as_str();
    let known: Result<Option<(Timestamp,)>, _> = on!(transaction, connection => {
        sqlx::query_as(FIND).bind(subject).fetch_optional(&mut **connection).await
    });
    let known = known.map_err(|error| log.failed(error))?.map(|(issued_before,)| issued_before);
    let issued_before = known.map_or(revoked.issued_before, |known| known.max(revoked.issued_before));
    let deleted = on!(transaction, connection => {
        sqlx::query(DELETE).bind(subject).execute(&mut **connection).await.map(drop)
    });
    deleted.map_err(|error| log.failed(error))?;
    let inserted = on!(transaction, connection => {
        let query = sqlx::query(INSERT).bind(subject).bind(issued_before).bind(now);
        query.execute(&mut **connection).await.map(drop)
    });
    inserted.map_err(|error| log.failed(error))?;
    Ok(RevokedSubject { subject: revoked.subject.clone(), issued_before })
}

/// Forgets tokens that have ended, and counts what is left: tokens and subjects.
pub(super) async fn tidy(
    log: &Database,
    transaction: &mut Transaction,
    ended: Timestamp,
) -> Result<(i64, i64), DatabaseError> {
    const FORGET: &str = "DELETE FROM revoked_tokens WHERE expires_at < $1";
    const COUNT: &str = "SELECT (SELECT count(*) FROM revoked_tokens), (SELECT count(*) FROM revoked_subjects)";
    let forgotten = on!(transaction, connection => {
        sqlx::query(FORGET).bind(ended).execute(&mut **connection).await.map(drop)
    });
    forgotten.map_err(|error| log.failed(error))?;
    let counts = on!(transaction, connection => sqlx::query_as(COUNT).fetch_one(&mut **connection).await);
    counts.map_err(|error| log.failed(error))
}

/// Tokens revoked after a number, and the number up to which this reaches. At most a page.
pub(super) async fn tokens(log: &Database, after: i64) -> Result<(Vec<RevokedToken>, i64), DatabaseError> {
    const AFTER: &str = "SELECT number, mark, subject, expires_at FROM revoked_tokens \
        WHERE number > $1 ORDER BY number LIMIT $2";
    type Row = (i64, Vec<u8>, Option<String>, Timestamp);
    let mut reader = log.read().await?;
    let rows: Result<Vec<Row>, _> = on!(&mut reader, connection => {
        sqlx::query_as(AFTER).bind(after).bind(PAGE).fetch_all(&mut **connection).await
    });
    let rows = rows.map_err(|error| log.failed(error))?;
    let newest = rows.last().map_or(after, |row| row.0);
    let token = |(_, mark, subject, expires_at): Row| -> Result<_, DatabaseError> {
        let mark = mark.try_into().map_err(|_| DatabaseError::Refused("a mark has not 32 bytes".to_owned()))?;
        Ok(RevokedToken { mark, subject, expires_at })
    };
    Ok((rows.into_iter().map(token).collect::<Result<_, _>>()?, newest))
}

/// Like [`tokens`], of subjects.
pub(super) async fn subjects(log: &Database, after: i64) -> Result<(Vec<RevokedSubject>, i64), DatabaseError> {
    const AFTER: &str =
        "SELECT number, subject, issued_before FROM revoked_subjects WHERE number > $1 ORDER BY number LIMIT $2";
    let mut reader = log.read().await?;
    let rows: Result<Vec<(i64, String, Timestamp)>, _> = on!(&mut reader, connection => {
        sqlx::query_as(AFTER).bind(after).bind(PAGE).fetch_all(&mut **connection).await
    });
    let rows = rows.map_err(|error| log.failed(error))?;
    let newest = rows.last().map_or(after, |row| row.0);
    let subject = |(_, subject, issued_before)| RevokedSubject { subject, issued_before };
    Ok((rows.into_iter().map(subject).collect(), newest))
}
