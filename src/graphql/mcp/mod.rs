//! MCP servers in the schema: what they offer, whether they are well, calls of their tools, and the operator's changes.

mod call;
mod mutation;
mod problems;
mod query;
mod runs;
mod server;
mod subscription;
mod tool;

pub(crate) use call::McpCallMutation;
pub(crate) use mutation::McpMutation;
pub(crate) use query::McpQuery;

pub(crate) use runs::McpRunsQuery;
pub(crate) use subscription::McpSubscription;
