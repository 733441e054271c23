//! `[market]`: the price sources, how they are weighed, and the feed; the venues that quote swaps.

use confique::Config;
use url::Url;

use super::{Problem, Secret};

/// Prices: sources, aggregation, feed. Swaps: venues.
#[derive(Debug, Clone, Config)]
pub struct MarketConfig {
    /// How many sources must agree on a price. A coin that fewer sources list needs only those. From 1 to 16.
    #[config(env = "TIDEGATE_MARKET_MIN_SOURCES", default = 2)]
    pub min_sources: usize,
    /// How far two quotes may lie apart and still agree, in hundredths of a percent. From 1 to 10000.
    #[config(env = "TIDEGATE_MARKET_AGREEMENT_BPS", default = 500)]
    pub agreement_bps: u32,
    /// How far a lone quote may lie from a recent price and still count, in hundredths of a percent. From 1 to 10000.
    #[config(env = "TIDEGATE_MARKET_LONE_QUOTE_BPS", default = 1000)]
    pub lone_quote_bps: u32,
    /// How long a price vouches for a lone quote or one of two that disagree. From 1 to 86400.
    #[config(env = "TIDEGATE_MARKET_RECENT_SECONDS", default = 300)]
    pub recent_seconds: u64,
    /// How long a price is served without asking again. From 1 to 3600.
    #[config(env = "TIDEGATE_MARKET_FRESH_SECONDS", default = 10)]
    pub fresh_seconds: u64,
    /// How long after that it is served, flagged stale, while the sources do not agree on a new one. Up to 604800.
    #[config(env = "TIDEGATE_MARKET_STALE_SECONDS", default = 3600)]
    pub stale_seconds: u64,
    /// How long to wait for the remaining sources once enough agree. Up to 10000.
    #[config(env = "TIDEGATE_MARKET_STRAGGLER_GRACE_MS", default = 150)]
    pub straggler_grace_ms: u64,
    /// How long to wait for the sources when not enough agree; shorter than one try of a call. From 1 to 60000.
    #[config(env = "TIDEGATE_MARKET_ROUND_TIMEOUT_MS", default = 1000)]
    pub round_timeout_ms: u64,
    /// How often the feed asks for the prices that somebody watches. From 100 to 3600000.
    #[config(env = "TIDEGATE_MARKET_FEED_INTERVAL_MS", default = 2000)]
    pub feed_interval_ms: u64,
    /// The most distinct coins that the feed watches. From 1 to 100000.
    #[config(env = "TIDEGATE_MARKET_FEED_MAX_COINS", default = 1000)]
    pub feed_max_coins: usize,
    /// How long to wait for the venues that quote a swap; who is later is left out. From 1 to 60000.
    #[config(env = "TIDEGATE_MARKET_SWAP_DEADLINE_MS", default = 3000)]
    pub swap_deadline_ms: u64,
    /// How long a quote for a swap is good where its venue does not say. From 1 to 3600000.
    #[config(env = "TIDEGATE_MARKET_QUOTE_LIFETIME_MS", default = 15000)]
    pub quote_lifetime_ms: u64,
    /// The source `coingecko`.
    #[config(nested)]
    pub coingecko: CoinGeckoConfig,
    /// The source `coinbase`.
    #[config(nested)]
    pub coinbase: CoinbaseConfig,
    /// The source `defillama`.
    #[config(nested)]
    pub defillama: DefiLlamaConfig,
    /// The venue `zero_ex`.
    #[config(nested)]
    pub zero_ex: ZeroExConfig,
    /// The venue `jupiter`.
    #[config(nested)]
    pub jupiter: JupiterConfig,
    /// The venue `uniswap`.
    #[config(nested)]
    pub uniswap: UniswapConfig,
}

/// CoinGecko: by coin id, keyless or with a demo or pro key.
#[derive(Debug, Clone, Config)]
pub struct CoinGeckoConfig {
    /// Whether this source is asked.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_ENABLED", default = true)]
    pub enabled: bool,
    /// Where its API lives, without `/api/v3`; a pro key needs `https://pro-api.coingecko.com`.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_BASE_URL", default = "https://api.coingecko.com")]
    pub base_url: Url,
    /// A demo key, for `https://api.coingecko.com`. At most one of the two keys.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_DEMO_KEY")]
    pub demo_key: Option<Secret>,
    /// A pro key, for `https://pro-api.coingecko.com`. At most one of the two keys.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_PRO_KEY")]
    pub pro_key: Option<Secret>,
    /// How much its quotes count in the median. From 1 to 1000.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_WEIGHT", default = 1)]
    pub weight: u32,
    /// The oldest quote that counts; its edge serves quotes that are a minute old. From 1 to 86400.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_MAX_AGE_SECONDS", default = 300)]
    pub max_age_seconds: u64,
    /// Whether its quotes are marked as simulated; the sandbox sets this for its stand-ins.
    #[config(env = "TIDEGATE_MARKET_COINGECKO_SIMULATED", default = false)]
    pub simulated: bool,
}

