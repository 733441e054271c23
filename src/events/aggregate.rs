//! State that is made of events.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{DomainEvent, EventsError};

/// The state of one thing, made of what happened to it.
///
/// `apply` must give the same state for the same events for ever: states are kept as snapshots. When the state's form or
/// meaning changes, `SNAPSHOT_VERSION` grows, and older snapshots are ignored.
pub trait Aggregate: Default + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// What can happen to it, as serde writes it with `tag = "type", content = "data"`.
    type Event: Serialize + DeserializeOwned + Send + Sync;
    /// The aggregate type, such as `emotion`.
    const TYPE: &'static str;
    /// The form of the state in snapshots.
    const SNAPSHOT_VERSION: u32;

    /// Takes in what happened.
    fn apply(&mut self, event: &Self::Event);
}

/// An aggregate as it stands after one of its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed<A> {
    /// The aggregate's id.
    pub id: Arc<str>,
    /// Which event was the last; 0 before the first.
    pub version: u64,
    /// The state then.
    pub state: A,
}

impl<A: Aggregate> Replayed<A> {
    /// Before anything happened.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), version: 0, state: A::default() }
    }

    /// Takes in the next event of the stream.
    ///
    /// # Errors
    /// An event of another type or form, or one that is not the next.
    pub fn take_in(&mut self, event: &DomainEvent) -> Result<(), EventsError> {
        if event.event_version != self.version + 1 {
            return Err(EventsError::Hole { id: Arc::clone(&self.id), version: self.version + 1 });
        }
        self.state.apply(&read::<A>(event)?);
        self.version = event.event_version;
        Ok(())
    }
}

/// An event of the aggregate, as its own type.
///
/// # Errors
/// An event of another type or form.
pub fn read<A: Aggregate>(event: &DomainEvent) -> Result<A::Event, EventsError> {
    let tagged = serde_json::json!({ "type": event.event_type, "data": event.data });
    serde_json::from_value(tagged).map_err(|error| EventsError::Unreadable {
        event_type: Arc::clone(&event.event_type),
        reason: error.to_string(),
    })
}

/// An event's type and data.
pub(super) fn written<A: Aggregate>(event: &A::Event) -> Result<(String, Value), EventsError> {
    let unwritable = |reason: String| EventsError::Unwritable { aggregate_type: A::TYPE, reason };
    let mut tagged = serde_json::to_value(event).map_err(|error| unwritable(error.to_string()))?;
    let name = tagged["type"].as_str().map(str::to_owned);
    let name = name.ok_or_else(|| unwritable("its form has no `type`".to_owned()))?;
    Ok((name, tagged["data"].take()))
}
