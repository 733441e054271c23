//! One change, all of it or nothing: events, and the rows that other rooms put beside them.

use std::sync::Arc;

use chrono::SubsecRound;
use metrics::counter;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Aggregate, Command, DomainEvent, EventsError, LogPosition, Metadata, Replayed, aggregate, canonical,
    news::News,
    postgres,
    store::{self, Done, Entry, Snapshot, Source},
    upcast::Upcasters,
};
use crate::{
    model::Timestamp,
    store::{Database, Either, Transaction},
};

/// A snapshot is kept whenever a stream has passed another so many events.
pub(super) const SNAPSHOT_EVERY: u64 = 100;

/// An open transaction that holds the locks of what it is about to change. Dropped, it leaves no trace.
#[derive(Debug)]
pub struct Work {
    log: Database,
    upcasters: Arc<Upcasters>,
    news: News,
    transaction: Transaction,
    command: Command,
    now: Timestamp,
    told: Vec<(Arc<str>, u64)>,
    /// How many events of which types of aggregates.
    appended: Vec<(Arc<str>, u64)>,
    place: LogPosition,
}

/// How a command begins.
#[derive(Debug)]
pub enum Begun {
    /// It was not done before.
    Fresh(Box<Work>),
    /// It was done before, and this was its result.
    Repeated(Value),
}

/// Which version of a stream a change was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Any,
    /// This one; 0 for a stream that must not exist yet.
    Version(u64),
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Its type.
    pub event_type: String,
    /// Its data, in the newest form of the type.
    pub data: Value,
}

impl Work {
    /// Opens the transaction, takes the locks, and looks whether the command was done before.
    pub(super) async fn begin(
        log: Database,
        upcasters: Arc<Upcasters>,
        news: News,
        now: Timestamp,
        command: Command,
        locks: &[String],
    ) -> Result<Begun, EventsError> {
        let mut transaction = log.write().await?;
        let key_lock = command.key.as_ref().map(|key| format!("command:{}:{}", command.user_id, key.key));
        if let Either::Postgres(connection) = &mut transaction {
            let locks: Vec<String> = locks.iter().cloned().chain(key_lock).collect();
            postgres::lock(connection, &locks).await.map_err(|error| log.failed(error))?;
        }
        if let Some(key) = &command.key
            && let Some(done) = store::command(&log, &mut transaction, &command.user_id, &key.key).await?
        {
            counter!("tidegate_events_repeated_commands_total").increment(1);
            return if done.fingerprint == key.fingerprint {
                Ok(Begun::Repeated(done.result))
            } else {
                Err(EventsError::KeyReused)
            };
        }
        // What the database keeps is what is compared and hashed later.
        let now = now.trunc_subsecs(6);
        let place = LogPosition::START;
        let (told, appended) = (Vec::new(), Vec::new());
        let work = Self { log, upcasters, news, transaction, command, now, told, appended, place };
        Ok(Begun::Fresh(Box::new(work)))
    }

    /// When it is, for everything in this change.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whose change it is.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// For the rows that another room keeps in the log's database.
    pub fn transaction(&mut self) -> (&Database, &mut Transaction) {
        (&self.log, &mut self.transaction)
    }

    /// An aggregate as it stands, this change included.
    pub async fn replay<A: Aggregate>(&mut self, id: &str) -> Result<Replayed<A>, EventsError> {
        replay(&self.log, &self.upcasters, Source::Transaction(&mut self.transaction), id).await
    }

    /// Appends what has happened to an aggregate, and brings `aggregate` up to date.
    pub async fn append<A: Aggregate>(
        &mut self,
        aggregate: &mut Replayed<A>,
        events: &[A::Event],
    ) -> Result<Vec<DomainEvent>, EventsError> {
        let written = events.iter().map(aggregate::written::<A>).collect::<Result<Vec<_>, _>>()?;
        let events = written.into_iter().map(|(event_type, data)| NewEvent { event_type, data }).collect();
        let (id, before) = (Arc::clone(&aggregate.id), aggregate.version);
        let appended = self.append_events(&id, A::TYPE, Expected::Version(before), events).await?;
        for event in &appended {
            aggregate.take_in(event)?;
        }
        if before / SNAPSHOT_EVERY < aggregate.version / SNAPSHOT_EVERY {
            self.keep_snapshot(aggregate).await?;
        }
        Ok(appended)
    }

