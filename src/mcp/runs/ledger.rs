//! The one task that writes the record: whoever comes while it writes shares the next transaction.
//!
//! An opening is answered after its run and its row of the audit log are committed, and not before. An end waits for no
//! answer, so it goes along with the openings that come next, or alone after a moment.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::FutureExt;
use metrics::{Histogram, counter, histogram};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    OpenRun, Opened, Opening, Run, RunEnd, RunOutcome,
    opening::{Ended, Ends, dropped},
    store,
};
use crate::{
    audit::{Audit, Deed},
    events::{Begun, Command, EventsError, Work},
    model::Instant,
    store::{Database, DatabaseError},
};

/// Openings that may wait to be written; more are refused.
pub(super) const MOST_OPENINGS: usize = 1_024;
/// Ends that may wait to be written; more are dropped, and counted.
pub(super) const MOST_ENDS: usize = 4_096;
/// Most openings, and most ends, in one transaction.
const BATCH: usize = 256;
/// So long an end waits for openings with which it can be written.
const LINGER: Duration = Duration::from_millis(20);
/// So long ends wait after they could not be written.
const PAUSE: Duration = Duration::from_millis(500);
/// So long the end of the program waits for the ends of runs.
const GRACE: Duration = Duration::from_secs(1);
/// The name under which the transactions are begun.
const SYSTEM: &str = "tidegate";

/// What is to be opened, and who waits for it.
pub(super) struct Request {
    pub(super) opening: Opening,
    pub(super) reply: oneshot::Sender<Result<Opened, EventsError>>,
}

/// What becomes of an opening once its transaction is committed.
enum Decision {
    Fresh(Uuid),
    Repeated(Box<Run>),
    KeyReused,
    /// Another run has the id that this one wants.
    IdTaken,
}

/// Writes the record.
pub(super) struct Ledger {
    audit: Audit,
    log: Database,
    node: Arc<str>,
    openings: mpsc::Receiver<Request>,
    queued: mpsc::Receiver<Ended>,
    ends: Ends,
    /// The runs that go on.
    open: TaskTracker,
    waiting: Vec<Request>,
    ended: Vec<Ended>,
    /// When `ended` is written even if nothing is opened.
    due: Instant,
    sizes: Histogram,
}

impl Ledger {
    pub(super) fn new(
        audit: Audit,
        log: Database,
        node: Arc<str>,
        ends: Ends,
        (openings, queued): (mpsc::Receiver<Request>, mpsc::Receiver<Ended>),
    ) -> Self {
        let (due, sizes) = (ends.clock.instant(), histogram!("tidegate_mcp_run_batch_size"));
        let (open, waiting, ended) = (TaskTracker::new(), Vec::new(), Vec::new());
        Self { audit, log, node, openings, queued, ends, open, waiting, ended, due, sizes }
    }

    /// Writes until the node stops, and then what is still queued.
    pub(super) async fn keep(mut self, stop: CancellationToken) {
        while self.gather(&stop).await {
            self.write().await;
        }
        self.finish().await;
    }

