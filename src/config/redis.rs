//! `[redis]`: what nodes share. Unset, one node needs nobody.

use std::path::PathBuf;

use confique::Config;
use url::Url;

use super::{Problem, Secret};

/// Redis, version 7 or newer: a single server or a cluster.
#[derive(Debug, Clone, Config)]
pub struct RedisConfig {
    /// Where Redis is, as `redis://USER:PASSWORD@HOST:PORT/DB`, or `rediss://` for TLS. Unset: limits, cached values and
    /// live topics are kept within the process.
    #[config(env = "TIDEGATE_REDIS_URL")]
    pub url: Option<Secret>,

    /// Whether `url` names a node of a Redis Cluster.
    #[config(env = "TIDEGATE_REDIS_CLUSTER", default = false)]
    pub cluster: bool,

    /// Further nodes of the cluster to begin with, each `HOST:PORT`, in case the one of `url` is away at the start.
    #[config(env = "TIDEGATE_REDIS_CLUSTER_SEEDS", default = [])]
    pub cluster_seeds: Vec<String>,

    /// A PEM file with the authorities that may vouch for the server's certificate, instead of the system's.
    #[config(env = "TIDEGATE_REDIS_TLS_CA_FILE")]
    pub tls_ca_file: Option<PathBuf>,

    /// What every key and channel begins with. All nodes of one Tidegate need the same; two Tidegates that share a Redis
    /// need different ones.
    #[config(env = "TIDEGATE_REDIS_KEY_PREFIX", default = "tidegate:")]
    pub key_prefix: String,

    /// Time for connecting, from 50 ms to one minute.
    #[config(env = "TIDEGATE_REDIS_CONNECT_TIMEOUT_MS", default = 1_000)]
    pub connect_timeout_ms: u64,

    /// Time between two heartbeats, and how long one may take, from 100 ms to ten seconds.
    #[config(env = "TIDEGATE_REDIS_HEARTBEAT_MS", default = 1_000)]
    pub heartbeat_ms: u64,
}

impl RedisConfig {
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
        if let Some(url) = &self.url {
            check(is_address(url.expose()), "redis.url", url, "redis:// or rediss:// with a host");
        }
        let no_braces = !self.key_prefix.contains(['{', '}']);
        check(no_braces, "redis.key_prefix", &self.key_prefix, "a text without braces");
        for seed in &self.cluster_seeds {
            let good =
                seed.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            // Whoever writes a whole address here may have written a password, too.
            let shown = if seed.contains('@') { "[redacted]" } else { seed };
            check(good && !seed.contains('@'), "redis.cluster_seeds", &shown, "HOST:PORT");
        }
        let connect = (50..=60_000).contains(&self.connect_timeout_ms);
        check(connect, "redis.connect_timeout_ms", &self.connect_timeout_ms, "50 to 60000");
        let heartbeat = (100..=10_000).contains(&self.heartbeat_ms);
        check(heartbeat, "redis.heartbeat_ms", &self.heartbeat_ms, "100 to 10000");
        problems
    }
}

fn is_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted_and_nonsense_is_named() {
        assert_eq!(RedisConfig::defaults().problems(), []);
        let nonsense = RedisConfig {
            url: Some("localhost:6379".into()),
            cluster_seeds: ["here", ":1", "a:b", "redis://:localhost@host:1", "good:1"].map(String::from).into(),
            key_prefix: "{a}".into(),
            connect_timeout_ms: 0,
            heartbeat_ms: 0,
            ..RedisConfig::defaults()
        };
        let problems = nonsense.problems();
        assert_eq!(problems.len(), 8, "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.value.contains("localhost")), "{problems:?}");
    }
}
