//! `upstreams`.

use async_graphql::{Context, Object};

use super::types::Upstream;
use crate::graphql::{
    context::ContextExt,
    directives::{RequiredRole, auth},
    rows::Rows,
};

#[derive(Default)]
pub(crate) struct UpstreamsQuery;

#[Object]
impl UpstreamsQuery {
    /// Every service that Tidegate calls, by name, as it stands now.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn upstreams(&self, ctx: &Context<'_>) -> Rows<Upstream> {
        ctx.services().upstreams.list().into_iter().map(Upstream).collect()
    }
}
