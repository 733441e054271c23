//! `[resilience]`: how upstreams are called.
//!
//! These are the defaults of every upstream; `resilience::PolicyOptions` is built from them and may be changed
//! per upstream by the room that registers it.

use confique::Config;

use super::Problem;

/// How upstreams are called.
#[derive(Debug, Clone, Config)]
pub struct ResilienceConfig {
    /// Longest time a whole call may take, with all its tries and waits, in milliseconds (1 to 600000).
    #[config(env = "TIDEGATE_RESILIENCE_DEADLINE_MS", default = 8000)]
    pub deadline_ms: u64,
    /// The circuit breaker of each upstream.
    #[config(nested)]
    pub breaker: BreakerConfig,
    /// Second tries of idempotent calls.
    #[config(nested)]
    pub retry: RetryConfig,
    /// The pace at which an upstream is asked.
    #[config(nested)]
    pub throttle: ThrottleConfig,
    /// The outbound HTTP client.
    #[config(nested)]
    pub outbound: OutboundConfig,
}

/// The circuit breaker of each upstream.
#[derive(Debug, Clone, Config)]
pub struct BreakerConfig {
    /// Whether breakers may open at all; calls are counted either way.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_ENABLED", default = true)]
    pub enabled: bool,
    /// Longest time one try may take, in milliseconds (1 to 600000); longer is a failure.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_TRY_TIMEOUT_MS", default = 3000)]
    pub try_timeout_ms: u64,
    /// The breaker opens when more than this share of the tries in the window failed, in percent (0 to 100).
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_ERROR_THRESHOLD_PERCENTAGE", default = 50)]
    pub error_threshold_percentage: u8,
    /// The breaker stays closed while the window holds fewer finished tries than this.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_VOLUME_THRESHOLD", default = 5)]
    pub volume_threshold: u64,
    /// Length of the window that is judged, in milliseconds (at least one per bucket, at most 3600000).
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_ROLLING_COUNT_TIMEOUT_MS", default = 10_000)]
    pub rolling_count_timeout_ms: u64,
    /// Buckets the window is divided into (1 to 100); the oldest is forgotten at a time.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_ROLLING_COUNT_BUCKETS", default = 10)]
    pub rolling_count_buckets: usize,
    /// How long an open breaker refuses before it lets one probe through, in milliseconds (1 to 3600000).
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_RESET_TIMEOUT_MS", default = 10_000)]
    pub reset_timeout_ms: u64,
    /// Longest `Retry-After` of an upstream that keeps its breaker open beyond the reset timeout, in seconds.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_RETRY_AFTER_LIMIT_SECONDS", default = 300)]
    pub retry_after_limit_seconds: u64,
    /// Calls to one upstream that may be under way at once (at least 1); more are refused, not queued.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_CAPACITY", default = 64)]
    pub capacity: usize,
    /// Whether failures of the first window after the start are forgiven.
    #[config(env = "TIDEGATE_RESILIENCE_BREAKER_ALLOW_WARM_UP", default = false)]
    pub allow_warm_up: bool,
}

/// Second tries of idempotent calls.
#[derive(Debug, Clone, Config)]
pub struct RetryConfig {
    /// Tries of one call in all, the first included (1 to 10); 1 switches retries off.
    #[config(env = "TIDEGATE_RESILIENCE_RETRY_MAX_TRIES", default = 3)]
    pub max_tries: u32,
    /// Upper bound of the wait before the second try, in milliseconds; it doubles with every further try.
    #[config(env = "TIDEGATE_RESILIENCE_RETRY_BASE_BACKOFF_MS", default = 100)]
    pub base_backoff_ms: u64,
    /// Longest wait between two tries, in milliseconds; at least the base.
    #[config(env = "TIDEGATE_RESILIENCE_RETRY_MAX_BACKOFF_MS", default = 2000)]
    pub max_backoff_ms: u64,
    /// Retries an upstream is always allowed, per second.
    #[config(env = "TIDEGATE_RESILIENCE_RETRY_BUDGET_PER_SECOND", default = 10)]
    pub budget_per_second: u32,
    /// Retries an upstream is allowed beyond that, as a share of its calls in percent (0 to 100).
    #[config(env = "TIDEGATE_RESILIENCE_RETRY_BUDGET_PERCENT", default = 20)]
    pub budget_percent: u8,
}

