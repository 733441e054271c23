//! What an operator can set: one typed struct per section, its defaults beside its fields.
//!
//! This room is the only reader of the environment. A room is handed its own section and never sees the rest.
//! A new setting is a field with a doc comment, a default with its unit in the name, and the environment key
//! `TIDEGATE_<SECTION>_<FIELD>`; the tests in `listing.rs` check that the three agree, and `tests/it/config.rs` that
//! `docs/configuration.md` shows it. A new section is a file here, a field of [`Config`] and a line in `problems`.

mod agent;
mod audit;
mod auth;
mod cache;
mod chains;
mod database;
mod error;
mod given;
mod graphql;
mod http;
mod limits;
mod listing;
mod load;
mod market;
mod mcp;
mod probe;
mod problem;
mod redis;
mod reference;
mod resilience;
mod secret;
mod telemetry;

pub use self::redis::RedisConfig;
pub use agent::AgentConfig;
pub use audit::AuditConfig;
pub use auth::{AuthConfig, DEVELOPMENT_SECRET, KeyAlgorithm, SecondFactor};
pub use cache::CacheConfig;
pub use chains::{ChainsConfig, EndpointEntry, InvalidEndpoint, InvalidNetwork, NetworkEntry, NetworkIdentity};
pub use database::DatabaseConfig;
pub use error::{Complaint, ConfigError, Origin};
pub use graphql::GraphqlConfig;
pub use http::{HttpConfig, WebSocketConfig};
pub use limits::{InvalidOutageOverride, InvalidOverride, LimitOverride, LimitsConfig, OnOutage, OutageOverride};
pub use listing::{Setting, Source, declared};
pub use load::{Loaded, Sources, load};
pub use market::{
    CoinGeckoConfig, CoinbaseConfig, DefiLlamaConfig, JupiterConfig, MarketConfig, UniswapConfig, ZeroExConfig,
};
pub use mcp::{McpConfig, ServerEnvironment};
pub use probe::Kind;
pub use problem::Problem;
pub use reference::{as_markdown, as_text};
pub use resilience::{BreakerConfig, OutboundConfig, ResilienceConfig, RetryConfig, ThrottleConfig};
pub use secret::Secret;
pub use telemetry::{LogFormat, TelemetryConfig};

use confique::{Config as Section, Layer};

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
    /// What nodes share.
    #[config(nested)]
    pub redis: RedisConfig,
    /// State that must not be lost.
    #[config(nested)]
    pub database: DatabaseConfig,
    /// How upstreams are called.
    #[config(nested)]
    pub resilience: ResilienceConfig,
    /// Prices: sources, aggregation, feed. Swaps: venues.
    #[config(nested)]
    pub market: MarketConfig,
    /// Chains: who answers for them, and how they are asked.
    #[config(nested)]
    pub chains: ChainsConfig,
    /// MCP servers: who may be run and asked, and within which bounds.
    #[config(nested)]
    pub mcp: McpConfig,
    /// What an agent feels and remembers.
    #[config(nested)]
    pub agent: AgentConfig,
    /// The record of who did what.
    #[config(nested)]
    pub audit: AuditConfig,
    /// Logs and metrics.
    #[config(nested)]
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// The configuration as it is when nobody sets anything.
    #[must_use]
    pub fn defaults() -> Self {
        defaults()
    }

    /// What every command refuses.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        [
            self.http.problems(),
            self.graphql.problems(),
            self.auth.problems(),
            self.limits.problems(),
            self.cache.problems(),
            self.redis.problems(),
            self.database.problems(),
            self.resilience.problems(),
            self.market.problems(),
            self.chains.problems(),
            self.mcp.problems(),
            self.agent.problems(),
            self.audit.problems(),
            self.telemetry.problems(),
        ]
        .concat()
    }

    /// What `serve` refuses on top, and development allows.
    #[must_use]
    pub fn serve_problems(&self) -> Vec<Problem> {
        self.auth.serve_problems()
    }
}

/// A section as it is when nobody sets anything.
fn defaults<S: Section>() -> S {
    S::from_layer(S::Layer::default_values()).expect("every setting is optional or has a default")
}
