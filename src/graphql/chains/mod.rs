//! Chains in the schema.

mod fee;
mod mutation;
mod query;
mod subscription;
mod transaction;
mod types;

pub(crate) use mutation::ChainsMutation;
pub(crate) use query::ChainsQuery;
pub(crate) use subscription::ChainsSubscription;
