//! Looks at the stores at every heartbeat, and at once when somebody has met a failure.
//!
//! While all is well the look is a question that writes nothing. After a failure it writes, because a full disk says so
//! to nobody else.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Database, DatabaseError, DatabaseOpenError, DatabaseState, Either, Role, Stores, on};

/// Watches for ever.
pub(super) async fn watch(stores: Stores, heartbeat: Duration, migrate: bool) {
    let mut opened = stores.health.is_up();
    loop {
        tokio::select! {
            () = sleep(heartbeat) => {}
            () = stores.health.suspected() => {
                // Failures come in crowds; one look answers for all of them.
                sleep(heartbeat / 10).await;
            }
        }
        let found = if opened { look(&stores).await } else { open(&stores, migrate, &mut opened).await };
        match found {
            Ok(()) => stores.health.set(&DatabaseState::Up),
            Err(error) => stores.health.set(&DatabaseState::Down(error)),
        }
    }
}

/// The start found no server: tries again what it would have done.
async fn open(stores: &Stores, migrate: bool, opened: &mut bool) -> Result<(), DatabaseError> {
    match stores.migrate(migrate).await {
        Ok(_) => {
            *opened = true;
            Ok(())
        }
        Err(DatabaseOpenError::Open { source, .. }) => Err(source),
        Err(other) => Err(DatabaseError::Unavailable(other.to_string())),
    }
}

async fn look(stores: &Stores) -> Result<(), DatabaseError> {
    let must_write = !stores.health.is_up();
    for store in [&stores.log, &stores.index, &stores.vault] {
        if let Either::Sqlite(file) = &store.0.place {
            file.reopen_if_changed();
        }
        let looked = async { if must_write { try_writing(store).await } else { ask(store).await } };
        let found = timeout(store.0.deadline, looked).await.unwrap_or(Err(DatabaseError::TimedOut));
        if let (Err(DatabaseError::ReadOnly), Either::Sqlite(file)) = (&found, &store.0.place) {
            file.renew();
        }
        found.map_err(as_outage)?;
    }
    Ok(())
}

/// Who does not answer a heartbeat is away.
fn as_outage(error: DatabaseError) -> DatabaseError {
    match error {
        DatabaseError::TimedOut => DatabaseError::Unavailable("it does not answer".to_owned()),
        DatabaseError::Taken | DatabaseError::Refused(_) => DatabaseError::Unavailable(error.to_string()),
        outage => outage,
    }
}

/// Whether it answers, and would let us write.
async fn ask(store: &Database) -> Result<(), DatabaseError> {
    match &store.0.place {
        Either::Sqlite(_) => {
            // Takes the writer's lock and gives it back.
            let transaction = store.write_anyway().await?;
            on!(transaction, transaction => transaction.rollback().await)?;
        }
        Either::Postgres(server) => {
            let setting = "SELECT current_setting('transaction_read_only')";
            let (read_only,): (String,) = sqlx::query_as(setting).fetch_one(&server.pool).await?;
            if read_only == "on" {
                return Err(DatabaseError::ReadOnly);
            }
        }
    }
    Ok(())
}

async fn try_writing(store: &Database) -> Result<(), DatabaseError> {
    // The index on PostgreSQL shares the log's disk and its row.
    let statement = match (store.0.role, &store.0.place) {
        (Role::Vault, _) => {
            "INSERT INTO vault_heartbeat (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
        }
        _ => "INSERT INTO heartbeat (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
    };
    let now = store.0.clock.now();
    let mut transaction = store.write_anyway().await?;
    on!(&mut transaction, transaction => sqlx::query(statement).bind(now).execute(&mut **transaction).await.map(drop))?;
    store.commit(transaction).await
}
