//! Upstreams and their breakers in the schema: the operator's view and levers.

mod mutation;
mod query;
mod types;

pub(crate) use mutation::UpstreamsMutation;
pub(crate) use query::UpstreamsQuery;
