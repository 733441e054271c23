//! What an operator can set: one typed struct per section, its defaults beside its fields.
//!
//! This room is the only reader of the environment. A room is handed its own section and never sees the rest.
//! A new setting is a field with a doc comment, a default with its unit in the name, and the environment key
//! `TIDEGATE_<SECTION>_<FIELD>`; `tests/it/config.rs` checks that the three agree.

mod auth;
mod cache;
mod graphql;
mod http;
mod limits;
mod market;
mod problem;
mod resilience;
mod secret;
mod telemetry;

pub use auth::AuthConfig;
pub use cache::CacheConfig;
pub use graphql::GraphqlConfig;
pub use http::HttpConfig;
pub use limits::LimitsConfig;
pub use market::MarketConfig;
pub use problem::Problem;
pub use resilience::ResilienceConfig;
pub use secret::Secret;
pub use telemetry::TelemetryConfig;

use confique::Config as Section;

/// Every setting of the server.
#[derive(Debug, Clone, Section)]
pub struct Config {
    /// The listener and what it accepts.
    #[config(nested)]
    pub http: HttpConfig,
    /// The front door's limits and modes.
    #[config(nested)]
    pub graphql: GraphqlConfig,
    /// Who is asking: tokens and keys.
    #[config(nested)]
    pub auth: AuthConfig,
    /// Rate limits.
    #[config(nested)]
    pub limits: LimitsConfig,
    /// The value cache.
    #[config(nested)]
    pub cache: CacheConfig,
    /// How upstreams are called.
    #[config(nested)]
    pub resilience: ResilienceConfig,
    /// Prices: sources, aggregation, feed.
    #[config(nested)]
    pub market: MarketConfig,
    /// Logs and metrics.
    #[config(nested)]
    pub telemetry: TelemetryConfig,
}
