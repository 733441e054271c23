//! Chains in the schema.

mod query;
mod types;

pub(crate) use query::ChainsQuery;
