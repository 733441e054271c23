//! Chains in the schema.

mod mutation;
mod query;
mod types;

pub(crate) use mutation::ChainsMutation;
pub(crate) use query::ChainsQuery;
