//! The feelings of all users' agents.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use serde_json::json;

use super::{
    AgentError, Emotion, EmotionState, EmotionUpdated,
    emotion::{self, EmotionEvent},
};
use crate::{
    audit::{Audit, Entry},
    events::{Aggregate, Begun, Command, DomainEvent, Events, EventsError},
    model::{FieldError, Origin, Timestamp, is_subject},
};

/// Feelings. Clones share everything.
#[derive(Debug, Clone)]
pub struct Emotions {
    events: Events,
    audit: Audit,
}

/// A feeling, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feeling {
    /// The emotion.
    pub emotion: Emotion,
    /// The points, −100 to 100.
    pub points: i32,
    /// How many times it was updated.
    pub version: u64,
    /// When that was the last time.
    pub updated_at: Option<Timestamp>,
}

/// A change of a feeling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmotionChange {
    /// Whose agent it is.
    pub user_id: Arc<str>,
    /// What changed.
    pub updated: EmotionUpdated,
    /// Which change it is: 1, 2, 3, without holes.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
}

impl Emotions {
    pub(super) fn new(events: Events, audit: Audit) -> Self {
        Self { events, audit }
    }

    /// Takes in feedback to the agent of the command's subject.
    ///
    /// Feedback from several callers at once is taken in one after the other, and none is lost or refused: it says how
    /// far to move, and not where to.
    pub async fn update(&self, command: Command, origin: &Origin, feedback: i32) -> Result<Feeling, AgentError> {
        if !emotion::RANGE.contains(&feedback) {
            let problem = FieldError::new(&["feedback"], "it must be from -100 to 100");
            return Err(AgentError::Invalid(vec![problem]));
        }
        self.events.within(self.append(command, origin, feedback)).await
    }

    async fn append(&self, command: Command, origin: &Origin, feedback: i32) -> Result<Feeling, AgentError> {
        let id = stream(&command.user_id);
        let mut work = match self.audit.begin(command, std::slice::from_ref(&id)).await? {
            Begun::Fresh(work) => work,
            Begun::Repeated(result) => return self.as_of(&id, result["version"].as_u64().unwrap_or_default()).await,
        };
        let mut state = work.replay::<EmotionState>(&id).await?;
        let updated = EmotionEvent::EmotionUpdated(state.state.feel(feedback));
        work.append(&mut state, &[updated]).await?;
        let said = json!({ "feedback": feedback, "points": state.state.points });
        self.audit.record(&mut work, origin, Entry::done("emotion.update", id, said)).await?;
        let updated_at = Some(work.now());
        work.commit(json!({ "version": state.version })).await?;
        let EmotionState { points } = state.state;
        Ok(Feeling { emotion: Emotion::of(points), points, version: state.version, updated_at })
    }

    /// The feeling of a user's agent now.
    pub async fn current(&self, user_id: &str) -> Result<Feeling, AgentError> {
        let id = stream(user_id);
        self.events
            .within(async {
                let version = self.events.replay::<EmotionState>(&id).await?.version;
                self.as_of(&id, version).await
            })
            .await
    }

    /// Changes of the feeling of a user's agent: after a version, or from now on. For ever.
    pub async fn changes(
        &self,
        user_id: &str,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = EmotionChange> + Send + use<>, AgentError> {
        if !is_subject(user_id) {
            let problem = FieldError::new(&["userId"], "must have 1 to 256 characters, and no NUL");
            return Err(AgentError::Invalid(vec![problem]));
        }
        let id = stream(user_id);
        let now = self.events.within(self.events.replay::<EmotionState>(&id)).await?.version;
        // A place that has not been reached yet is none of this user's.
        let after = after.unwrap_or(now).min(now);
        let user_id: Arc<str> = user_id.into();
        Ok(self.events.follow_stream(&id, after).filter_map(move |event| {
            let change = change(&user_id, &event);
            if let Err(error) = &change {
                tracing::error!(%error, "a change of a feeling cannot be read");
            }
            std::future::ready(change.ok())
        }))
    }

    async fn as_of(&self, id: &str, version: u64) -> Result<Feeling, AgentError> {
        let Some(before) = version.checked_sub(1) else {
            return Ok(Feeling { emotion: Emotion::default(), points: 0, version: 0, updated_at: None });
        };
        let events = self.events.stream(id, before).await?;
        let event = events.first().ok_or_else(|| EventsError::Hole { id: id.into(), version })?;
        let EmotionUpdated { new_emotion, points, .. } = emotion::updated(event)?;
        Ok(Feeling { emotion: new_emotion, points, version, updated_at: Some(event.metadata.time) })
    }
}

fn stream(user_id: &str) -> String {
    format!("{}:{user_id}", EmotionState::TYPE)
}

fn change(user_id: &Arc<str>, event: &DomainEvent) -> Result<EmotionChange, EventsError> {
    Ok(EmotionChange {
        user_id: Arc::clone(user_id),
        updated: emotion::updated(event)?,
        version: event.event_version,
        at: event.metadata.time,
    })
}
