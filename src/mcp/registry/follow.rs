//! Keeps what this node knows of servers up to date with the log, whichever node has written it.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    Registry,
    names::{self, Names},
    server::{ServerState, stream},
    shelf::Read,
};
use crate::events::{Aggregate, DomainEvent, EventsError, Follower, LogPosition};

/// How long to wait after the database has failed.
const PAUSE: Duration = Duration::from_millis(250);
/// How often to look whether it is still the same log, and whether it can be written by now.
const LOOK: Duration = Duration::from_secs(1);

/// Up to where the log was read, and which one it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    incarnation: u64,
    head: LogPosition,
    /// Whether the servers of the file are registered in it.
    is_adopted: bool,
}

impl Registry {
    /// Reads all servers, and registers those of the file, as far as the database lets us.
    pub(super) async fn begin(&self) -> Option<Place> {
        let read = self.read_all(None).await;
        let read = read.inspect_err(|error| tracing::warn!(%error, "the MCP servers cannot be read yet")).ok()?;
        let adopted = self.adopt_file().await;
        let adopted =
            adopted.inspect_err(|error| tracing::warn!(%error, "the MCP servers of the file cannot be kept yet"));
        Some(Place { is_adopted: adopted.is_ok(), ..read })
    }

    /// Reads what happens to servers, for ever.
    pub(super) async fn keep_up(self, begun: Option<Place>) {
        let (mut next, mut before) = (begun, begun);
        loop {
            if let Some(place) = next {
                before = next;
                tokio::join!(self.adopt_at_last(place), self.follow(place));
            } else {
                sleep(PAUSE).await;
            }
            next = match self.read_all(before).await {
                Ok(place) => Some(place),
                Err(error) => {
                    tracing::debug!(%error, "the MCP servers cannot be read and are tried again");
                    None
                }
            };
        }
    }

    async fn read_all(&self, before: Option<Place>) -> Result<Place, EventsError> {
        let events = &self.0.parts.events;
        // Before anything is read: whatever comes meanwhile is read twice.
        let incarnation = events.incarnation();
        let head = events.within(events.head()).await?;
        let names = events.within(events.replay::<Names>(names::STREAM)).await?;
        let mut found = Vec::new();
        for id in names.state.servers() {
            found.extend(self.read_one(id).await?);
        }
        if before.is_none_or(|before| before.incarnation == incarnation) {
            self.0.shelf.put(found);
        } else {
            self.0.shelf.replace(found);
        }
        Ok(Place { incarnation, head, is_adopted: false })
    }

    /// Registers the servers of the file, where that was not done, as soon as the database can be written.
    async fn adopt_at_last(&self, place: Place) {
        while !place.is_adopted && self.is_current(place) {
            match self.adopt_file().await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the MCP servers of the file are tried again"),
            }
            sleep(LOOK).await;
        }
    }

    /// Reads on for as long as it is the same log.
    async fn follow(&self, place: Place) {
        let mut follower = self.0.parts.events.follow(place.head);
        while self.is_current(place) {
            match self.next(&mut follower, place).await {
                Ok(page) => self.take_in(&page).await,
                Err(error) => {
                    tracing::debug!(%error, "the log cannot be read for MCP servers and is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// What comes next; nothing where the log is another one by now.
    async fn next(&self, follower: &mut Follower, place: Place) -> Result<Vec<DomainEvent>, EventsError> {
        let mut next = pin!(follower.next());
        while self.is_current(place) {
            if let Ok(page) = timeout(LOOK, &mut next).await {
                return page;
            }
        }
        Ok(Vec::new())
    }

    fn is_current(&self, place: Place) -> bool {
        self.0.parts.events.incarnation() == place.incarnation
    }

    async fn take_in(&self, page: &[DomainEvent]) {
        let news = self.news(page);
        while let Err(error) = self.read_again(&news).await {
            tracing::debug!(%error, "an MCP server cannot be read and is tried again");
            sleep(PAUSE).await;
        }
    }

    /// Servers to which something has happened of which this node does not know.
    fn news(&self, page: &[DomainEvent]) -> BTreeSet<Uuid> {
        let mine = page.iter().filter(|event| &*event.aggregate_type == ServerState::TYPE);
        let news = mine.filter_map(|event| Some((event.uuid_in::<ServerState>().ok()?, event.event_version)));
        news.filter(|(id, version)| self.0.shelf.version(*id) < *version).map(|(id, _)| id).collect()
    }

    async fn read_again(&self, ids: &BTreeSet<Uuid>) -> Result<(), EventsError> {
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.read_one(*id).await?);
        }
        self.0.shelf.put(found);
        Ok(())
    }

    /// A server; nothing where its events are of a newer program, which must not keep the others from being read.
    async fn read_one(&self, id: Uuid) -> Result<Option<Read>, EventsError> {
        let events = &self.0.parts.events;
        match events.within(events.replay::<ServerState>(&stream(id))).await {
            Ok(state) => Ok(Some(self.read(id, &state))),
            Err(error @ EventsError::Database(_)) => Err(error),
            Err(error) => {
                tracing::error!(server = %id, %error, "an MCP server cannot be read and stays as it was known");
                Ok(None)
            }
        }
    }
}
