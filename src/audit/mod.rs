//! Who did what: a row for every change, in the transaction of that change, chained so that tampering is found.
//!
//! Owns the chains, the signed checkpoints, and their inspection. It must never hold a secret, never change or delete a
//! row, and does not decide what is worth recording: the rooms that change something do. There are several chains
//! (lanes), as whoever writes to one holds it until the transaction ends. `tests/it/audit_log.rs` tampers with all of it.

mod checkpoint;
mod entry;
mod row;
mod store;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use metrics::counter;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    checkpoint::{Checkpoint, Head, hex},
    row::{LANES, ORIGIN, lane_of},
    store::Unreadable,
};
use crate::{
    config::AuditConfig,
    events::{Begun, Command, Events, EventsError, Work},
    model::{Origin, without_nul},
    secrets::{MasterKey, PublicKey, Signer},
    store::{Database, DatabaseError},
};

pub use entry::{AuditResult, Deed, Entry};
pub use row::AuditRow;
pub use verify::{Flaw, Verdict};

/// The name under which checkpoints are begun.
const SYSTEM: &str = "tidegate";

/// The audit log. Clones share everything.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    events: Events,
    log: Database,
    signer: Signer,
    interval: Duration,
}

/// Which rows are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of this subject.
    pub user_id: Option<String>,
    /// Only of this kind.
    pub action: Option<String>,
}

/// Some rows, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The rows.
    pub rows: Vec<AuditRow>,
    /// Whether there are older ones.
    pub more: bool,
}

impl Audit {
    /// The audit log in this store; checkpoints are signed with a key that is derived from the master key.
    #[must_use]
    pub fn new(events: Events, log: Database, master_key: &MasterKey, config: &AuditConfig) -> Self {
        let signer = Signer::new(&master_key.derive("audit/checkpoint"));
        let interval = Duration::from_secs(config.checkpoint_seconds);
        Self(Arc::new(Shared { events, log, signer, interval }))
    }

