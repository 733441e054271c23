//! Prices in the schema.

mod coins;
mod query;
mod subscription;
mod types;

pub(crate) use query::MarketQuery;
pub(crate) use subscription::MarketSubscription;
