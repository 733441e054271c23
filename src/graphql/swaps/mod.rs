//! Quotes for swaps in the schema.

mod query;
mod types;

pub(crate) use query::SwapsQuery;
