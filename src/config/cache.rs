//! `[cache]`: the value cache in this process.

use confique::Config;

use super::Problem;

/// The value cache in this process.
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
        };
        assert_eq!(nonsense.problems().len(), 8);
    }
}
