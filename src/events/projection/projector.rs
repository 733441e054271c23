//! Keeps projections up to date, and builds them anew beside the old.
//!
//! The rows and the place that they have reached are written in one transaction, so that after any end of the process a
//! projection is neither behind what it says nor ahead of it.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Leftovers, Projection, ProjectionError,
    store::{self, Checkpoint},
};
use crate::{
    events::{Events, LogPosition, news::PATIENCE},
    store::{Database, Transaction},
};

/// How long a projection waits after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// Keeps projections up to date. Clones share everything.
#[derive(Clone)]
pub struct Projector(Arc<Shared>);

struct Shared {
    events: Events,
    index: Database,
    projections: Vec<Arc<dyn Projection>>,
    progress: HashMap<&'static str, watch::Sender<Progress>>,
}

/// How far a projection is known to have come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Of which log.
    incarnation: u64,
    /// Up to where the active generation has read.
    shown: LogPosition,
    /// Up to where every generation has, without anything deleted being left in a file.
    settled: LogPosition,
}

/// What came of letting a generation read a page.
struct Passed {
    events: u64,
    /// Where all generations are now.
    checkpoints: Vec<Checkpoint>,
}

/// What came of building a projection anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The generation that is read from now.
    pub generation: i64,
    /// Events that were read for it.
    pub events: u64,
}

impl Projector {
    /// Knows the projections; does nothing yet.
    #[must_use]
    pub fn new(events: Events, index: Database, projections: Vec<Arc<dyn Projection>>) -> Self {
        let progress = projections.iter().map(|each| (each.name(), watch::Sender::new(Progress::default()))).collect();
        Self(Arc::new(Shared { events, index, projections, progress }))
    }

