//! `[cache]`: the value cache, in this process and shared with others.

use confique::Config;

use super::Problem;

/// The value cache.
#[derive(Debug, Clone, Config)]
pub struct CacheConfig {
    /// Memory that each value cache may hold, in bytes, from 65536; the least useful values leave first.
    #[config(env = "TIDEGATE_CACHE_CAPACITY_BYTES", default = 67_108_864)]
    pub capacity_bytes: u64,
    /// How long "does not exist" is believed, from 1 ms to one hour.
    #[config(env = "TIDEGATE_CACHE_MISSING_MS", default = 5_000)]
    pub missing_ms: u64,
    /// How long a caller with a stale value at hand waits for a fresh one, up to one minute; 0 answers stale at once.
    #[config(env = "TIDEGATE_CACHE_SOFT_TIMEOUT_MS", default = 250)]
    pub soft_timeout_ms: u64,
    /// How long one load may take before it is given up, from 1 ms to ten minutes.
    #[config(env = "TIDEGATE_CACHE_LOAD_TIMEOUT_MS", default = 10_000)]
    pub load_timeout_ms: u64,
    /// How long a stale value is served without another attempt after a load failed, up to ten minutes.
    #[config(env = "TIDEGATE_CACHE_RETRY_DELAY_MS", default = 1_000)]
    pub retry_delay_ms: u64,
    /// How far lifetimes are spread at random so that values do not expire together, in percent, up to 50.
    #[config(env = "TIDEGATE_CACHE_JITTER_PERCENT", default = 10)]
    pub jitter_percent: u8,
    /// How eagerly a value is refreshed before it expires, in multiples of its load time, up to 10; 0 never.
    #[config(env = "TIDEGATE_CACHE_EARLY_REFRESH_BETA", default = 1.0)]
    pub early_refresh_beta: f64,
    /// Loads that each value cache may have under way at once, from 1; more are refused.
    #[config(env = "TIDEGATE_CACHE_MAX_LOADS", default = 1_024)]
    pub max_loads: u32,
    /// How long a flight may look into Redis before it loads, from 1 ms to five seconds; also how long an invalidation
    /// waits until Redis knows of it.
    #[config(env = "TIDEGATE_CACHE_REDIS_DEADLINE_MS", default = 50)]
    pub redis_deadline_ms: u64,
    /// Time between two comparisons of what was invalidated with what Redis knows, from 100 ms to ten minutes. If every
    /// message between the nodes is lost, a removed value is served for no longer.
    #[config(env = "TIDEGATE_CACHE_RECONCILE_MS", default = 5_000)]
    pub reconcile_ms: u64,
    /// How long a value counts as fresh while other nodes cannot be heard, up to one minute.
    #[config(env = "TIDEGATE_CACHE_BLIND_FRESH_MS", default = 2_000)]
    pub blind_fresh_ms: u64,
    /// How long a load of another node is waited for instead of loading the same, up to ten seconds; 0 not at all.
    #[config(env = "TIDEGATE_CACHE_SHARED_FLIGHT_MS", default = 500)]
    pub shared_flight_ms: u64,
}

impl CacheConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, value: &dyn ToString, expected| {
            problems.extend(Problem::unless(ok, key, value, expected));
        };
        check(self.capacity_bytes >= 65_536, "cache.capacity_bytes", &self.capacity_bytes, "at least 65536");
        check((1..=3_600_000).contains(&self.missing_ms), "cache.missing_ms", &self.missing_ms, "1 to 3600000");
        check(self.soft_timeout_ms <= 60_000, "cache.soft_timeout_ms", &self.soft_timeout_ms, "at most 60000");
        check(
            (1..=600_000).contains(&self.load_timeout_ms),
            "cache.load_timeout_ms",
            &self.load_timeout_ms,
            "1 to 600000",
        );
        check(self.retry_delay_ms <= 600_000, "cache.retry_delay_ms", &self.retry_delay_ms, "at most 600000");
        check(self.jitter_percent <= 50, "cache.jitter_percent", &self.jitter_percent, "at most 50");
        check(
            (0.0..=10.0).contains(&self.early_refresh_beta),
            "cache.early_refresh_beta",
            &self.early_refresh_beta,
            "0 to 10",
        );
        check(self.max_loads >= 1, "cache.max_loads", &self.max_loads, "at least 1");
        let deadline = (1..=5_000).contains(&self.redis_deadline_ms);
        check(deadline, "cache.redis_deadline_ms", &self.redis_deadline_ms, "1 to 5000");
        let reconcile = (100..=600_000).contains(&self.reconcile_ms);
        check(reconcile, "cache.reconcile_ms", &self.reconcile_ms, "100 to 600000");
        check(self.blind_fresh_ms <= 60_000, "cache.blind_fresh_ms", &self.blind_fresh_ms, "at most 60000");
        check(self.shared_flight_ms <= 10_000, "cache.shared_flight_ms", &self.shared_flight_ms, "at most 10000");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted_and_nonsense_is_named() {
        assert_eq!(CacheConfig::defaults().problems(), []);
        let nonsense = CacheConfig {
            capacity_bytes: 1,
            missing_ms: 0,
            soft_timeout_ms: 60_001,
            load_timeout_ms: 0,
            retry_delay_ms: 600_001,
            jitter_percent: 51,
            early_refresh_beta: f64::NAN,
            max_loads: 0,
            redis_deadline_ms: 0,
            reconcile_ms: 99,
            blind_fresh_ms: 60_001,
            shared_flight_ms: 10_001,
        };
        assert_eq!(nonsense.problems().len(), 12);
    }
}