    /// Signs checkpoints in the background.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.clone().sign_for_ever()));
    }

    /// Begins a change that is to be recorded, of what the locks name. Holds the lane of the command's subject, too.
    pub async fn begin(&self, command: Command, locks: &[String]) -> Result<Begun, EventsError> {
        let subject = Arc::clone(&command.user_id);
        self.begin_for(command, &[&subject], locks).await
    }

    /// Begins what several subjects do in one transaction. Holds the lanes of all of them, so who writes to them does so
    /// one after the other, on all nodes.
    pub async fn begin_for(&self, command: Command, subjects: &[&str], locks: &[String]) -> Result<Begun, EventsError> {
        let lanes: BTreeSet<i16> = subjects.iter().map(|subject| lane_of(subject)).collect();
        let lanes = lanes.into_iter().map(|lane| format!("audit:{lane}"));
        let locks: Vec<String> = locks.iter().cloned().chain(lanes).collect();
        self.0.events.begin(command, &locks).await
    }

    /// Records what is done in this transaction, which [`begin`](Self::begin) has begun.
    pub async fn record(&self, work: &mut Work, origin: &Origin, entry: Entry) -> Result<(), EventsError> {
        let subject = Arc::clone(&work.command().user_id);
        self.record_all(work, vec![Deed { subject: &subject, origin, entry }]).await
    }

    /// Records what several subjects do in this transaction, which [`begin_for`](Self::begin_for) has begun for all of
    /// them. However many they are, each lane is looked at once.
    pub async fn record_all(&self, work: &mut Work, deeds: Vec<Deed<'_>>) -> Result<(), EventsError> {
        let time = work.now();
        let (log, transaction) = work.transaction();
        let ids = store::next_ids(log, transaction, deeds.len()).await?;
        let (mut heads, mut rows) = (HashMap::new(), Vec::with_capacity(deeds.len()));
        for (id, deed) in ids.into_iter().zip(deeds) {
            let lane = lane_of(deed.subject);
            let head = match heads.entry(lane) {
                hash_map::Entry::Occupied(known) => known.into_mut(),
                hash_map::Entry::Vacant(unknown) => {
                    let found = store::head(log, transaction, lane).await?;
                    unknown.insert(found.unwrap_or_else(|| (0, ORIGIN.to_vec())))
                }
            };
            let row = AuditRow::following(head, id, lane, time, deed);
            *head = (row.number, row.hash.clone());
            rows.push(row);
        }
        store::insert(log, transaction, &rows).await?;
        for AuditRow { action, result, .. } in rows {
            counter!("tidegate_audit_rows_total", "action" => action, "result" => result).increment(1);
        }
        Ok(())
    }

    /// Records what has no transaction of its own: what was refused, and what is kept elsewhere.
    pub async fn record_alone(&self, command: Command, origin: &Origin, entry: Entry) -> Result<(), EventsError> {
        // The key belongs to the change, which did not come about.
        let command = Command { key: None, ..command };
        let recorded = async {
            if let Begun::Fresh(mut work) = self.begin(command, &[]).await? {
                self.record(&mut work, origin, entry).await?;
                work.commit(Value::Null).await?;
            }
            Ok(())
        };
        self.0.events.within(recorded).await
    }

    /// Rows that the filter lets through, before (older than) an id, newest first. What cannot be read is left out.
    pub async fn page(
        &self,
        filter: &AuditFilter,
        before: Option<i64>,
        first: usize,
    ) -> Result<AuditPage, DatabaseError> {
        let most = i64::try_from(first).unwrap_or(i64::MAX).saturating_add(1);
        // As it would be kept: no text in the database has a NUL character, and PostgreSQL refuses to look for one.
        let storable = |text: &Option<String>| text.as_deref().map(without_nul);
        let filter = AuditFilter { user_id: storable(&filter.user_id), action: storable(&filter.action) };
        let mut upto = before.map_or(i64::MAX, |before| before.saturating_sub(1));
        let found = async {
            let mut rows = Vec::new();
            loop {
                let found = store::page(&self.0.log, &filter, upto, most).await?;
                let is_end = found.len() <= first;
                for row in found {
                    upto = row.as_ref().map_or_else(|bad| bad.id, |row| row.id).saturating_sub(1);
                    match row {
                        Ok(row) => rows.push(row),
                        Err(Unreadable { id, column }) => {
                            tracing::warn!(id, column, "a row of the audit log cannot be read: run audit verify");
                        }
                    }
                }
                if is_end || rows.len() > first {
                    return Ok::<_, DatabaseError>(rows);
                }
            }
        };
        let mut rows = self.0.log.within(found).await?;
        let more = rows.len() > first;
        rows.truncate(first);
        Ok(AuditPage { rows, more })
    }

    /// What checkpoints are signed with. Keep it elsewhere: it tells ours from those of whoever has the database.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.signer.public_key()
    }

    /// Signs how far the lanes have come, if any has moved since the last time and no node did in this interval; says
    /// whether it did.
    pub async fn sign_checkpoint(&self) -> Result<bool, EventsError> {
        let command = Command { user_id: SYSTEM.into(), correlation_id: SYSTEM.into(), causation_id: None, key: None };
        let signed = async {
            let locks = ["audit:checkpoint".to_owned()];
            let Begun::Fresh(mut work) = self.0.events.begin(command, &locks).await? else { return Ok(false) };
            let time = work.now();
            let (log, transaction) = work.transaction();
            let Ok(before) = store::newest_checkpoint(log, transaction).await?.transpose() else {
                return Ok(not_vouched_for());
            };
            if before.as_ref().is_some_and(|before| before.is_younger(self.0.interval, time)) {
                return Ok(false);
            }
            let mut heads = BTreeMap::new();
            for lane in 0..LANES {
                if let Some((number, hash)) = store::head(log, transaction, lane).await? {
                    heads.insert(lane, Head { number, hash: hex(&hash) });
                }
            }
            if before.as_ref().map_or(heads.is_empty(), |before| before.heads == heads) {
                return Ok(false);
            }
            if let Some(before) = &before
                && !self.astray(before, None).await?.is_empty()
            {
                return Ok(not_vouched_for());
            }
            let Some(checkpoint) = Checkpoint::sign(&self.0.signer, before.as_ref(), time, heads) else {
                return Ok(not_vouched_for());
            };
            store::put_checkpoint(log, transaction, &checkpoint).await?;
            work.commit(Value::Null).await?;
            counter!("tidegate_audit_checkpoints_total").increment(1);
            Ok(true)
        };
        self.0.events.within(signed).await
    }

    async fn sign_for_ever(self) {
        loop {
            sleep(self.0.interval).await;
            if let Err(error) = self.sign_checkpoint().await {
                tracing::warn!(%error, "no checkpoint of the audit log was signed");
            }
        }
    }

    fn log(&self) -> &Database {
        &self.0.log
    }
}

/// What was tampered with gets no checkpoint: it would be sound ever after.
fn not_vouched_for() -> bool {
    tracing::error!("the audit log was tampered with and is not vouched for: run audit verify");
    false
}