    /// Appends events to a stream, if it is at the expected version.
    pub async fn append_events(
        &mut self,
        aggregate_id: &str,
        aggregate_type: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Vec<DomainEvent>, EventsError> {
        let found = store::version(&self.log, &mut self.transaction, aggregate_id).await?;
        let id: Arc<str> = aggregate_id.into();
        if let Expected::Version(expected) = expected
            && expected != found
        {
            counter!("tidegate_events_conflicts_total").increment(1);
            return Err(EventsError::Conflict { id, expected, found });
        }
        let entries: Vec<Entry> = events.into_iter().zip(found + 1..).map(|new| self.entry(new)).collect();
        let places = store::insert(&self.log, &mut self.transaction, &id, aggregate_type, &entries).await?;
        self.told.push((Arc::clone(&id), found + entries.len() as u64));
        self.place = places.last().copied().unwrap_or(self.place).max(self.place);
        let aggregate_type: Arc<str> = aggregate_type.into();
        self.appended.push((Arc::clone(&aggregate_type), entries.len() as u64));
        let event = |(position, entry): (LogPosition, Entry)| DomainEvent {
            position,
            id: entry.id,
            aggregate_id: Arc::clone(&id),
            aggregate_type: Arc::clone(&aggregate_type),
            event_version: entry.event_version,
            event_type: entry.event_type.into(),
            schema_version: entry.schema_version,
            data: entry.data,
            metadata: entry.metadata,
        };
        Ok(places.into_iter().zip(entries).map(event).collect())
    }

    /// Makes it last. The result is what a retry under the same key will be told.
    ///
    /// Returns the place in the log up to which this change reaches. After an error the change may have lasted all the
    /// same; a retry under the same key finds out.
    pub async fn commit(mut self, result: Value) -> Result<LogPosition, EventsError> {
        if let Some(key) = &self.command.key {
            let done = Done { fingerprint: key.fingerprint.to_vec(), result };
            let name = (&*self.command.user_id, key.key.as_str());
            store::put_command(&self.log, &mut self.transaction, name, &done, self.now).await?;
        }
        self.log.commit(self.transaction).await?;
        for (aggregate, events) in self.appended {
            counter!("tidegate_events_appended_total", "aggregate" => aggregate.to_string()).increment(events);
        }
        self.news.tell(&self.told);
        Ok(self.place)
    }

    fn entry(&self, (event, event_version): (NewEvent, u64)) -> Entry {
        Entry {
            id: Uuid::now_v7(),
            event_version,
            schema_version: self.upcasters.newest(&event.event_type),
            event_type: event.event_type,
            data: event.data,
            metadata: Metadata {
                user_id: Arc::clone(&self.command.user_id),
                time: self.now,
                correlation_id: Arc::clone(&self.command.correlation_id),
                causation_id: self.command.causation_id,
            },
        }
    }

    async fn keep_snapshot<A: Aggregate>(&mut self, aggregate: &Replayed<A>) -> Result<(), EventsError> {
        let state = serde_json::to_value(&aggregate.state)
            .map_err(|error| EventsError::Unwritable { aggregate_type: A::TYPE, reason: error.to_string() })?;
        let snapshot = Snapshot {
            version: aggregate.version,
            schema_version: A::SNAPSHOT_VERSION,
            hash: hash(&aggregate.id, aggregate.version, &state),
            state,
        };
        let (log, transaction) = (&self.log, &mut self.transaction);
        Ok(store::put_snapshot(log, transaction, &aggregate.id, A::TYPE, &snapshot, self.now).await?)
    }
}

/// An aggregate, from its snapshot where there is a good one, and what came after.
pub(super) async fn replay<A: Aggregate>(
    log: &Database,
    upcasters: &Upcasters,
    mut from: Source<'_>,
    id: &str,
) -> Result<Replayed<A>, EventsError> {
    let mut aggregate = Replayed::<A>::new(id);
    if let Some(snapshot) = store::snapshot(log, &mut from, id).await? {
        if let Some(known) = restored(id, &snapshot) {
            aggregate = known;
        } else {
            // The stream itself says the same, only slower.
            tracing::warn!(aggregate_type = A::TYPE, "a snapshot does not fit and is ignored");
        }
    }
    loop {
        let rows = store::stream(log, &mut from, id, aggregate.version).await?;
        let more = rows.len() == usize::try_from(store::PAGE).unwrap_or(usize::MAX);
        for row in rows {
            aggregate.take_in(&store::event(row, upcasters)?)?;
        }
        if !more {
            return Ok(aggregate);
        }
    }
}

fn restored<A: Aggregate>(id: &str, snapshot: &Snapshot) -> Option<Replayed<A>> {
    let fits =
        snapshot.schema_version == A::SNAPSHOT_VERSION && snapshot.hash == hash(id, snapshot.version, &snapshot.state);
    let state = serde_json::from_value(snapshot.state.clone()).ok().filter(|_| fits)?;
    Some(Replayed { id: id.into(), version: snapshot.version, state })
}

fn hash(id: &str, version: u64, state: &Value) -> Vec<u8> {
    let hash = Sha256::new().chain_update(id).chain_update([0]).chain_update(version.to_be_bytes());
    hash.chain_update(canonical(state)).finalize().to_vec()
}
