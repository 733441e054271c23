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
    /// Up to where each active generation is known to have read.
    progress: HashMap<&'static str, watch::Sender<LogPosition>>,
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
        let progress = projections.iter().map(|each| (each.name(), watch::Sender::new(LogPosition::START))).collect();
        Self(Arc::new(Shared { events, index, projections, progress }))
    }

    /// Keeps all of them up to date in the background.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for projection in &self.0.projections {
            let running = self.clone().run(Arc::clone(projection));
            tasks.spawn(stop.clone().run_until_cancelled_owned(running));
        }
    }

    /// Waits until a projection has read up to a place, for as long as that is worth it. Says whether it has.
    pub async fn reached(&self, name: &str, place: LogPosition, patience: Duration) -> bool {
        let Some(progress) = self.0.progress.get(name) else { return false };
        let mut progress = progress.subscribe();
        matches!(timeout(patience, progress.wait_for(|reached| *reached >= place)).await, Ok(Ok(_)))
    }

    /// Up to where the active generation of a projection has read.
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
        let generation = self.add_generation(projection.name()).await?;
        let mut events = 0;
        loop {
            let (read, _) = self.pass(&*projection, generation).await?;
            events += read;
            if read == 0 && self.switch(&*projection, generation).await? {
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
        let mut checked = false;
        loop {
            heard.borrow_and_update();
            let outcome = self.round(&*projection, &mut checked).await;
            match outcome {
                Ok(0) => drop(timeout(PATIENCE, heard.changed()).await),
                Ok(_) => {}
                Err(error) => {
                    // Whatever happened meanwhile, such as a restored file.
                    checked = false;
                    counter!("tidegate_projection_failures_total", "projection" => projection.name()).increment(1);
                    tracing::warn!(projection = projection.name(), %error, "a projection does not get on");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets every generation read a page; returns how many events were read.
    async fn round(&self, projection: &dyn Projection, checked: &mut bool) -> Result<u64, ProjectionError> {
        let mut transaction = self.0.index.write().await?;
        let checkpoints = store::checkpoints(&self.0.index, &mut transaction, projection.name()).await?;
        if !*checked {
            self.begin_anew_if_ahead(projection, &mut transaction, &checkpoints).await?;
        }
        self.0.index.commit(transaction).await?;
        *checked = true;
        let mut all = 0;
        for checkpoint in checkpoints {
            let (read, place) = self.pass(projection, checkpoint.generation).await?;
            all += read;
            if checkpoint.active {
                self.0.progress[projection.name()].send_replace(place);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "there are far fewer events than a float can count")]
        let place = self.0.progress[projection.name()].borrow().number as f64;
        gauge!("tidegate_projection_place", "projection" => projection.name()).set(place);
        Ok(all)
    }

    /// Lets one generation read the next page. Nobody else works on it meanwhile, on any node.
    async fn pass(&self, projection: &dyn Projection, generation: i64) -> Result<(u64, LogPosition), ProjectionError> {
        let index = &self.0.index;
        let mut transaction = index.write().await?;
        let checkpoints = store::checkpoints(&self.0.index, &mut transaction, projection.name()).await?;
        // Another node has switched away from it.
        let Some(checkpoint) = checkpoints.iter().find(|each| each.generation == generation) else {
            return Ok((0, LogPosition::START));
        };
        let events = self.0.events.after(checkpoint.place).await?;
        let Some(last) = events.last() else { return Ok((0, checkpoint.place)) };
        let place = last.position;
        let leftovers = projection.apply(index, &mut transaction, generation, &events).await?;
        store::put(&self.0.index, &mut transaction, projection.name(), Checkpoint { place, ..*checkpoint }).await?;
        index.commit(transaction).await?;
        if leftovers == Leftovers::Scrub {
            index.scrub().await?;
        }
        Ok((events.len() as u64, place))
    }

    async fn add_generation(&self, name: &'static str) -> Result<i64, ProjectionError> {
        let mut transaction = self.0.index.write().await?;
        let checkpoints = store::checkpoints(&self.0.index, &mut transaction, name).await?;
        let generation = checkpoints.iter().map(|each| each.generation).max().unwrap_or_default() + 1;
        let checkpoint = Checkpoint { generation, active: false, place: LogPosition::START };
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
        store::put(&self.0.index, &mut transaction, name, Checkpoint { active: true, ..*mine }).await?;
        index.commit(transaction).await?;
        tracing::info!(projection = name, generation, "a projection was built anew");
        Ok(true)
    }

    /// A log that was restored from a backup may end before what was read from the one that was lost.
    async fn begin_anew_if_ahead(
        &self,
        projection: &dyn Projection,
        transaction: &mut Transaction,
        checkpoints: &[Checkpoint],
    ) -> Result<(), ProjectionError> {
        let head = self.0.events.head().await?;
        for checkpoint in checkpoints.iter().filter(|each| each.place > head) {
            tracing::warn!(projection = projection.name(), place = %checkpoint.place, %head,
                "a projection is ahead of the log, which was restored, and begins anew");
            projection.clear(&self.0.index, transaction, checkpoint.generation).await?;
            let anew = Checkpoint { place: LogPosition::START, ..*checkpoint };
            store::put(&self.0.index, transaction, projection.name(), anew).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("progress", &self.0.progress).finish_non_exhaustive()
    }
}
