//! How a change of who may do what is made: in one transaction, with the word about it.

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    audit::{Audit, AuditResult, Entry},
    events::{Begun, Command, Events, EventsError, Work},
    model::Origin,
    store::DatabaseError,
};

/// What was done, in the audit log's words.
#[derive(Debug)]
pub(super) struct Deed {
    /// What, such as `api_key.create`.
    pub(super) action: &'static str,
    /// To whom or what. Never a secret.
    pub(super) resource: String,
    /// What else there is to say. Never a secret.
    pub(super) metadata: Value,
}

impl Deed {
    fn entry(&self, result: AuditResult) -> Entry {
        Entry { action: self.action, resource: self.resource.clone(), result, metadata: self.metadata.clone() }
    }
}

/// Begins changes and makes them last.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    events: Events,
    audit: Audit,
}

impl Changes {
    pub(super) fn new(events: Events, audit: Audit) -> Self {
        Self { events, audit }
    }

    /// Begins a change of what `locks` name.
    pub(super) async fn begin(&self, command: Command, locks: &[String]) -> Result<Begun, EventsError> {
        self.audit.begin(command, locks).await
    }

    /// Begins a change that shows or proves something once. A retry under the same key would have to show it again, which
    /// nothing here keeps, so the caller's key is not looked at.
    pub(super) async fn begin_once(&self, command: Command, locks: &[String]) -> Result<Box<Work>, EventsError> {
        match self.begin(Command { key: None, ..command }, locks).await? {
            Begun::Fresh(work) => Ok(work),
            Begun::Repeated(_) => Err(EventsError::KeyReused),
        }
    }

    /// Makes a change last, with the word about it.
    pub(super) async fn commit(
        &self,
        mut work: Box<Work>,
        origin: &Origin,
        deed: &Deed,
        result: Value,
    ) -> Result<(), EventsError> {
        self.audit.record(&mut work, origin, deed.entry(AuditResult::Success)).await?;
        work.commit(result).await?;
        tell(origin, deed, "who may do what was changed");
        Ok(())
    }

    /// Tells of what was tried and refused, after its own transaction was dropped.
    pub(super) async fn refused(&self, command: &Command, origin: &Origin, deed: &Deed) {
        let entry = deed.entry(AuditResult::Refused);
        if let Err(error) = self.audit.record_alone(command.clone(), origin, entry).await {
            // It was refused in any case.
            tracing::error!(%error, "a refusal was not recorded");
        }
        tell(origin, deed, "a second factor was refused");
    }

    /// Runs a change within the database's deadline.
    pub(super) fn within<'a, T: 'a, E: From<DatabaseError> + 'a>(
        &'a self,
        work: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, E>> {
        self.events.within(work)
    }
}

fn tell(origin: &Origin, deed: &Deed, what: &'static str) {
    let Deed { action, resource, metadata } = deed;
    tracing::debug!(action, resource, %metadata, address = %origin.address, "{what}");
}
