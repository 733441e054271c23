//! What happened: events, appended once and for all, and whatever is made of them.
//!
//! Owns the log's streams, its order, the snapshots, and the keys by which a command is done once. It never changes or
//! deletes an event, never gives an event to a reader before all that come earlier in the order, and does not know what
//! an event means. A new kind of thing is an [`Aggregate`] in the room that owns it; a new view is a [`Projection`].
//! `tests/it/events_*.rs` run the same bodies on SQLite and PostgreSQL; docs/events.md says what is promised.

mod aggregate;
mod canonical;
mod command;
mod error;
mod event;
mod follow;
mod news;
mod postgres;
mod projection;
mod store;
mod upcast;
mod work;

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::{FutureExt, future::BoxFuture};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{news::News, store::Source};
use crate::{
    bus::Bus,
    model::Clock,
    store::{Database, DatabaseError},
};

pub use aggregate::{Aggregate, Replayed, read};
pub use canonical::canonical;
pub use command::{Command, CommandKey};
pub use error::EventsError;
pub use event::{DomainEvent, InvalidPosition, LogPosition, Metadata};
pub use follow::Follower;
pub use projection::{Leftovers, Projection, ProjectionError, Projector, Rebuilt};
pub use upcast::{Upcaster, Upcasters};
pub use work::{Begun, Expected, NewEvent, Work};

/// The log. Clones share everything.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Database,
    upcasters: Arc<Upcasters>,
    news: News,
    clock: Clock,
    retention: TimeDelta,
}

impl Events {
    /// The log of this store. `bus` must be this node's own, as every node reads the log itself; keys of commands are
    /// forgotten after `retention`.
    #[must_use]
    pub fn new(log: Database, upcasters: Upcasters, bus: Bus, clock: Clock, retention: TimeDelta) -> Self {
        Self(Arc::new(Shared { log, upcasters: Arc::new(upcasters), news: News::new(bus), clock, retention }))
    }

    /// Starts what works in the background. Without it nothing is lost; readers only hear of news later.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let stop = || stop.clone();
        tasks.spawn(stop().run_until_cancelled_owned(self.0.news.clone().carry(self.0.log.clone())));
        tasks.spawn(stop().run_until_cancelled_owned(self.clone().feed()));
        tasks.spawn(stop().run_until_cancelled_owned(self.clone().tend()));
    }

    /// Begins a change of what the locks name: ids of aggregates, and whatever else must not change at the same time.
    ///
    /// Nobody else changes these until the work is committed or dropped. A command whose key was used before is not done
    /// again.
    pub async fn begin(&self, command: Command, locks: &[String]) -> Result<Begun, EventsError> {
        let Shared { log, upcasters, news, clock, .. } = &*self.0;
        Work::begin(log.clone(), Arc::clone(upcasters), news.clone(), clock.now(), command, locks).await
    }

    /// Runs a change, or a question, within the database's deadline.
    pub fn within<'a, T: 'a, E: From<DatabaseError> + 'a>(
        &'a self,
        work: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, E>> {
        // A transaction and all its statements are too much for the stack of whoever waits.
        self.0.log.within(work).boxed()
    }

    /// An aggregate as it stands.
    pub async fn replay<A: Aggregate>(&self, id: &str) -> Result<Replayed<A>, EventsError> {
        let mut reader = self.0.log.read().await?;
        work::replay(&self.0.log, &self.0.upcasters, Source::Reader(&mut reader), id).await
    }

    /// The events of one stream after a version, oldest first, at most a page of 500.
    pub async fn stream(&self, aggregate_id: &str, after: u64) -> Result<Vec<DomainEvent>, EventsError> {
        let mut reader = self.0.log.read().await?;
        let rows = store::stream(&self.0.log, &mut Source::Reader(&mut reader), aggregate_id, after).await?;
        rows.into_iter().map(|row| store::event(row, &self.0.upcasters)).collect()
    }

    /// The events of all streams after a place, at most a page of 500: each once, and never one that comes earlier in the
    /// order than what was read before.
    pub async fn after(&self, place: LogPosition) -> Result<Vec<DomainEvent>, EventsError> {
        let rows = store::after(&self.0.log, place).await?;
        rows.into_iter().map(|row| store::event(row, &self.0.upcasters)).collect()
    }

    /// The place of the newest event that [`after`](Self::after) would give.
    pub async fn head(&self) -> Result<LogPosition, EventsError> {
        Ok(store::head(&self.0.log).await?)
    }

    /// The id of the event at a place, if there is one.
    pub(crate) async fn id_at(&self, place: LogPosition) -> Result<Option<Uuid>, EventsError> {
        Ok(store::id_at(&self.0.log, place).await?)
    }

    /// Grows whenever another log has taken the place of the one that was open.
    pub(crate) fn incarnation(&self) -> u64 {
        self.0.log.incarnation()
    }

    /// Like [`head`](Self::head), of a log that was restored from another server, too: such a log is adopted first.
    pub(crate) async fn settled_head(&self) -> Result<LogPosition, EventsError> {
        if let Some(pool) = self.0.log.postgres() {
            let adopted = postgres::adopt_restored(pool).await.map_err(|error| self.0.log.failed(error))?;
            if adopted > 0 {
                tracing::warn!(events = adopted, "the log was restored from another server and adopted");
            }
        }
        self.head().await
    }

    /// Reads the log from a place on.
    #[must_use]
    pub fn follow(&self, place: LogPosition) -> Follower {
        Follower::new(self.clone(), place)
    }
}
