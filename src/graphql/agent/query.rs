//! `me`, `emotion`, `memory` and `memories`.

use async_graphql::{Context, ID, Object, Result};

use super::{
    place::{memory_of, memory_place},
    types::{EmotionState, Memory, MemoryConnection},
};
use crate::{
    graphql::{
        context::ContextExt,
        directives::{Inherit, Private, RequiredRole, auth},
        error::ApiError,
        paging::asked,
        scalars::DateTime,
    },
    model::Principal,
};

#[derive(Default)]
pub(crate) struct AgentQuery;

#[Object]
impl AgentQuery {
    /// Who is asking.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn me(&self, ctx: &Context<'_>) -> Me {
        Me(ctx.caller().clone())
    }

    /// How the caller's agent feels.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn emotion(&self, ctx: &Context<'_>) -> Option<Result<EmotionState>> {
        Some(feeling(ctx).await)
    }

    /// One memory of the caller; null when there is none with this id, or it was forgotten.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn memory(&self, ctx: &Context<'_>, #[graphql(desc = "The memory's id.")] id: ID) -> Option<Result<Memory>> {
        let found = ctx.services().agent.memories.get(&ctx.caller().subject, memory_of(&id)?).await;
        found.map(|memory| memory.map(Memory)).map_err(|error| ApiError::from(error).into()).transpose()
    }

    /// Memories of the caller, newest first.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn memories(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: i32,
        #[graphql(desc = "The `cursor` or `endCursor` after which to go on.")] after: Option<String>,
        #[graphql(desc = "Only memories that hold all of these words, in any form of theirs in English.")]
        query: Option<String>,
    ) -> Option<Result<MemoryConnection>> {
        Some(page(ctx, first, after.as_deref(), query.as_deref()).await)
    }
}

pub(crate) struct Me(Principal);

/// The caller.
#[Object(directive = Inherit::apply())]
impl Me {
    /// The caller's name, from the token.
    async fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What the caller may do.
    async fn role(&self) -> RequiredRole {
        self.0.role.into()
    }

    /// When the token ends; null when it does not.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// How the caller's agent feels.
    async fn emotion(&self, ctx: &Context<'_>) -> Option<Result<EmotionState>> {
        Some(feeling(ctx).await)
    }
}

async fn feeling(ctx: &Context<'_>) -> Result<EmotionState> {
    let feeling = ctx.services().agent.emotions.current(&ctx.caller().subject).await;
    Ok(EmotionState(feeling.map_err(ApiError::from)?))
}

async fn page(ctx: &Context<'_>, first: i32, after: Option<&str>, query: Option<&str>) -> Result<MemoryConnection> {
    let (first, place) = asked(first, after, memory_place)?;
    let (memories, owner) = (&ctx.services().agent.memories, &ctx.caller().subject);
    let found = memories.page(owner, query, place, first).await;
    Ok(MemoryConnection(found.map_err(ApiError::from)?))
}
