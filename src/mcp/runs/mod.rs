//! The record of calls of tools: who called what, when, and how it ended.
//!
//! Owns the table of runs, and the rule that nothing is sent to a server before its run and its row of the audit log are
//! committed. Calls that arrive together share a transaction. It must never keep arguments or results, and never hold up
//! the answer of a call. `tests/it/mcp_runs.rs` runs the same bodies on SQLite and PostgreSQL.

mod ledger;
mod opening;
mod run;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::sync::{mpsc, mpsc::error::TrySendError, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{
    ledger::{Ledger, MOST_ENDS, MOST_OPENINGS, Request},
    opening::{Ended, Ends},
    upkeep::Upkeep,
};
use super::McpError;
use crate::{
    audit::Audit,
    config::McpConfig,
    model::{Clock, Principal, Role},
    resilience::CallError,
    store::{Database, DatabaseError},
};

pub use opening::{OpenRun, Opened, Opening};
pub use run::{Run, RunEnd, RunFilter, RunOutcome, RunPage};

/// What the record of calls is kept with.
#[derive(Debug)]
pub struct RunsParts {
    /// Where every call is recorded, too.
    pub audit: Audit,
    /// The log.
    pub log: Database,
    /// The time.
    pub clock: Clock,
    /// What this node is called.
    pub node: String,
}

/// The record of calls. Clones share everything.
#[derive(Debug, Clone)]
pub struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    audit: Audit,
    log: Database,
    /// This life of this node.
    node: Arc<str>,
    openings: mpsc::Sender<Request>,
    ends: Ends,
    /// Until something reads them.
    unread: Mutex<Option<Queues>>,
}

type Queues = (mpsc::Receiver<Request>, mpsc::Receiver<Ended>);

impl Runs {
    /// The record in this store. Nothing is recorded, and so nothing can be called, before it is started.
    #[must_use]
    pub fn new(parts: RunsParts) -> Self {
        let RunsParts { audit, log, clock, node } = parts;
        let (openings, requests) = mpsc::channel(MOST_OPENINGS);
        let (queue, queued) = mpsc::channel(MOST_ENDS);
        // A node may have the same name after a restart.
        let node = format!("{node}/{}", Uuid::now_v7()).into();
        let (ends, unread) = (Ends { queue, clock }, Mutex::new(Some((requests, queued))));
        Self(Arc::new(Shared { audit, log, node, openings, ends, unread }))
    }

    /// Records in the background, until it is told to stop; what is queued then is still written.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken, config: &McpConfig) {
        let Some(queues) = self.0.unread.lock().take() else { return };
        let Shared { audit, log, node, ends, .. } = &*self.0;
        let upkeep = Upkeep {
            log: log.clone(),
            clock: ends.clock.clone(),
            node: Arc::clone(node),
            retention: TimeDelta::days(config.run_days.into()),
        };
        let ledger = Ledger::new(audit.clone(), log.clone(), Arc::clone(node), ends.clone(), queues);
        tasks.spawn(ledger.keep(stop.clone()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(upkeep.look_for_ever()));
    }

    /// Records that a call is about to be sent. Only after this has come back with [`Opened::Fresh`] may it be.
    pub async fn open(&self, opening: Opening) -> Result<Opened, McpError> {
        let server = Arc::clone(&opening.server);
        let (reply, answer) = oneshot::channel();
        let ended = || McpError::from(DatabaseError::Unavailable("calls are recorded no more".to_owned()));
        self.0.openings.try_send(Request { opening, reply }).map_err(|error| match error {
            TrySendError::Full(_) => McpError::Call { server, error: CallError::Saturated },
            TrySendError::Closed(_) => ended(),
        })?;
        Ok(answer.await.map_err(|_| ended())??)
    }

    /// A run that the viewer may see: their own, and all for an ADMIN.
    pub async fn find(&self, id: Uuid, viewer: &Principal) -> Result<Option<Run>, McpError> {
        let found = self.0.log.within(store::find(&self.0.log, id)).await?;
        Ok(found.filter(|run| viewer.role >= Role::Admin || run.user_id == *viewer.subject))
    }

    /// Runs that the filter lets through, before (older than) a number, newest first.
    pub async fn page(&self, filter: &RunFilter, before: Option<i64>, first: usize) -> Result<RunPage, McpError> {
        let most = i64::try_from(first).unwrap_or(i64::MAX).saturating_add(1);
        let filter = filter.storable();
        let page = store::page(&self.0.log, &filter, before.unwrap_or(i64::MAX), most);
        let mut runs = self.0.log.within(page).await?;
        let more = runs.len() > first;
        runs.truncate(first);
        Ok(RunPage { runs, more })
    }
}
