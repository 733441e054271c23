//! Feelings and memories in the schema.

mod mutation;
mod place;
mod query;
mod subscription;
mod types;

pub(crate) use mutation::AgentMutation;
pub(crate) use query::AgentQuery;
pub(crate) use subscription::AgentSubscription;
