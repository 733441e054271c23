//! What becomes of runs that nobody ends, and of old ones.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::time::sleep;

use super::store;
use crate::{
    model::Clock,
    store::{Database, DatabaseError},
};

/// Time between two looks at the runs that are open.
const INTERVAL: Duration = Duration::from_mins(1);
/// Every so many looks old runs are deleted: once an hour.
const LOOKS: u64 = 60;
/// No call takes longer than the longest `call_timeout_ms`, an hour, with what it waits for before and after.
const LONGEST_CALL: TimeDelta = TimeDelta::minutes(70);

/// Keeps the table in order.
pub(super) struct Upkeep {
    pub(super) log: Database,
    pub(super) clock: Clock,
    pub(super) node: Arc<str>,
    /// For how long runs are kept.
    pub(super) retention: TimeDelta,
}

impl Upkeep {
    /// Looks for ever, the first time at once.
    pub(super) async fn look_for_ever(self) {
        let mut looks: u64 = 0;
        loop {
            if let Err(error) = self.give_up().await {
                tracing::debug!(%error, "calls of tools that nobody has ended were not marked");
            }
            if looks.is_multiple_of(LOOKS)
                && let Err(error) = self.delete().await
            {
                tracing::debug!(%error, "old calls of tools were not deleted");
            }
            looks += 1;
            sleep(INTERVAL).await;
        }
    }

    /// Marks the runs that a killed process has left open, and those whose end was lost.
    pub(super) async fn give_up(&self) -> Result<(), DatabaseError> {
        loop {
            let now = self.clock.now();
            let step = async {
                let mut transaction = self.log.write().await?;
                let marked = store::give_up(&self.log, &mut transaction, now - LONGEST_CALL, &self.node, now).await?;
                self.log.commit(transaction).await.map(|()| marked)
            };
            let marked = self.log.within(step).await?;
            if marked == 0 {
                return Ok(());
            }
            tracing::info!(runs = marked, "it is not known how some calls of tools have ended");
        }
    }

    /// Deletes what is older than is kept, a step at a time, so that others get their turn.
    pub(super) async fn delete(&self) -> Result<(), DatabaseError> {
        loop {
            let step = async {
                let mut transaction = self.log.write().await?;
                let before = self.clock.now() - self.retention;
                let deleted = store::delete(&self.log, &mut transaction, before).await?;
                self.log.commit(transaction).await.map(|()| deleted)
            };
            if self.log.within(step).await? == 0 {
                return Ok(());
            }
        }
    }
}
