//! `chains` and `chain`.

use async_graphql::{Context, ID, Object, Result};

use super::types::Chain;
use crate::graphql::{context::ContextExt, directives::rate_limit, error::ApiError, rows::Rows};

#[derive(Default)]
pub(crate) struct ChainsQuery;

#[Object]
impl ChainsQuery {
    /// The chains that can be asked, by id.
    #[graphql(directive = rate_limit::apply(600, 60))]
    async fn chains(&self, ctx: &Context<'_>) -> Rows<Chain> {
        ctx.services().chains.list().cloned().map(Chain).collect()
    }

    /// One chain; null, with an error beside it that lists the known ones, where there is none of this id.
    #[graphql(directive = rate_limit::apply(600, 60))]
    async fn chain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a chain, such as `ethereum`.")] id: ID,
    ) -> Option<Result<Chain>> {
        let found = ctx.services().chains.find(&id).cloned();
        Some(found.map(Chain).map_err(|error| ApiError::from(error).into()))
    }
}
