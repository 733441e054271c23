//! Reading on: what is in the log, then what comes, each event once and in order.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use metrics::gauge;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{DomainEvent, Events, EventsError, LogPosition, news::PATIENCE, postgres, store};

/// How long a reader waits after the database has failed it.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads the log from a place on.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    heard: watch::Receiver<u64>,
    place: LogPosition,
}

impl Follower {
    pub(super) fn new(events: Events, place: LogPosition) -> Self {
        let heard = events.0.news.heard();
        Self { events, heard, place }
    }

    /// Up to where it has read.
    #[must_use]
    pub fn place(&self) -> LogPosition {
        self.place
    }

    /// The next events, at least one and at most a page. Waits for them, however long that takes.
    pub async fn next(&mut self) -> Result<Vec<DomainEvent>, EventsError> {
        loop {
            self.heard.borrow_and_update();
            let events = self.events.after(self.place).await?;
            if let Some(last) = events.last() {
                self.place = last.position;
                return Ok(events);
            }
            self.wait().await;
        }
    }

    /// Waits until there may be more.
    async fn wait(&mut self) {
        // Nobody need have told: another node, or a transaction that was held back by another one.
        let _ = timeout(PATIENCE, self.heard.changed()).await;
    }
}

impl Events {
    /// The events of one stream after a version, as they come, for ever. Goes on after failures of the database.
    pub fn follow_stream(&self, aggregate_id: &str, after: u64) -> impl Stream<Item = DomainEvent> + Send + use<> {
        let (events, id): (_, Arc<str>) = (self.clone(), aggregate_id.into());
        let mut versions = self.0.news.versions(&id);
        async_stream::stream! {
            let mut version = after;
            loop {
                match events.stream(&id, version).await {
                    Ok(page) if page.is_empty() => {
                        // The topic tells only what this node has read in order; a look now and then costs little.
                        let _ = timeout(20 * PATIENCE, versions.next()).await;
                    }
                    Ok(page) => {
                        for event in page {
                            version = event.event_version;
                            yield event;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a stream cannot be read and is tried again");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Feeds the topics of streams from the log, for ever.
    pub(super) async fn feed(self) {
        let mut follower = loop {
            match self.settled_head().await {
                Ok(head) => break self.follow(head),
                Err(_) => sleep(PAUSE).await,
            }
        };
        loop {
            match follower.next().await {
                Ok(events) => {
                    for event in events {
                        self.0.news.publish(&event.aggregate_id, event.event_version).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the log cannot be read and is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// What is done now and then, for ever: old keys are forgotten, the oldest writer is told.
    pub(super) async fn tend(self) {
        let mut round: u64 = 0;
        loop {
            if let Some(pool) = self.0.log.postgres()
                && let Ok(Ok(age)) = timeout(PATIENCE, postgres::oldest_writer(pool)).await
            {
                gauge!("tidegate_events_oldest_writer_seconds").set(age.as_secs_f64());
            }
            if round.is_multiple_of(360) {
                let before = self.0.clock.now() - self.0.retention;
                if let Err(error) = store::forget_commands(&self.0.log, before).await {
                    tracing::debug!(%error, "old idempotency keys were not forgotten");
                }
            }
            round += 1;
            sleep(Duration::from_secs(10)).await;
        }
    }
}
