//! A call that is about to be sent, and what the record says of it.

use std::sync::Arc;

use metrics::counter;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::{Run, RunEnd, RunOutcome};
use crate::{
    audit::Entry,
    events::CommandKey,
    model::{Clock, Instant, Origin, Timestamp, without_nul},
};

/// A call that is about to be sent.
#[derive(Debug, Clone)]
pub struct Opening {
    /// By which it shall be known; something new otherwise.
    pub id: Option<Uuid>,
    /// The subject who calls.
    pub user_id: Arc<str>,
    /// The request that it came with.
    pub correlation_id: Arc<str>,
    /// Where that came from.
    pub origin: Origin,
    /// The server's id.
    pub server_id: Uuid,
    /// The server's name.
    pub server: Arc<str>,
    /// The tool's name in its server.
    pub tool: Arc<str>,
    /// How large the arguments are. They are kept nowhere, as they may be secret.
    pub arguments_bytes: u64,
    /// The caller's own name for the call, so that a retry is not sent again.
    pub key: Option<CommandKey>,
}

/// What the record says of a call.
#[derive(Debug)]
pub enum Opened {
    /// It is recorded, and may be sent.
    Fresh(OpenRun),
    /// It was recorded before under the same key, and must not be sent again.
    Repeated(Run),
    /// Another run has the id that it wants. Nothing is recorded.
    IdTaken,
}

/// A call that is recorded and goes on. Dropped, it counts as cancelled.
#[derive(Debug)]
#[must_use = "dropped, the call counts as cancelled"]
pub struct OpenRun {
    id: Uuid,
    opened: Instant,
    ended: bool,
    ends: Ends,
    /// So that the end of the program waits a moment for the end of this.
    _open: TaskTrackerToken,
}

/// Where ends of runs are handed in.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    pub(super) queue: mpsc::Sender<Ended>,
    pub(super) clock: Clock,
}

/// The end of a run.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) id: Uuid,
    pub(super) at: Timestamp,
    pub(super) end: RunEnd,
    /// Nothing was sent, and a retry under the same key is another try.
    pub(super) frees_key: bool,
}

impl Opening {
    /// The row of the audit log.
    pub(super) fn entry(&self, id: Uuid) -> Entry {
        let Self { correlation_id, server_id, server, tool, arguments_bytes, .. } = self;
        let metadata = json!({
            "run": id,
            "serverId": server_id,
            "argumentsBytes": arguments_bytes,
            "request": correlation_id,
        });
        Entry::done("mcp.tool.call", format!("mcp:{server}:{tool}"), metadata)
    }

    /// Under which key nobody else's call is the same.
    pub(super) fn key_of_user(&self) -> Option<(Arc<str>, String)> {
        self.key.as_ref().map(|key| (Arc::clone(&self.user_id), without_nul(key.name())))
    }
}

impl OpenRun {
    pub(super) fn new(id: Uuid, ends: Ends, open: TaskTrackerToken) -> Self {
        Self { id, opened: ends.clock.instant(), ended: false, ends, _open: open }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Says how it ended. Waits for nothing: the record has it a moment later.
    pub fn close(mut self, end: RunEnd) {
        self.end(end);
    }

    fn end(&mut self, end: RunEnd) {
        self.ended = true;
        self.ends.hand_in(self.id, end);
    }
}

impl Drop for OpenRun {
    fn drop(&mut self) {
        if !self.ended {
            let duration = self.ends.clock.instant() - self.opened;
            self.end(RunEnd::plain(RunOutcome::Cancelled, duration));
        }
    }
}

impl Ends {
    fn hand_in(&self, id: Uuid, end: RunEnd) {
        let ended = Ended { id, at: self.clock.now(), end: end.storable(), frees_key: false };
        if self.queue.try_send(ended).is_err() {
            dropped(1);
        }
    }
}

/// Ends that will not be recorded. Their runs are marked later as those of which nobody knows.
pub(super) fn dropped(count: usize) {
    if count > 0 {
        counter!("tidegate_mcp_runs_dropped_total").increment(count as u64);
        tracing::warn!(count, "ends of calls of tools were not recorded");
    }
}
