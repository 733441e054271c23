//! `mcpToolRuns`.

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};

use crate::{
    graphql::{
        context::ContextExt,
        directives::{Inherit, Private, RequiredRole, auth},
        error::ApiError,
        paging::{PageInfo, asked, decode, encode},
        scalars::{DateTime, int},
    },
    mcp::{Run, RunFilter, RunOutcome, RunPage},
    model::{FieldError, Role},
};

/// The name of the list in its cursors.
const LIST: &str = "mcpToolRuns";

#[derive(Default)]
pub(crate) struct McpRunsQuery;

#[Object]
impl McpRunsQuery {
    /// Calls of tools, newest first: the caller's own, and for an `ADMIN` everybody's.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = Private::apply())]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the field")]
    async fn mcp_tool_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: i32,
        #[graphql(desc = "The `cursor` or `endCursor` after which to go on.")] after: Option<String>,
        #[graphql(desc = "Only of this server, by its name.")] server: Option<String>,
        #[graphql(desc = "Only of this tool, by its own name.")] tool: Option<String>,
        #[graphql(desc = "Only those that ended like this.")] outcome: Option<McpRunOutcome>,
        #[graphql(desc = "Only of this subject; for an `ADMIN`.")] user_id: Option<ID>,
    ) -> Option<Result<McpToolRunConnection>> {
        let filter = RunFilter { user: None, server, tool, outcome: outcome.map(Into::into) };
        Some(match whose(ctx, user_id, filter) {
            Ok(filter) => page(ctx, &filter, first, after.as_deref()).await,
            Err(error) => Err(error.into()),
        })
    }
}

/// Lets the runs through that are asked for; those of nobody in particular where an ADMIN names nobody.
fn whose(ctx: &Context<'_>, user_id: Option<ID>, filter: RunFilter) -> Result<RunFilter, ApiError> {
    let caller = ctx.caller();
    let user = match user_id {
        Some(user) if caller.role >= Role::Admin || *caller.subject == **user => Some(user.0),
        Some(_) => {
            let problem = FieldError::new(&["userId"], "only an ADMIN sees the calls of others");
            return Err(ApiError::bad_input(&[problem]));
        }
        None => (caller.role < Role::Admin).then(|| caller.subject.to_string()),
    };
    Ok(RunFilter { user, ..filter })
}

async fn page(ctx: &Context<'_>, filter: &RunFilter, first: i32, after: Option<&str>) -> Result<McpToolRunConnection> {
    let place = |cursor: &str| decode(LIST, cursor).and_then(|number| i64::try_from(number).ok());
    let (first, before) = asked(first, after, place)?;
    let RunPage { runs, more } = ctx.services().mcp.runs().page(filter, before, first).await.map_err(ApiError::from)?;
    let cursor = |run: &Run| encode(LIST, run.number.unsigned_abs());
    Ok(McpToolRunConnection {
        page_info: PageInfo { has_next_page: more, end_cursor: runs.last().map(cursor) },
        edges: runs.iter().map(|run| McpToolRunEdge { cursor: cursor(run), node: McpToolRun(run.clone()) }).collect(),
        nodes: runs.into_iter().map(McpToolRun).collect(),
    })
}

pub(crate) struct McpToolRun(Run);

/// A call of a tool. What it was called with and what it answered is kept nowhere.
#[Object(directive = Inherit::apply())]
impl McpToolRun {
    /// Its id.
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// The subject who called.
    async fn user_id(&self) -> &str {
        &self.0.user_id
    }

    /// The name of the server.
    async fn server(&self) -> &str {
        &self.0.server
    }

    /// The tool's own name.
    async fn tool(&self) -> &str {
        &self.0.tool
    }

    /// When it was recorded, before it was sent.
    async fn started_at(&self) -> DateTime {
        DateTime(self.0.started_at)
    }

    /// When it was over; null while it goes on.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }

    /// How it ended; null while it goes on.
    async fn outcome(&self) -> Option<McpRunOutcome> {
        self.0.outcome.map(Into::into)
    }

    /// What kind of failure it was, such as `TIMEOUT`; null where there was none.
    async fn error_code(&self) -> Option<&str> {
        self.0.error_code.as_deref()
    }

    /// How long it took, in milliseconds.
    async fn duration_ms(&self) -> Option<f64> {
        self.0.duration.map(|duration| duration.as_secs_f64() * 1e3)
    }

    /// How large the result was, in bytes of JSON.
    async fn result_bytes(&self) -> Option<i32> {
        self.0.result_bytes.map(int)
    }
}

/// How a call ended.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "RunOutcome")]
pub(crate) enum McpRunOutcome {
    /// The tool has answered.
    Succeeded,
    /// The tool has answered that it failed.
    ToolError,
    /// There was no answer.
    Failed,
    /// The caller went away.
    Cancelled,
    /// Nobody knows: the node ended before the call did.
    Unknown,
}

/// Some calls of tools.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpToolRunConnection {
    /// The calls of the page, with their places.
    edges: Vec<McpToolRunEdge>,
    /// The calls of the page.
    nodes: Vec<McpToolRun>,
    /// Where the page ends.
    page_info: PageInfo,
}

/// A call and its place.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpToolRunEdge {
    /// Pass it as `after` to go on after this call.
    cursor: String,
    /// The call.
    node: McpToolRun,
}
