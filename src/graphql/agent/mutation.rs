//! `updateEmotion`, `addMemory` and `memoryForget`.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use serde_json::json;

use super::{
    place::memory_of,
    types::{EmotionState, Memory},
};
use crate::{
    agent::AgentError,
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth},
        error::ApiError,
    },
};

/// Names the memory to forget.
#[derive(InputObject)]
pub(crate) struct MemoryForgetInput {
    /// Its id.
    id: ID,
}

/// What was forgotten, or why nothing was.
#[derive(SimpleObject)]
pub(crate) struct MemoryForgetPayload {
    /// The id of what was forgotten; null when nothing was.
    forgotten_id: Option<ID>,
    /// What was wrong with the input.
    user_errors: Vec<MemoryUserError>,
}

/// Something wrong with the input.
#[derive(SimpleObject)]
pub(crate) struct MemoryUserError {
    /// What kind of error it is.
    code: MemoryErrorCode,
    /// The path of the input field.
    field: Vec<String>,
    /// A sentence for people.
    message: String,
}

/// What can be wrong with the input.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryErrorCode {
    /// The caller has no memory of that id.
    NotFound,
}

#[derive(Default)]
pub(crate) struct AgentMutation;

#[Object]
impl AgentMutation {
    /// Tells the caller's agent how well it did, from -100 to 100. Half of that moves its points.
    ///
    /// Feedback that comes at the same time is taken in one after the other, and none is lost.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn update_emotion(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "From -100 to 100.")] feedback: i32,
    ) -> Result<EmotionState> {
        let command = ctx.command("updateEmotion", &json!({ "feedback": feedback }));
        let feeling = ctx.services().agent.emotions.update(command, ctx.origin(), feedback).await;
        Ok(EmotionState(feeling.map_err(ApiError::from)?))
    }

    /// Tells the caller's agent to remember something.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn add_memory(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to remember, 1 to 8000 characters.")] content: String,
    ) -> Result<Memory> {
        let command = ctx.command("addMemory", &json!({ "content": content }));
        let memory = ctx.services().agent.memories.add(command, ctx.origin(), &content).await;
        Ok(Memory(memory.map_err(ApiError::from)?))
    }

    /// Makes a memory of the caller unreadable for good, in all copies. `TIMEOUT` says that its words are still being
    /// removed from lists and searches, which goes on: the same request waits for the end of it again.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn memory_forget(&self, ctx: &Context<'_>, input: MemoryForgetInput) -> Result<MemoryForgetPayload> {
        let missing = || MemoryForgetPayload {
            forgotten_id: None,
            user_errors: vec![MemoryUserError {
                code: MemoryErrorCode::NotFound,
                field: vec!["input".into(), "id".into()],
                message: "there is no such memory".into(),
            }],
        };
        let Some(id) = memory_of(&input.id) else { return Ok(missing()) };
        let command = ctx.command("memoryForget", &json!({ "id": id }));
        match ctx.services().agent.memories.forget(command, ctx.origin(), id).await {
            Ok(()) => Ok(MemoryForgetPayload { forgotten_id: Some(input.id), user_errors: Vec::new() }),
            Err(AgentError::NotFound) => Ok(missing()),
            Err(error) => Err(ApiError::from(error).into()),
        }
    }
}
