//! Chains in the schema.

mod fee;
mod query;
mod transaction;
mod types;

pub(crate) use query::ChainsQuery;