    /// Waits until there is something to be written at once. False when the node stops.
    async fn gather(&mut self, stop: &CancellationToken) -> bool {
        while self.waiting.is_empty() {
            let was_empty = self.ended.is_empty();
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                received = self.openings.recv_many(&mut self.waiting, BATCH) => {
                    if received == 0 {
                        return false;
                    }
                }
                _ = self.queued.recv_many(&mut self.ended, BATCH), if self.ended.len() < MOST_ENDS => {
                    if was_empty {
                        self.due = self.ends.clock.instant() + LINGER;
                    }
                }
                () = sleep_until(self.due), if !was_empty => break,
            }
        }
        true
    }

    /// Writes some of what waits, and answers. False where nothing was written.
    async fn write(&mut self) -> bool {
        while self.waiting.len() < BATCH
            && let Ok(request) = self.openings.try_recv()
        {
            self.waiting.push(request);
        }
        while self.ended.len() < BATCH
            && let Ok(ended) = self.queued.try_recv()
        {
            self.ended.push(ended);
        }
        let batch = self.next_batch();
        let ends: Vec<Ended> = self.ended.drain(..self.ended.len().min(BATCH)).collect();
        if batch.is_empty() && ends.is_empty() {
            return true;
        }
        let openings: Vec<(Uuid, &Opening)> =
            batch.iter().map(|request| (id_of(&request.opening), &request.opening)).collect();
        let mut committing = false;
        let written = self.log.within(self.commit(&openings, &ends, &mut committing)).boxed().await;
        match written {
            Ok(decisions) => {
                self.due = self.ends.clock.instant();
                self.answer(batch, decisions);
                true
            }
            Err(error) => {
                let ids = openings.into_iter().map(|(id, _)| id).filter(|_| committing).collect();
                self.failed(batch, ids, ends, &error);
                false
            }
        }
    }

    /// Takes those who still wait for an answer, at most one for each key and each wanted id: the next batch knows what became
    /// of that.
    fn next_batch(&mut self) -> Vec<Request> {
        let (mut batch, mut keys, mut ids) = (Vec::new(), HashSet::new(), HashSet::new());
        for request in std::mem::take(&mut self.waiting) {
            if request.reply.is_closed() {
                continue;
            }
            let opening = &request.opening;
            let is_next = batch.len() < BATCH
                && opening.key_of_user().is_none_or(|key| keys.insert(key))
                && opening.id.is_none_or(|id| ids.insert(id));
            if is_next {
                batch.push(request);
            } else {
                self.waiting.push(request);
            }
        }
        batch
    }

    /// All of it in one transaction, which holds the lanes of the audit log of everybody in it. Who has the same lane has
    /// the same turn, so nobody uses a key between the look at it and the commit.
    async fn commit<'a>(
        &self,
        openings: &[(Uuid, &'a Opening)],
        ends: &[Ended],
        committing: &mut bool,
    ) -> Result<Vec<Decision>, EventsError> {
        let command = Command { user_id: SYSTEM.into(), correlation_id: SYSTEM.into(), causation_id: None, key: None };
        let subjects: Vec<&str> = openings.iter().map(|(_, opening)| &*opening.user_id).collect();
        let Begun::Fresh(mut work) = self.audit.begin_for(command, &subjects, &[]).await? else {
            return Err(EventsError::KeyReused);
        };
        let now = work.now();
        let (log, transaction) = work.transaction();
        store::end(log, transaction, ends).await?;
        let decisions = decide(&mut work, openings).await?;
        let is_fresh = |decision: &Decision| matches!(decision, Decision::Fresh(_));
        let fresh: Vec<(Uuid, &'a Opening)> =
            openings.iter().zip(&decisions).filter(|(_, decision)| is_fresh(decision)).map(|(some, _)| *some).collect();
        if !fresh.is_empty() {
            let (log, transaction) = work.transaction();
            store::insert(log, transaction, &fresh, &self.node, now).await?;
            let deed = |(id, opening): &(Uuid, &'a Opening)| Deed {
                subject: &opening.user_id,
                origin: &opening.origin,
                entry: opening.entry(*id),
            };
            let deeds = fresh.iter().map(deed).collect();
            self.audit.record_all(&mut work, deeds).await?;
        }
        *committing = true;
        work.commit(Value::Null).await?;
        Ok(decisions)
    }

    fn answer(&self, batch: Vec<Request>, decisions: Vec<Decision>) {
        if !batch.is_empty() {
            self.sizes.record(u32::try_from(batch.len()).map_or(f64::MAX, f64::from));
        }
        for (Request { reply, .. }, decision) in batch.into_iter().zip(decisions) {
            let answer = match decision {
                Decision::Fresh(id) => Ok(Opened::Fresh(OpenRun::new(id, self.ends.clone(), self.open.token()))),
                Decision::Repeated(run) => Ok(Opened::Repeated(*run)),
                Decision::KeyReused => Err(EventsError::KeyReused),
                Decision::IdTaken => Ok(Opened::IdTaken),
            };
            // Where nobody waits any more, the run is dropped here and counts as cancelled.
            drop(reply.send(answer));
        }
    }

    /// Nothing was opened. `ids` are those of which that is not certain: they may have been committed all the same.
    fn failed(&mut self, batch: Vec<Request>, ids: Vec<Uuid>, ends: Vec<Ended>, error: &EventsError) {
        tracing::debug!(%error, openings = batch.len(), ends = ends.len(), "calls of tools could not be recorded");
        let at = self.ends.clock.now();
        let not_sent = |id| {
            let message = "the database did not say whether it was recorded, so nothing was sent".to_owned();
            let plain = RunEnd::plain(RunOutcome::Failed, Duration::ZERO);
            let end = RunEnd { error_code: Some("NOT_SENT".to_owned()), message: Some(message), ..plain };
            Ended { id, at, end, frees_key: true }
        };
        if is_for_ever(error) {
            dropped(ends.len());
        } else {
            self.ended.splice(..0, ends);
        }
        self.ended.extend(ids.into_iter().map(not_sent));
        dropped(self.ended.len().saturating_sub(MOST_ENDS));
        self.ended.truncate(MOST_ENDS);
        self.due = self.ends.clock.instant() + PAUSE;
        for Request { reply, .. } in batch {
            drop(reply.send(Err(error.clone())));
        }
    }

    /// What is queued is still written, and what ends within a moment.
    async fn finish(mut self) {
        self.openings.close();
        while !self.waiting.is_empty() || self.openings.recv_many(&mut self.waiting, BATCH).await > 0 {
            self.write().await;
        }
        self.open.close();
        // Whoever takes longer is marked at the next start.
        let _ = timeout(GRACE, self.open.wait()).await;
        self.queued.close();
        while let Some(ended) = self.queued.recv().await {
            self.ended.push(ended);
        }
        while !self.ended.is_empty() && self.write().await {}
        dropped(self.ended.len());
    }
}

fn id_of(opening: &Opening) -> Uuid {
    opening.id.unwrap_or_else(Uuid::now_v7)
}

/// Whether each opening is the first under its key.
async fn decide(work: &mut Work, openings: &[(Uuid, &Opening)]) -> Result<Vec<Decision>, EventsError> {
    let keys: Vec<(&str, String)> = openings
        .iter()
        .filter_map(|(_, opening)| opening.key_of_user().map(|(_, key)| (&*opening.user_id, key)))
        .collect();
    let (log, transaction) = work.transaction();
    let mut known = store::keyed(log, transaction, &keys).await?;
    let wanted: Vec<Uuid> = openings.iter().filter_map(|(_, opening)| opening.id).collect();
    let taken = store::taken(log, transaction, &wanted).await?;
    let mut decide = |(id, opening): &(Uuid, &Opening)| {
        let fresh = || if taken.contains(id) { Decision::IdTaken } else { Decision::Fresh(*id) };
        let Some((key, name)) = opening.key.as_ref().zip(opening.key_of_user()) else { return fresh() };
        let of_it = |known: &store::Keyed| known.run.user_id == *name.0 && known.key == name.1;
        let Some(place) = known.iter().position(of_it) else { return fresh() };
        counter!("tidegate_events_repeated_commands_total").increment(1);
        let known = known.swap_remove(place);
        if known.fingerprint == key.fingerprint() {
            Decision::Repeated(Box::new(known.run))
        } else {
            Decision::KeyReused
        }
    };
    Ok(openings.iter().map(&mut decide).collect())
}

/// Whether the same statement would be refused again, and hold up everything behind it.
fn is_for_ever(error: &EventsError) -> bool {
    !matches!(
        error,
        EventsError::Database(
            DatabaseError::Unavailable(_) | DatabaseError::TimedOut | DatabaseError::Full | DatabaseError::ReadOnly
        )
    )
}
