//! The response cache: finished answers, kept for as long as every field of theirs allows.
//!
//! Looked at after admission, so that a kept answer is as protected as a fresh one. Identical operations that arrive
//! together run once. What may not be kept is handed to everybody who waited for it, and then forgotten.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use async_graphql::{Variables, parser::types::OperationType};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::{
    ErrorCode,
    context::Errand,
    error::Refusal,
    execution::{Executed, Executor},
    plan::Plan,
};
use crate::{
    cache::{Cache, CacheKey, CacheValue, LoadLost, Loaded, Lookup},
    model::{Clock, Principal, Timestamp},
};

/// A finished answer and when it was made.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) executed: Arc<Executed>,
    /// Seconds since it was made; `None` for one that was made while this request waited.
    pub(crate) age: Option<u64>,
}

/// Keeps finished answers.
#[derive(Clone)]
pub(crate) struct Answers {
    kept: AnswerCache,
    clock: Clock,
}

/// Where answers are kept.
pub type AnswerCache = Cache<AnswerKey, Kept, NotKept>;

/// What an answer is kept under: the hash of everything that it depends on.
pub type AnswerKey = [u8; 32];

/// An answer that may be given again.
#[derive(Debug, Clone)]
pub struct Kept(Arc<Executed>);

impl CacheKey for AnswerKey {
    fn shared_name(&self) -> Cow<'_, str> {
        Cow::Owned(BASE64.encode(self))
    }
}

impl CacheValue for Kept {
    fn weight(&self) -> u32 {
        u32::try_from(256 + self.0.weight()).unwrap_or(u32::MAX)
    }
}

/// An execution that left nothing to keep.
#[derive(Debug, Clone)]
pub struct NotKept(Ended);

#[derive(Debug, Clone)]
enum Ended {
    Executed(Arc<Executed>),
    Refused(Arc<Refusal>),
}

impl From<LoadLost> for NotKept {
    fn from(lost: LoadLost) -> Self {
        let refusal = match lost {
            LoadLost::TimedOut => Refusal::new(ErrorCode::Timeout, "the operation took too long"),
            LoadLost::Saturated => Refusal::new(ErrorCode::UpstreamUnavailable, "too many operations are under way"),
            // The execution's own guards end it with an answer; what is left is a fault of ours.
            LoadLost::Interrupted | LoadLost::Unanswered => Refusal::internal(),
        };
        Self(Ended::Refused(Arc::new(refusal)))
    }
}

impl Answers {
    pub(crate) fn new(kept: AnswerCache, clock: Clock) -> Self {
        Self { kept, clock }
    }

    /// The plan's answer, kept or fresh.
    pub(crate) async fn answer(
        &self,
        executor: &Executor,
        plan: &Arc<Plan>,
        variables: Variables,
        principal: Option<&Principal>,
        errand: Errand,
    ) -> Result<Finished, Refusal> {
        let Some(key) = key(plan, &variables, principal) else {
            let errand = Some(errand).filter(|_| plan.kind == OperationType::Mutation);
            let executed = executor.execute(plan, variables, principal, errand).await?;
            return Ok(Finished { executed: Arc::new(executed), age: None });
        };
        if let Some(hit) = self.kept.peek(&key) {
            return Ok(Finished { executed: hit.value.0, age: Some(self.age(hit.created_at)) });
        }
        self.load(key, executor, plan, variables, principal).await
    }

    async fn load(
        &self,
        key: AnswerKey,
        executor: &Executor,
        plan: &Arc<Plan>,
        variables: Variables,
        principal: Option<&Principal>,
    ) -> Result<Finished, Refusal> {
        let (executor, plan, principal) = (executor.clone(), Arc::clone(plan), principal.cloned());
        // The cache loads in a task of its own, which would know nothing of the request.
        let span = tracing::Span::current();
        let load = move |keys: Vec<AnswerKey>| async move {
            let executed = executor.execute(&plan, variables, principal.as_ref(), None).instrument(span).await;
            let loaded = match executed.map(Arc::new) {
                Ok(executed) if executed.policy.max_age() > 0 => Ok(Loaded::Found {
                    fresh_for: Duration::from_secs(executed.policy.max_age().into()),
                    stale_for: Duration::ZERO,
                    tags: executed.tags.clone(),
                    value: Kept(executed),
                }),
                Ok(executed) => Err(NotKept(Ended::Executed(executed))),
                Err(refusal) => Err(NotKept(Ended::Refused(Arc::new(refusal)))),
            };
            keys.into_iter().map(|key| (key, loaded.clone())).collect::<HashMap<_, _>>()
        };
        match self.kept.get_many(&[key], load).await.remove(&key) {
            Some(Ok(Lookup::Found(hit))) => Ok(Finished { executed: hit.value.0, age: None }),
            Some(Err(NotKept(Ended::Executed(executed)))) => Ok(Finished { executed, age: None }),
            Some(Err(NotKept(Ended::Refused(refusal)))) => Err(Refusal::clone(&refusal)),
            Some(Ok(Lookup::Missing)) | None => Err(Refusal::internal()),
        }
    }

    fn age(&self, made: Timestamp) -> u64 {
        u64::try_from((self.clock.now() - made).num_seconds()).unwrap_or(0)
    }
}

/// What an answer is kept under; `None` for one that may not be kept.
fn key(plan: &Plan, variables: &Variables, principal: Option<&Principal>) -> Option<AnswerKey> {
    if plan.kind != OperationType::Query || plan.cache.max_age() == 0 {
        return None;
    }
    let mut hash = Sha256::new();
    let mut part = |text: &[u8]| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    part(&plan.document_hash);
    part(plan.operation_name.as_ref().map_or("", |name| name.as_str()).as_bytes());
    part(plan.canonical(variables).as_bytes());
    // Whose eyes: a private answer is its subject's; a shared one belongs to all whom admission lets ask.
    match principal {
        Some(principal) if plan.cache.private => part(principal.subject.as_bytes()),
        None if plan.cache.private => return None,
        _ => {}
    }
    Some(hash.finalize().into())
}