/// The pace at which an upstream is asked.
#[derive(Debug, Clone, Config)]
pub struct ThrottleConfig {
    /// Tries per second that an upstream gets at most (above 0); the pace starts here.
    #[config(env = "TIDEGATE_RESILIENCE_THROTTLE_MAX_PER_SECOND", default = 100.0)]
    pub max_per_second: f64,
    /// Tries per second that an upstream always gets, however often it says "slow down" (above 0, at most the maximum).
    #[config(env = "TIDEGATE_RESILIENCE_THROTTLE_MIN_PER_SECOND", default = 0.2)]
    pub min_per_second: f64,
    /// What each successful try adds to the pace, in tries per second (0 or more).
    #[config(env = "TIDEGATE_RESILIENCE_THROTTLE_STEP_PER_SUCCESS", default = 0.1)]
    pub step_per_success: f64,
    /// Tries that may leave at once after a quiet time (at least 1).
    #[config(env = "TIDEGATE_RESILIENCE_THROTTLE_BURST", default = 100)]
    pub burst: u32,
}

/// The outbound HTTP client.
#[derive(Debug, Clone, Config)]
pub struct OutboundConfig {
    /// Longest time to reach an upstream's address, in milliseconds (1 to 60000).
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_CONNECT_TIMEOUT_MS", default = 2000)]
    pub connect_timeout_ms: u64,
    /// Longest time for one request with its body, in milliseconds (1 to 600000); the last resort behind the policies.
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_REQUEST_TIMEOUT_MS", default = 30_000)]
    pub request_timeout_ms: u64,
    /// Largest body that is read, in bytes after decompression (at least 1); a larger one is cut off and refused.
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_MAX_BODY_BYTES", default = 4_194_304)]
    pub max_body_bytes: usize,
    /// Redirects that are followed (0 to 10); each hop is checked like the first address.
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_MAX_REDIRECTS", default = 0)]
    pub max_redirects: usize,
    /// Whether loopback and private addresses may be called.
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_ALLOW_PRIVATE_ADDRESSES", default = false)]
    pub allow_private_addresses: bool,
    /// Whether link-local addresses and the metadata services of clouds may be called.
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_ALLOW_LINK_LOCAL_ADDRESSES", default = false)]
    pub allow_link_local_addresses: bool,
    /// The `User-Agent` that upstreams see; printable ASCII.
    #[config(env = "TIDEGATE_RESILIENCE_OUTBOUND_USER_AGENT", default = "tidegate")]
    pub user_agent: String,
}

impl ResilienceConfig {
    /// The declared defaults, for tests and tools.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// Every value of this section that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let deadline_is_sound = (1..=600_000).contains(&self.deadline_ms);
        check(&mut problems, deadline_is_sound, "resilience.deadline_ms", &self.deadline_ms, "1 to 600000");
        self.breaker.add_problems(&mut problems);
        self.retry.add_problems(&mut problems);
        self.throttle.add_problems(&mut problems);
        self.outbound.add_problems(&mut problems);
        problems
    }
}

impl BreakerConfig {
    fn add_problems(&self, problems: &mut Vec<Problem>) {
        let mut ensure = |sound, key, value: &dyn ToString, expected| check(problems, sound, key, value, expected);
        ensure(
            (1..=600_000).contains(&self.try_timeout_ms),
            "resilience.breaker.try_timeout_ms",
            &self.try_timeout_ms,
            "1 to 600000",
        );
        ensure(
            self.error_threshold_percentage <= 100,
            "resilience.breaker.error_threshold_percentage",
            &self.error_threshold_percentage,
            "0 to 100",
        );
        ensure(
            (1..=100).contains(&self.rolling_count_buckets),
            "resilience.breaker.rolling_count_buckets",
            &self.rolling_count_buckets,
            "1 to 100",
        );
        ensure(
            self.rolling_count_timeout_ms >= self.rolling_count_buckets as u64
                && (1..=3_600_000).contains(&self.rolling_count_timeout_ms),
            "resilience.breaker.rolling_count_timeout_ms",
            &self.rolling_count_timeout_ms,
            "at least 1 per bucket, at most 3600000",
        );
        ensure(
            (1..=3_600_000).contains(&self.reset_timeout_ms),
            "resilience.breaker.reset_timeout_ms",
            &self.reset_timeout_ms,
            "1 to 3600000",
        );
        ensure(
            self.retry_after_limit_seconds <= 86_400,
            "resilience.breaker.retry_after_limit_seconds",
            &self.retry_after_limit_seconds,
            "0 to 86400",
        );
        ensure(self.capacity >= 1, "resilience.breaker.capacity", &self.capacity, "1 or more");
    }
}