    /// Keeps all of them up to date in the background.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for projection in &self.0.projections {
            let running = self.clone().run(Arc::clone(projection));
            tasks.spawn(stop.clone().run_until_cancelled_owned(running));
        }
    }

    /// Waits until readers of a projection see what happened up to a place, for as long as that is worth it. Says whether
    /// they do.
    pub async fn shows(&self, name: &str, place: LogPosition, patience: Duration) -> bool {
        self.comes(name, patience, |progress| progress.shown >= place).await
    }

    /// Waits until nothing that was deleted up to a place is in any generation of a projection, or in a file that the
    /// database has no more use for. Says whether that is so.
    pub async fn settles(&self, name: &str, place: LogPosition, patience: Duration) -> bool {
        self.comes(name, patience, |progress| progress.settled >= place).await
    }

    async fn comes(&self, name: &str, patience: Duration, far_enough: impl Fn(&Progress) -> bool + Send) -> bool {
        let Some(progress) = self.0.progress.get(name) else { return false };
        // Places of a log that was replaced since say nothing.
        let incarnation = self.0.events.incarnation();
        let mut progress = progress.subscribe();
        let comes = progress.wait_for(|progress| progress.incarnation == incarnation && far_enough(progress));
        matches!(timeout(patience, comes).await, Ok(Ok(_)))
    }

    /// Up to where the active generation of a projection has read, whoever did it.
    pub async fn place(&self, name: &str) -> Result<LogPosition, ProjectionError> {
        let projection = self.find(name)?;
        let mut transaction = self.0.index.write().await?;
        let checkpoints = store::checkpoints(&self.0.index, &mut transaction, projection.name()).await?;
        Ok(checkpoints.iter().find(|each| each.active).map_or(LogPosition::START, |each| each.place))
    }

    /// Builds a projection anew from the whole log, beside the old one, and switches to it once it is as far.
    ///
    /// The old generation is kept up to date and read from until then.
    pub async fn rebuild(&self, name: &str) -> Result<Rebuilt, ProjectionError> {
        let projection = Arc::clone(self.find(name)?);
        // A log that was restored is adopted first, and generations that have read another one begin anew.
        self.generations(&*projection, false).await?;
        let generation = self.add_generation(projection.name()).await?;
        let mut events = 0;
        loop {
            let passed = self.pass(&*projection, generation).await?;
            events += passed.events;
            if passed.events == 0 && self.switch(&*projection, generation).await? {
                return Ok(Rebuilt { generation, events });
            }
        }
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn Projection>, ProjectionError> {
        let all = &self.0.projections;
        all.iter().find(|each| each.name() == name).ok_or_else(|| ProjectionError::Unknown {
            name: name.to_owned(),
            known: all.iter().map(|each| each.name()).collect::<Vec<_>>().join(", "),
        })
    }

    async fn run(self, projection: Arc<dyn Projection>) {
        let mut heard = self.0.events.0.news.heard();
        // The log that the generations are known to have read.
        let mut checked = None;
        loop {
            heard.borrow_and_update();
            let outcome = self.round(&*projection, &mut checked).await;
            match outcome {
                Ok(0) => drop(timeout(PATIENCE, heard.changed()).await),
                Ok(_) => {}
                Err(error) => {
                    // Whatever happened meanwhile, such as a restored file.
                    checked = None;
                    counter!("tidegate_projection_failures_total", "projection" => projection.name()).increment(1);
                    tracing::warn!(projection = projection.name(), %error, "a projection does not get on");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets every generation read a page; returns how many events were read.
    async fn round(&self, projection: &dyn Projection, checked: &mut Option<u64>) -> Result<u64, ProjectionError> {
        // Before anything is read of it.
        let incarnation = self.0.events.incarnation();
        let (name, progress) = (projection.name(), &self.0.progress[projection.name()]);
        let (mut events, mut checkpoints) = (0, Vec::new());
        let generations = self.generations(projection, *checked == Some(incarnation)).await?;
        *checked = Some(incarnation);
        for generation in generations {
            let passed = self.pass(projection, generation).await?;
            events += passed.events;
            // The last look is at all of them, also at one that has come to it meanwhile.
            checkpoints = passed.checkpoints;
            // At once: readers do not mind what becomes of the others.
            if let Some(active) = checkpoints.iter().find(|each| each.active) {
                progress.send_modify(|progress| progress.show(incarnation, active.place));
                gauge!("tidegate_projection_place", "projection" => name).set(gauged(active.place.number));
            }
        }
        self.scrub(name, &checkpoints).await?;
        let settled = checkpoints.iter().map(|each| each.place).min().unwrap_or_default();
        progress.send_modify(|progress| progress.settled = settled);
        Ok(events)
    }

    /// The generations that there are. Unless that was `checked`, those that have read another log begin anew.
    async fn generations(&self, projection: &dyn Projection, checked: bool) -> Result<Vec<i64>, ProjectionError> {
        let index = &self.0.index;
        let mut transaction = index.write().await?;
        let checkpoints = store::checkpoints(index, &mut transaction, projection.name()).await?;
        if !checked {
            self.begin_anew_where_astray(projection, &mut transaction, &checkpoints).await?;
        }
        index.commit(transaction).await?;
        Ok(checkpoints.iter().map(|each| each.generation).collect())
    }

    /// Lets one generation read the next page. Nobody else works on it meanwhile, on any node. There is nothing to do if
    /// another node has switched away from it.
    async fn pass(&self, projection: &dyn Projection, generation: i64) -> Result<Passed, ProjectionError> {
        let (index, name) = (&self.0.index, projection.name());
        let mut transaction = index.write().await?;
        let mut checkpoints = store::checkpoints(index, &mut transaction, name).await?;
        let Some(mine) = checkpoints.iter_mut().find(|each| each.generation == generation) else {
            return Ok(Passed { events: 0, checkpoints });
        };
        let events = self.0.events.after(mine.place).await?;
        let Some(last) = events.last() else { return Ok(Passed { events: 0, checkpoints }) };
        let leftovers = projection.apply(index, &mut transaction, generation, &events).await?;
        (mine.place, mine.last_event) = (last.position, Some(last.id));
        // Together with the place, so that no end of the process makes anybody forget it.
        mine.owes_scrub |= leftovers == Leftovers::Scrub;
        store::put(index, &mut transaction, name, *mine).await?;
        index.commit(transaction).await?;
        Ok(Passed { events: events.len() as u64, checkpoints })
    }

    /// Makes what was deleted unreadable, where that is owed.
    async fn scrub(&self, name: &'static str, checkpoints: &[Checkpoint]) -> Result<(), ProjectionError> {
        let index = &self.0.index;
        if !checkpoints.iter().any(|each| each.owes_scrub) {
            return Ok(());
        }
        index.scrub().await?;
        let mut transaction = index.write().await?;
        for scrubbed in checkpoints.iter().filter(|each| each.owes_scrub) {
            store::put_scrubbed(index, &mut transaction, name, scrubbed).await?;
        }
        Ok(index.commit(transaction).await?)
    }

    async fn add_generation(&self, name: &'static str) -> Result<i64, ProjectionError> {
        let mut transaction = self.0.index.write().await?;
        let checkpoints = store::checkpoints(&self.0.index, &mut transaction, name).await?;
        let generation = checkpoints.iter().map(|each| each.generation).max().unwrap_or_default() + 1;
        let checkpoint =
            Checkpoint { generation, active: false, place: LogPosition::START, owes_scrub: false, last_event: None };
        store::put(&self.0.index, &mut transaction, name, checkpoint).await?;
        self.0.index.commit(transaction).await?;
        Ok(generation)
    }

    /// Reads from this generation from now on, if it is as far as the active one. Deletes all older ones.
    async fn switch(&self, projection: &dyn Projection, generation: i64) -> Result<bool, ProjectionError> {
        let (index, name) = (&self.0.index, projection.name());
        let mut transaction = index.write().await?;
        let checkpoints = store::checkpoints(&self.0.index, &mut transaction, name).await?;
        let newest = checkpoints.iter().map(|each| each.place).max().unwrap_or_default();
        let Some(mine) = checkpoints.iter().find(|each| each.generation == generation) else { return Ok(true) };
        if mine.place < newest {
            return Ok(false);
        }
        for older in checkpoints.iter().filter(|each| each.generation != generation) {
            projection.clear(index, &mut transaction, older.generation).await?;
            store::delete(index, &mut transaction, name, older.generation).await?;
        }
        // Whatever the older ones owed; and their rows were deleted just now.
        let active = Checkpoint { active: true, owes_scrub: true, ..*mine };
        store::put(index, &mut transaction, name, active).await?;
        index.commit(transaction).await?;
        tracing::info!(projection = name, generation, "a projection was built anew");
        Ok(true)
    }

    /// A log that was restored from a backup may end before what was read from the one that was lost, or go on otherwise.
    async fn begin_anew_where_astray(
        &self,
        projection: &dyn Projection,
        transaction: &mut Transaction,
        checkpoints: &[Checkpoint],
    ) -> Result<(), ProjectionError> {
        let (index, head) = (&self.0.index, self.0.events.settled_head().await?);
        for checkpoint in checkpoints.iter().filter(|each| each.place > LogPosition::START) {
            let is_same = match checkpoint.last_event {
                Some(last) => self.0.events.id_at(checkpoint.place).await? == Some(last),
                None => true,
            };
            if checkpoint.place <= head && is_same {
                continue;
            }
            tracing::warn!(projection = projection.name(), place = %checkpoint.place, %head,
                "a projection has read another log, as this one was restored, and begins anew");
            projection.clear(index, transaction, checkpoint.generation).await?;
            let anew = Checkpoint { place: LogPosition::START, owes_scrub: true, last_event: None, ..*checkpoint };
            store::put(index, transaction, projection.name(), anew).await?;
        }
        Ok(())
    }
}

impl Progress {
    /// Another log has another story: nothing has settled of it yet.
    fn show(&mut self, incarnation: u64, place: LogPosition) {
        let settled = if self.incarnation == incarnation { self.settled } else { LogPosition::START };
        *self = Self { incarnation, shown: place, settled };
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is read by people, and is exact up to 2^53")]
fn gauged(number: i64) -> f64 {
    number as f64
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("progress", &self.0.progress).finish_non_exhaustive()
    }
}
