//! What can be set per upstream. The defaults come from `[resilience]`.

use std::time::Duration;

use super::CallError;
use crate::config::ResilienceConfig;

/// How one upstream is called.
#[derive(Debug, Clone)]
pub struct PolicyOptions {
    /// Longest time of a whole call, with all its tries and waits.
    pub deadline: Duration,
    /// The upstream's breaker and the timeout of one try.
    pub breaker: BreakerOptions,
    /// Second tries.
    pub retry: RetryOptions,
    /// The pace of tries.
    pub throttle: ThrottleOptions,
}

/// The options of a breaker, named as in opossum.
#[derive(Debug, Clone)]
pub struct BreakerOptions {
    /// Whether the breaker may open; results are counted either way.
    pub enabled: bool,
    /// Longest time of one try; a longer one is a failure.
    pub timeout: Duration,
    /// Opens when more than this share of the finished tries in the window failed, in percent.
    pub error_threshold_percentage: u8,
    /// Stays closed while the window holds fewer finished tries.
    pub volume_threshold: u64,
    /// Length of the window.
    pub rolling_count_timeout: Duration,
    /// Buckets of the window.
    pub rolling_count_buckets: usize,
    /// How long an open breaker refuses before it lets one probe through.
    pub reset_timeout: Duration,
    /// Longest `Retry-After` that keeps the breaker open beyond `reset_timeout`.
    pub retry_after_limit: Duration,
    /// Calls that may be under way at once.
    pub capacity: usize,
    /// Whether failures of the first window are forgiven.
    pub allow_warm_up: bool,
    /// Errors for which this is true count as successes: the upstream is well and said no.
    pub error_filter: fn(&CallError) -> bool,
}

/// Second tries of idempotent calls.
#[derive(Debug, Clone)]
pub struct RetryOptions {
    /// Tries of one call in all, the first included.
    pub max_tries: u32,
    /// Upper bound of the wait before the second try; doubles with every further one.
    pub base_backoff: Duration,
    /// Longest wait between two tries.
    pub max_backoff: Duration,
    /// Retries that are always allowed, per second.
    pub budget_per_second: u32,
    /// Retries allowed beyond that, as a share of the calls in percent.
    pub budget_percent: u8,
}

/// The pace of tries, in tries per second.
#[derive(Debug, Clone)]
pub struct ThrottleOptions {
    /// The fastest pace, and the one to start with.
    pub max_per_second: f64,
    /// The slowest pace.
    pub min_per_second: f64,
    /// What each success adds to the pace.
    pub step_per_success: f64,
    /// Tries that may leave at once after a quiet time.
    pub burst: u32,
}

impl From<&ResilienceConfig> for PolicyOptions {
    fn from(config: &ResilienceConfig) -> Self {
        let breaker = &config.breaker;
        let retry = &config.retry;
        Self {
            deadline: Duration::from_millis(config.deadline_ms),
            breaker: BreakerOptions {
                enabled: breaker.enabled,
                timeout: Duration::from_millis(breaker.try_timeout_ms),
                error_threshold_percentage: breaker.error_threshold_percentage,
                volume_threshold: breaker.volume_threshold,
                rolling_count_timeout: Duration::from_millis(breaker.rolling_count_timeout_ms),
                rolling_count_buckets: breaker.rolling_count_buckets,
                reset_timeout: Duration::from_millis(breaker.reset_timeout_ms),
                retry_after_limit: Duration::from_secs(breaker.retry_after_limit_seconds),
                capacity: breaker.capacity,
                allow_warm_up: breaker.allow_warm_up,
                error_filter: |error| !error.is_failure(),
            },
            retry: RetryOptions {
                max_tries: retry.max_tries,
                base_backoff: Duration::from_millis(retry.base_backoff_ms),
                max_backoff: Duration::from_millis(retry.max_backoff_ms),
                budget_per_second: retry.budget_per_second,
                budget_percent: retry.budget_percent,
            },
            throttle: ThrottleOptions {
                max_per_second: config.throttle.max_per_second,
                min_per_second: config.throttle.min_per_second,
                step_per_success: config.throttle.step_per_success,
                burst: config.throttle.burst,
            },
        }
    }
}