impl RetryConfig {
    fn add_problems(&self, problems: &mut Vec<Problem>) {
        let mut ensure = |sound, key, value: &dyn ToString, expected| check(problems, sound, key, value, expected);
        ensure((1..=10).contains(&self.max_tries), "resilience.retry.max_tries", &self.max_tries, "1 to 10");
        ensure(
            (self.base_backoff_ms..=600_000).contains(&self.max_backoff_ms),
            "resilience.retry.max_backoff_ms",
            &self.max_backoff_ms,
            "at least base_backoff_ms, at most 600000",
        );
        ensure(self.budget_percent <= 100, "resilience.retry.budget_percent", &self.budget_percent, "0 to 100");
    }
}

impl ThrottleConfig {
    fn add_problems(&self, problems: &mut Vec<Problem>) {
        let mut ensure = |sound, key, value: &dyn ToString, expected| check(problems, sound, key, value, expected);
        ensure(
            self.max_per_second.is_finite() && self.max_per_second > 0.0,
            "resilience.throttle.max_per_second",
            &self.max_per_second,
            "a number above 0",
        );
        ensure(
            self.min_per_second >= 0.001 && self.min_per_second <= self.max_per_second,
            "resilience.throttle.min_per_second",
            &self.min_per_second,
            "0.001 to max_per_second",
        );
        ensure(
            self.step_per_success.is_finite() && self.step_per_success >= 0.0,
            "resilience.throttle.step_per_success",
            &self.step_per_success,
            "0 or more",
        );
        ensure(self.burst >= 1, "resilience.throttle.burst", &self.burst, "1 or more");
    }
}

impl OutboundConfig {
    fn add_problems(&self, problems: &mut Vec<Problem>) {
        let mut ensure = |sound, key, value: &dyn ToString, expected| check(problems, sound, key, value, expected);
        ensure(
            (1..=60_000).contains(&self.connect_timeout_ms),
            "resilience.outbound.connect_timeout_ms",
            &self.connect_timeout_ms,
            "1 to 60000",
        );
        ensure(
            (1..=600_000).contains(&self.request_timeout_ms),
            "resilience.outbound.request_timeout_ms",
            &self.request_timeout_ms,
            "1 to 600000",
        );
        ensure(self.max_body_bytes >= 1, "resilience.outbound.max_body_bytes", &self.max_body_bytes, "1 or more");
        ensure(self.max_redirects <= 10, "resilience.outbound.max_redirects", &self.max_redirects, "0 to 10");
        ensure(
            !self.user_agent.is_empty() && self.user_agent.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "resilience.outbound.user_agent",
            &self.user_agent,
            "printable ASCII, not empty",
        );
    }
}

fn check(problems: &mut Vec<Problem>, sound: bool, key: &'static str, value: &dyn ToString, expected: &'static str) {
    problems.extend(Problem::unless(sound, key, value, expected));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(ResilienceConfig::defaults().problems(), []);
    }

    #[test]
    fn every_bad_value_is_named() {
        let mut config = ResilienceConfig::defaults();
        config.deadline_ms = 0;
        config.breaker.try_timeout_ms = 0;
        config.breaker.error_threshold_percentage = 101;
        config.breaker.rolling_count_buckets = 0;
        config.breaker.rolling_count_timeout_ms = 0;
        config.breaker.reset_timeout_ms = 0;
        config.breaker.capacity = 0;
        config.retry.max_tries = 0;
        config.retry.max_backoff_ms = 1;
        config.retry.budget_percent = 101;
        config.throttle.max_per_second = f64::NAN;
        config.throttle.step_per_success = -1.0;
        config.throttle.burst = 0;
        config.outbound.connect_timeout_ms = 0;
        config.outbound.max_body_bytes = 0;
        config.outbound.max_redirects = 11;
        config.outbound.user_agent = "a\nb".to_owned();
        let keys: Vec<_> = config.problems().into_iter().map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "resilience.deadline_ms",
                "resilience.breaker.try_timeout_ms",
                "resilience.breaker.error_threshold_percentage",
                "resilience.breaker.rolling_count_buckets",
                "resilience.breaker.rolling_count_timeout_ms",
                "resilience.breaker.reset_timeout_ms",
                "resilience.breaker.capacity",
                "resilience.retry.max_tries",
                "resilience.retry.max_backoff_ms",
                "resilience.retry.budget_percent",
                "resilience.throttle.max_per_second",
                "resilience.throttle.min_per_second",
                "resilience.throttle.step_per_success",
                "resilience.throttle.burst",
                "resilience.outbound.connect_timeout_ms",
                "resilience.outbound.max_body_bytes",
                "resilience.outbound.max_redirects",
                "resilience.outbound.user_agent",
            ]
        );
    }
}
