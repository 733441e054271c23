//! `emotionChanges`.

use async_graphql::{Context, ID, Result, Subscription};
use futures_util::{Stream, StreamExt};

use super::{place::change_version, types::EmotionUpdate};
use crate::{
    graphql::{
        context::{ContextExt, Standing},
        directives::{RequiredRole, auth},
        error::ApiError,
    },
    model::FieldError,
};

#[derive(Default)]
pub(crate) struct AgentSubscription;

#[Subscription]
impl AgentSubscription {
    /// Every change of how a user's agent feels, each once and in order.
    ///
    /// Who comes back with `after` gets all changes since then, however long ago that was.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn emotion_changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user: the subject of their tokens.")] user_id: ID,
        #[graphql(desc = "The `cursor` of the last change that arrived, to go on after it.")] after: Option<String>,
    ) -> Result<impl Stream<Item = EmotionUpdate>> {
        let resumed = after.is_some();
        let version = after.map(|cursor| {
            let problem = || FieldError::new(&["after"], "it is no cursor of this user's changes");
            change_version(&user_id, &cursor).ok_or_else(|| ApiError::bad_input(&[problem()]))
        });
        let changes = ctx.services().agent.emotions.changes(&user_id, version.transpose()?).await;
        let scope = ctx.scope().clone();
        Ok(changes.map_err(ApiError::from)?.map(move |change| {
            scope.stand(Standing { supersedes: None, resumed });
            EmotionUpdate(change)
        }))
    }
}
