//! How one cache behaves.

use std::time::Duration;

use crate::config::CacheConfig;

/// How one cache behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheSettings {
    /// Memory that the cache may hold, in bytes.
    pub max_weight: u64,
    /// How long "does not exist" is believed.
    pub negative_for: Duration,
    /// How long a caller with a stale value at hand waits for a fresh one; `None`: until the load ends.
    pub soft_timeout: Option<Duration>,
    /// How long one load may take before it is given up.
    pub load_timeout: Duration,
    /// How long a stale value is served without another attempt after a load failed.
    pub retry_after_error: Duration,
    /// How far lifetimes are spread at random, as a fraction of themselves.
    pub jitter: f64,
    /// How eagerly a value is refreshed before it expires, in multiples of its load time; 0 never.
    pub early_refresh_beta: f64,
    /// Loads that may be under way at once.
    pub max_loads: u32,
    /// Whether values are shared with other nodes, if there are any and their type can travel.
    pub shared: bool,
    /// How long a load of another node is waited for; zero: not at all.
    pub shared_flight: Duration,
}

impl CacheSettings {
    /// A cache whose lifetimes are told to callers and therefore kept to the letter: no jitter, no early refresh, and
    /// nothing stale while a load is under way. They stay in the process: what they are made from is shared, and to make
    /// them again is cheaper than to ask for them.
    #[must_use]
    pub fn exact(max_weight: u64) -> Self {
        Self {
            max_weight,
            negative_for: Duration::from_secs(1),
            soft_timeout: None,
            load_timeout: Duration::from_mins(1),
            retry_after_error: Duration::ZERO,
            jitter: 0.0,
            early_refresh_beta: 0.0,
            max_loads: 16_384,
            shared: false,
            shared_flight: Duration::ZERO,
        }
    }
}

impl From<&CacheConfig> for CacheSettings {
    fn from(config: &CacheConfig) -> Self {
        Self {
            max_weight: config.capacity_bytes,
            negative_for: Duration::from_millis(config.missing_ms),
            soft_timeout: Some(Duration::from_millis(config.soft_timeout_ms)),
            load_timeout: Duration::from_millis(config.load_timeout_ms),
            retry_after_error: Duration::from_millis(config.retry_delay_ms),
            jitter: f64::from(config.jitter_percent) / 100.0,
            early_refresh_beta: config.early_refresh_beta,
            max_loads: config.max_loads,
            shared: true,
            shared_flight: Duration::from_millis(config.shared_flight_ms),
        }
    }
}
