//! `auditLog`.

use async_graphql::{Context, Object, Result};

use super::types::{AuditConnection, row_of};
use crate::{
    audit::AuditFilter,
    graphql::{
        context::ContextExt,
        directives::{Private, RequiredRole, auth},
        error::ApiError,
        paging::asked,
    },
};

#[derive(Default)]
pub(crate) struct AuditQuery;

#[Object]
impl AuditQuery {
    /// Who did what, newest first.
    #[graphql(directive = auth::apply(RequiredRole::Admin), directive = Private::apply())]
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "The `cursor` or `endCursor` after which to go on, to older rows.")] after: Option<String>,
        #[graphql(desc = "Only what this subject did.")] user: Option<String>,
        #[graphql(desc = "Only this kind, such as `api_key.create`.")] action: Option<String>,
    ) -> Option<Result<AuditConnection>> {
        let filter = AuditFilter { user_id: user, action };
        Some(page(ctx, first, after.as_deref(), &filter).await)
    }
}

async fn page(ctx: &Context<'_>, first: i32, after: Option<&str>, filter: &AuditFilter) -> Result<AuditConnection> {
    let (first, before) = asked(first, after, row_of)?;
    let found = ctx.services().audit.page(filter, before, first).await;
    Ok(AuditConnection(found.map_err(ApiError::from)?))
}