/// Coinbase: the last trade on its exchange, keyless.
#[derive(Debug, Clone, Config)]
pub struct CoinbaseConfig {
    /// Whether this source is asked.
    #[config(env = "TIDEGATE_MARKET_COINBASE_ENABLED", default = true)]
    pub enabled: bool,
    /// Where its API lives, without `/api/v3`.
    #[config(env = "TIDEGATE_MARKET_COINBASE_BASE_URL", default = "https://api.coinbase.com")]
    pub base_url: Url,
    /// How much its quotes count in the median. From 1 to 1000.
    #[config(env = "TIDEGATE_MARKET_COINBASE_WEIGHT", default = 1)]
    pub weight: u32,
    /// The oldest quote that counts; its quotes are as old as the call. From 1 to 86400.
    #[config(env = "TIDEGATE_MARKET_COINBASE_MAX_AGE_SECONDS", default = 60)]
    pub max_age_seconds: u64,
    /// Whether its quotes are marked as simulated; the sandbox sets this for its stand-ins.
    #[config(env = "TIDEGATE_MARKET_COINBASE_SIMULATED", default = false)]
    pub simulated: bool,
}

/// DefiLlama: aggregated prices by CoinGecko's ids, keyless.
#[derive(Debug, Clone, Config)]
pub struct DefiLlamaConfig {
    /// Whether this source is asked.
    #[config(env = "TIDEGATE_MARKET_DEFILLAMA_ENABLED", default = true)]
    pub enabled: bool,
    /// Where its price API lives, without `/prices`.
    #[config(env = "TIDEGATE_MARKET_DEFILLAMA_BASE_URL", default = "https://coins.llama.fi")]
    pub base_url: Url,
    /// How much its quotes count in the median, times its own confidence in each. From 1 to 1000.
    #[config(env = "TIDEGATE_MARKET_DEFILLAMA_WEIGHT", default = 1)]
    pub weight: u32,
    /// The oldest quote that counts; it computes prices every few minutes. From 1 to 86400.
    #[config(env = "TIDEGATE_MARKET_DEFILLAMA_MAX_AGE_SECONDS", default = 600)]
    pub max_age_seconds: u64,
    /// Whether its quotes are marked as simulated; the sandbox sets this for its stand-ins.
    #[config(env = "TIDEGATE_MARKET_DEFILLAMA_SIMULATED", default = false)]
    pub simulated: bool,
}

/// 0x: swaps on the EVM chains, with a key.
#[derive(Debug, Clone, Config)]
pub struct ZeroExConfig {
    /// Whether this venue is asked; without a key it is not, unless it is simulated.
    #[config(env = "TIDEGATE_MARKET_ZERO_EX_ENABLED", default = true)]
    pub enabled: bool,
    /// Where its API lives, without `/swap`.
    #[config(env = "TIDEGATE_MARKET_ZERO_EX_BASE_URL", default = "https://api.0x.org")]
    pub base_url: Url,
    /// A key from 0x's dashboard, sent in the header `0x-api-key`.
    #[config(env = "TIDEGATE_MARKET_ZERO_EX_API_KEY")]
    pub api_key: Option<Secret>,
    /// Whether its quotes are marked as simulated; the sandbox sets this for its stand-ins.
    #[config(env = "TIDEGATE_MARKET_ZERO_EX_SIMULATED", default = false)]
    pub simulated: bool,
}

