//! Chains in the schema.

mod fee;
mod mutation;
mod query;
mod transaction;
mod types;

pub(crate) use mutation::ChainsMutation;
pub(crate) use query::ChainsQuery;
