//! `[limits]`: who may ask how much.

use std::{ops::RangeInclusive, str::FromStr};

use confique::Config;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Problem;

const MAX_KEYS: RangeInclusive<usize> = 1_000..=10_000_000;

const DEADLINE_MS: RangeInclusive<u64> = 1..=1_000;

/// Who may ask how much.
#[derive(Debug, Clone, Config)]
pub struct LimitsConfig {
    /// Callers whose use is remembered for each limit (1000 to 10000000); beyond that, whoever used least is forgotten
    /// first. A million take about 100 MB.
    #[config(env = "TIDEGATE_LIMITS_MAX_KEYS", default = 100_000)]
    pub max_keys: usize,
    /// Limits that replace those of the schema, each `Type.field=LIMIT/SECONDS`, such as `Query.cryptoPrices=500/60`. A
    /// limit of 0 closes the field.
    #[config(env = "TIDEGATE_LIMITS_OVERRIDES", default = [])]
    pub overrides: Vec<LimitOverride>,
    /// How long a decision waits for Redis, in milliseconds (1 to 1000), before this node makes it alone.
    #[config(env = "TIDEGATE_LIMITS_REDIS_DEADLINE_MS", default = 20)]
    pub redis_deadline_ms: u64,
    /// What a limit does while Redis cannot be asked: `local` gives every node its share of the limit, `open` admits
    /// everybody, `closed` refuses everybody.
    #[config(env = "TIDEGATE_LIMITS_ON_OUTAGE", default = "local")]
    pub on_outage: OnOutage,
    /// Limits that do something else then, each `Type.field=local`, `=open` or `=closed`.
    #[config(env = "TIDEGATE_LIMITS_ON_OUTAGE_OVERRIDES", default = [])]
    pub on_outage_overrides: Vec<OutageOverride>,
}

/// What a limit does while the store that the nodes share cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOutage {
    /// Every node admits its share.
    Local,
    /// Nobody is refused.
    Open,
    /// Everybody is refused.
    Closed,
}

/// What one limit does instead, written `Query.price=closed`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OutageOverride {
    /// The limit's name, a field's coordinate such as `Query.price`.
    pub policy: String,
    /// What it does.
    pub on_outage: OnOutage,
}

/// A text that does not say what a limit does.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected Type.field=local, Type.field=open or Type.field=closed")]
pub struct InvalidOutageOverride;

impl FromStr for OutageOverride {
    type Err = InvalidOutageOverride;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (policy, word) = text.split_once('=').ok_or(InvalidOutageOverride)?;
        let policy = policy.trim().to_owned();
        let on_outage = match word.trim() {
            "local" => OnOutage::Local,
            "open" => OnOutage::Open,
            "closed" => OnOutage::Closed,
            _ => return Err(InvalidOutageOverride),
        };
        if policy.is_empty() { Err(InvalidOutageOverride) } else { Ok(Self { policy, on_outage }) }
    }
}

impl TryFrom<String> for OutageOverride {
    type Error = InvalidOutageOverride;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A limit that replaces the schema's, written `Query.price=100/60`: at most 100 in 60 seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LimitOverride {
    /// The limit's name, a field's coordinate such as `Query.price`.
    pub policy: String,
    /// How much is allowed in a window.
    pub limit: u32,
    /// The window, in seconds, at least 1.
    pub window_seconds: u32,
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected Type.field=LIMIT/SECONDS with at least 1 second")]
pub struct InvalidOverride;

impl FromStr for LimitOverride {
    type Err = InvalidOverride;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (policy, rate) = text.split_once('=').ok_or(InvalidOverride)?;
        let (limit, window) = rate.split_once('/').ok_or(InvalidOverride)?;
        let policy = policy.trim().to_owned();
        let limit = limit.trim().parse().map_err(|_| InvalidOverride)?;
        let window_seconds = window.trim().parse().map_err(|_| InvalidOverride)?;
        if policy.is_empty() || window_seconds == 0 {
            return Err(InvalidOverride);
        }
        Ok(Self { policy, limit, window_seconds })
    }
}

impl TryFrom<String> for LimitOverride {
    type Error = InvalidOverride;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl LimitsConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        [
            Problem::unless(MAX_KEYS.contains(&self.max_keys), "limits.max_keys", &self.max_keys, "1000 to 10000000"),
            Problem::unless(
                DEADLINE_MS.contains(&self.redis_deadline_ms),
                "limits.redis_deadline_ms",
                &self.redis_deadline_ms,
                "1 to 1000",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted_and_a_number_out_of_range_is_named() {
        assert_eq!(LimitsConfig::defaults().problems(), []);
        for max_keys in [0, 999, 10_000_001] {
            let wrong = LimitsConfig { max_keys, ..LimitsConfig::defaults() };
            assert_eq!(wrong.problems()[0].key, "limits.max_keys");
        }
        for redis_deadline_ms in [0, 1_001] {
            let wrong = LimitsConfig { redis_deadline_ms, ..LimitsConfig::defaults() };
            assert_eq!(wrong.problems()[0].key, "limits.redis_deadline_ms");
        }
    }

    #[test]
    fn an_override_names_a_field_a_limit_and_a_window() {
        let good: LimitOverride = "Query.price = 200/60".parse().unwrap();
        assert_eq!(good, LimitOverride { policy: "Query.price".into(), limit: 200, window_seconds: 60 });
        for bad in ["", "Query.price", "Query.price=5", "=5/60", "Query.price=-1/60", "Query.price=5/0", "a=b/c"] {
            assert_eq!(bad.parse::<LimitOverride>(), Err(InvalidOverride), "{bad:?}");
        }
    }

    #[test]
    fn an_outage_override_names_a_field_and_what_it_does() {
        let good: OutageOverride = "Query.price = closed".parse().unwrap();
        assert_eq!(good, OutageOverride { policy: "Query.price".into(), on_outage: OnOutage::Closed });
        for bad in ["", "Query.price", "Query.price=", "=open", "Query.price=Open", "Query.price=5/60"] {
            assert_eq!(bad.parse::<OutageOverride>(), Err(InvalidOutageOverride), "{bad:?}");
        }
    }
}
