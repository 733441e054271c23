//! `upstreamForceOpen`, `upstreamForceClose` and `upstreamReset`.

use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use serde_json::json;

use super::types::Upstream;
use crate::{
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth},
    },
    resilience::UpstreamStatus,
};

/// Names the upstream to act on.
#[derive(InputObject)]
pub(crate) struct UpstreamInput {
    /// The name, as in `upstreams`.
    name: String,
}

/// The upstream after the action, or why nothing was done.
#[derive(SimpleObject)]
pub(crate) struct UpstreamPayload {
    /// The upstream as it stands now; null when nothing was done.
    upstream: Option<Upstream>,
    /// What was wrong with the input.
    user_errors: Vec<UpstreamUserError>,
}

/// Something wrong with the input.
#[derive(SimpleObject)]
pub(crate) struct UpstreamUserError {
    /// What kind of error it is.
    code: UpstreamErrorCode,
    /// The path of the input field.
    field: Vec<String>,
    /// A sentence for people.
    message: String,
}

/// What can be wrong with the input.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamErrorCode {
    /// There is no upstream of that name.
    NotFound,
}

#[derive(Default)]
pub(crate) struct UpstreamsMutation;

#[Object]
impl UpstreamsMutation {
    /// Refuses every call to an upstream until it is reset.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn upstream_force_open(&self, ctx: &Context<'_>, input: UpstreamInput) -> UpstreamPayload {
        let status = ctx.services().upstreams.force_open(&input.name);
        payload(ctx, "upstream.force_open", &input.name, status).await
    }

    /// Lets every call to an upstream through until it is reset, whatever comes back.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn upstream_force_close(&self, ctx: &Context<'_>, input: UpstreamInput) -> UpstreamPayload {
        let status = ctx.services().upstreams.force_close(&input.name);
        payload(ctx, "upstream.force_close", &input.name, status).await
    }

    /// Ends what was forced; the breaker starts afresh, closed.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn upstream_reset(&self, ctx: &Context<'_>, input: UpstreamInput) -> UpstreamPayload {
        let status = ctx.services().upstreams.reset(&input.name);
        payload(ctx, "upstream.reset", &input.name, status).await
    }
}

async fn payload(
    ctx: &Context<'_>,
    action: &'static str,
    name: &str,
    status: Option<UpstreamStatus>,
) -> UpstreamPayload {
    if status.is_some() {
        let by = ctx.scope().principal().map(|principal| &*principal.subject);
        tracing::warn!(upstream.name = name, action, by, "an operator set a breaker");
        ctx.record(action, format!("upstream:{name}"), json!({})).await;
    }
    let missing = || UpstreamUserError {
        code: UpstreamErrorCode::NotFound,
        field: vec!["input".into(), "name".into()],
        message: format!("there is no upstream named {name:?}"),
    };
    UpstreamPayload {
        user_errors: if status.is_none() { vec![missing()] } else { Vec::new() },
        upstream: status.map(Upstream),
    }
}
