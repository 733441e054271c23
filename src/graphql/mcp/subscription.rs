//! `mcpServerEvents` and `mcpToolProgress`.

use async_graphql::{Context, Enum, ID, Result, SimpleObject, Subscription};
use futures_util::{Stream, StreamExt};
use uuid::Uuid;

use super::server;
use crate::{
    bus::Delivered,
    graphql::{
        context::{ContextExt, Standing},
        directives::{Private, RequiredRole, auth},
        error::ApiError,
        scalars::DateTime,
    },
    mcp::{RunProgress, ServerEvent, ServerEventKind},
    model::FieldError,
};

/// Something that has happened to an MCP server.
#[derive(SimpleObject)]
pub(crate) struct McpServerEvent {
    /// The id of the server.
    server_id: ID,
    /// Its name.
    name: String,
    /// What has happened.
    kind: McpServerEventKind,
    /// When.
    at: DateTime,
}

/// What can happen to an MCP server.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "ServerEventKind")]
pub(crate) enum McpServerEventKind {
    /// It answers, which it did not before.
    Up,
    /// It does not answer any more.
    Down,
    /// It was registered, changed or enabled.
    Changed,
    /// It was removed or disabled.
    Gone,
    /// What it offers is something else than before.
    CatalogueChanged,
}

impl From<ServerEvent> for McpServerEvent {
    fn from(ServerEvent { server_id, name, kind, at }: ServerEvent) -> Self {
        Self { server_id: server::id(server_id), name: name.to_string(), kind: kind.into(), at: DateTime(at) }
    }
}

/// How a call of a tool comes along.
#[derive(SimpleObject)]
pub(crate) struct McpToolProgress {
    /// How far it has come, by the server's word; grows.
    progress: f64,
    /// How far it will come, where the server knows.
    total: Option<f64>,
    /// What the server is doing.
    message: Option<String>,
    /// The call is over.
    finished: bool,
}

impl From<RunProgress> for McpToolProgress {
    fn from(RunProgress { progress, total, message, finished }: RunProgress) -> Self {
        Self { progress, total, message: message.map(|message| message.to_string()), finished }
    }
}

#[derive(Default)]
pub(crate) struct McpSubscription;

#[expect(clippy::unused_async, reason = "the library wants every field to be")]
#[Subscription]
impl McpSubscription {
    /// What happens to MCP servers from now on.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn mcp_server_events(&self, ctx: &Context<'_>) -> impl Stream<Item = McpServerEvent> {
        let scope = ctx.scope().clone();
        heard(ctx.services().mcp.server_events()).map(move |event: ServerEvent| {
            scope.stand(Standing { supersedes: None, resumed: false });
            McpServerEvent::from(event)
        })
    }

    /// How a call of the caller's comes along, from now on until it is over. It may be followed before it begins, by the `runId` that it will be
    /// given.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    async fn mcp_tool_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The `runId` of the call.")] run_id: ID,
    ) -> Result<impl Stream<Item = McpToolProgress>> {
        let problem = || ApiError::bad_input(&[FieldError::new(&["runId"], "must be a UUID")]);
        let run = Uuid::try_parse(&run_id).map_err(|_| problem())?;
        let mut news = Box::pin(heard(ctx.services().mcp.progress(&ctx.caller().subject, run)));
        Ok(async_stream::stream! {
            while let Some(progress) = news.next().await {
                let is_over = progress.finished;
                yield McpToolProgress::from(progress);
                if is_over {
                    return;
                }
            }
        })
    }
}

/// What was not missed. Followers are told of what there is now by queries.
fn heard<T: crate::bus::Message>(news: crate::bus::Subscription<T>) -> impl Stream<Item = T> {
    news.filter_map(|delivered| {
        std::future::ready(match delivered {
            Delivered::Message { message, .. } => Some(message),
            Delivered::Missed(_) => None,
        })
    })
}