/// Jupiter: swaps on Solana. Its public host may refuse calls without a key; a host of one's own needs none.
#[derive(Debug, Clone, Config)]
pub struct JupiterConfig {
    /// Whether this venue is asked.
    #[config(env = "TIDEGATE_MARKET_JUPITER_ENABLED", default = true)]
    pub enabled: bool,
    /// Where its API lives, without `/swap/v1`.
    #[config(env = "TIDEGATE_MARKET_JUPITER_BASE_URL", default = "https://api.jup.ag")]
    pub base_url: Url,
    /// A key from Jupiter's portal, sent in the header `x-api-key`.
    #[config(env = "TIDEGATE_MARKET_JUPITER_API_KEY")]
    pub api_key: Option<Secret>,
    /// Whether its quotes are marked as simulated; the sandbox sets this for its stand-ins.
    #[config(env = "TIDEGATE_MARKET_JUPITER_SIMULATED", default = false)]
    pub simulated: bool,
}

/// Uniswap v3: pools of Ethereum, Base, Arbitrum One, OP Mainnet and Polygon, asked through the chain's own endpoints.
#[derive(Debug, Clone, Config)]
pub struct UniswapConfig {
    /// Whether this venue is asked about chains that have an endpoint; the sandbox's stand-ins have no pools.
    #[config(env = "TIDEGATE_MARKET_UNISWAP_ENABLED", default = true)]
    pub enabled: bool,
}

impl MarketConfig {
    /// The section as it is when nothing is set.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// What the start refuses.
    #[must_use]
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut within = |key, value: u64, (low, high): (u64, u64), expected| {
            problems.extend(Problem::unless((low..=high).contains(&value), key, &value, expected));
        };
        within("market.min_sources", self.min_sources as u64, (1, 16), "1 to 16");
        within("market.agreement_bps", self.agreement_bps.into(), (1, 10_000), BPS);
        within("market.lone_quote_bps", self.lone_quote_bps.into(), (1, 10_000), BPS);
        within("market.recent_seconds", self.recent_seconds, (1, 86_400), DAY);
        within("market.fresh_seconds", self.fresh_seconds, (1, 3_600), "1 to 3600 seconds");
        within("market.stale_seconds", self.stale_seconds, (0, 604_800), "at most 604800 seconds, a week");
        within("market.straggler_grace_ms", self.straggler_grace_ms, (0, 10_000), "at most 10000 ms");
        within("market.round_timeout_ms", self.round_timeout_ms, (1, 60_000), "1 to 60000 ms");
        within("market.feed_interval_ms", self.feed_interval_ms, (100, 3_600_000), "100 to 3600000 ms");
        within("market.feed_max_coins", self.feed_max_coins as u64, (1, 100_000), "1 to 100000 coins");
        within("market.swap_deadline_ms", self.swap_deadline_ms, (1, 60_000), "1 to 60000 ms");
        within("market.quote_lifetime_ms", self.quote_lifetime_ms, (1, 3_600_000), "1 to 3600000 ms");
        within("market.coingecko.weight", self.coingecko.weight.into(), (1, 1_000), WEIGHT);
        within("market.coinbase.weight", self.coinbase.weight.into(), (1, 1_000), WEIGHT);
        within("market.defillama.weight", self.defillama.weight.into(), (1, 1_000), WEIGHT);
        within("market.coingecko.max_age_seconds", self.coingecko.max_age_seconds, (1, 86_400), DAY);
        within("market.coinbase.max_age_seconds", self.coinbase.max_age_seconds, (1, 86_400), DAY);
        within("market.defillama.max_age_seconds", self.defillama.max_age_seconds, (1, 86_400), DAY);
        for (key, url) in [
            ("market.coingecko.base_url", &self.coingecko.base_url),
            ("market.coinbase.base_url", &self.coinbase.base_url),
            ("market.defillama.base_url", &self.defillama.base_url),
            ("market.zero_ex.base_url", &self.zero_ex.base_url),
            ("market.jupiter.base_url", &self.jupiter.base_url),
        ] {
            problems.extend(base_url_problem(key, url));
        }
        for (key, secret) in
            [("market.zero_ex.api_key", &self.zero_ex.api_key), ("market.jupiter.api_key", &self.jupiter.api_key)]
        {
            problems.extend(secret.as_ref().and_then(|secret| header_problem(key, secret)));
        }
        problems.extend(self.coingecko.key_problem());
        problems.extend(self.no_source_problem());
        problems
    }

    fn no_source_problem(&self) -> Option<Problem> {
        let any = self.coingecko.enabled || self.coinbase.enabled || self.defillama.enabled;
        let expected = "at least one of coingecko, coinbase and defillama enabled";
        (!any).then(|| Problem { key: "market.coingecko.enabled", value: "false".into(), expected })
    }
}

