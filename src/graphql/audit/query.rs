//! `auditLog`.

use async_graphql::{Context, Object, Result};

use super::types::{AuditConnection, row_of};
use crate::{
    audit::AuditFilter,
    graphql::{
        context::ContextExt,
        directives::{Private, RequiredRole, auth},
        error::ApiError,
    },
    model::FieldError,
};

/// Most rows of a page.
const LONGEST_PAGE: i32 = 100;

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
    let mut problems = Vec::new();
    if !(1..=LONGEST_PAGE).contains(&first) {
        problems.push(FieldError::new(&["first"], format!("it must be from 1 to {LONGEST_PAGE}")));
    }
    let before = after.map(row_of);
    if before == Some(None) {
        problems.push(FieldError::new(&["after"], "it is no cursor of this list"));
    }
    for (name, text) in [("user", &filter.user_id), ("action", &filter.action)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            problems.push(FieldError::new(&[name], "it has a NUL character"));
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::bad_input(&problems).into());
    }
    let found = ctx.services().audit.page(filter, before.flatten(), first.unsigned_abs() as usize).await;
    Ok(AuditConnection(found.map_err(ApiError::from)?))
}