impl CoinGeckoConfig {
    /// CoinGecko answers a key on the wrong host with an error on every call; better to hear it at the start.
    fn key_problem(&self) -> Option<Problem> {
        let on_host = |host| self.base_url.host_str() == Some(host);
        let redacted = |key, expected| Some(Problem { key, value: "[redacted]".into(), expected });
        match (&self.demo_key, &self.pro_key) {
            (Some(_), Some(_)) => redacted("market.coingecko.demo_key", "no demo key beside a pro key"),
            (Some(_), None) if on_host(PRO_HOST) => {
                redacted("market.coingecko.demo_key", "no demo key on the host of pro keys")
            }
            (None, Some(_)) if on_host(DEMO_HOST) => {
                redacted("market.coingecko.pro_key", "base_url = https://pro-api.coingecko.com beside a pro key")
            }
            (_, None) if on_host(PRO_HOST) => Some(Problem {
                key: "market.coingecko.base_url",
                value: self.base_url.to_string(),
                expected: "a pro key beside the host of pro keys",
            }),
            _ => None,
        }
    }
}

const DEMO_HOST: &str = "api.coingecko.com";
const PRO_HOST: &str = "pro-api.coingecko.com";
const BPS: &str = "1 to 10000 hundredths of a percent";
const DAY: &str = "1 to 86400 seconds";
const WEIGHT: &str = "1 to 1000";

fn base_url_problem(key: &'static str, url: &Url) -> Option<Problem> {
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let expected = "an http or https address without user, query or fragment";
    // The refused part may be a secret, so only the host is shown.
    (!plain).then(|| Problem { key, value: url.host_str().unwrap_or_default().into(), expected })
}

/// A key that no header can carry would be left out of every call.
fn header_problem(key: &'static str, secret: &Secret) -> Option<Problem> {
    let text = secret.expose();
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    (!fits).then(|| Problem { key, value: "[redacted]".into(), expected: "visible ASCII characters alone" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut MarketConfig)) -> Vec<&'static str> {
        let mut config = MarketConfig::defaults();
        change(&mut config);
        config.problems().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(keys(|_| {}), Vec::<&str>::new());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        assert_eq!(keys(|c| c.min_sources = 0), ["market.min_sources"]);
        assert_eq!(keys(|c| c.feed_interval_ms = 1), ["market.feed_interval_ms"]);
        assert_eq!(keys(|c| c.coinbase.weight = 0), ["market.coinbase.weight"]);
        assert_eq!(keys(|c| c.defillama.base_url = "file:///etc".parse().unwrap()), ["market.defillama.base_url"]);
        assert_eq!(keys(|c| c.swap_deadline_ms = 0), ["market.swap_deadline_ms"]);
        assert_eq!(keys(|c| c.quote_lifetime_ms = 0), ["market.quote_lifetime_ms"]);
        assert_eq!(keys(|c| c.jupiter.base_url = "ftp://x".parse().unwrap()), ["market.jupiter.base_url"]);
        assert_eq!(keys(|c| c.zero_ex.api_key = Some("two\nlines".into())), ["market.zero_ex.api_key"]);
        let disabled = |c: &mut MarketConfig| {
            (c.coingecko.enabled, c.coinbase.enabled, c.defillama.enabled) = (false, false, false);
        };
        assert_eq!(keys(disabled), ["market.coingecko.enabled"]);
    }

    #[test]
    fn coingecko_keys_must_match_their_host() {
        let pro_host: Url = "https://pro-api.coingecko.com".parse().unwrap();
        let key = || Some(Secret::from("CG-abc"));
        let cases = [
            (false, None, None, None),
            (false, key(), None, None),
            (false, None, key(), Some("market.coingecko.pro_key")),
            (false, key(), key(), Some("market.coingecko.demo_key")),
            (true, None, None, Some("market.coingecko.base_url")),
            (true, key(), None, Some("market.coingecko.demo_key")),
            (true, None, key(), None),
        ];
        for (on_pro, demo, pro, expected) in cases {
            let found = keys(|config| {
                if on_pro {
                    config.coingecko.base_url = pro_host.clone();
                }
                (config.coingecko.demo_key, config.coingecko.pro_key) = (demo.clone(), pro.clone());
            });
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "pro host {on_pro}, {demo:?}, {pro:?}");
        }
    }
}
