//! `[chains]`: which chains there are, and who answers for them.

use confique::Config;
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;
use url::Url;

use super::{Problem, Secret};
use crate::model::ChainId;

/// Chains: who answers for them, and how they are asked.
#[derive(Debug, Clone, Config)]
pub struct ChainsConfig {
    /// JSON-RPC endpoints, each `CHAIN/NAME=URL`, such as `ethereum/alchemy=https://…`, the preferred ones of a chain first.
    /// URLs hold keys and are never shown. A chain without one is not offered.
    #[config(env = "TIDEGATE_CHAINS_ENDPOINTS", default = [])]
    pub endpoints: Vec<EndpointEntry>,
    /// Chains that Tidegate does not know by heart, or that are other than it knows them, each `CHAIN=evm:NUMBER:SYMBOL`
    /// or `CHAIN=solana:GENESIS_HASH`, such as `devnet=evm:31337:ETH`.
    #[config(env = "TIDEGATE_CHAINS_NETWORKS", default = [])]
    pub networks: Vec<NetworkEntry>,
    /// Chains whose values are marked as simulated; the sandbox sets this for its stand-ins.
    #[config(env = "TIDEGATE_CHAINS_SIMULATED", default = [])]
    pub simulated: Vec<String>,
    /// How often each endpoint of a chain that is in use is asked for its head, in milliseconds (50 to 60000).
    #[config(env = "TIDEGATE_CHAINS_HEAD_POLL_MS", default = 2_000)]
    pub head_poll_ms: u64,
    /// A chain that nobody has asked for this long is not polled, in seconds (1 to 86400).
    #[config(env = "TIDEGATE_CHAINS_IDLE_SECONDS", default = 60)]
    pub idle_seconds: u64,
    /// An endpoint that is more blocks behind the others than this is not asked (1 to 10000); for Solana, ten times as
    /// many slots.
    #[config(env = "TIDEGATE_CHAINS_MAX_LAG_BLOCKS", default = 5)]
    pub max_lag_blocks: u64,
    /// Longest time that one endpoint may take for one call, in milliseconds (10 to 60000).
    #[config(env = "TIDEGATE_CHAINS_TRY_TIMEOUT_MS", default = 2_000)]
    pub try_timeout_ms: u64,
    /// Longest time that a read may take with all endpoints that are tried, in milliseconds (10 to 120000).
    #[config(env = "TIDEGATE_CHAINS_DEADLINE_MS", default = 6_000)]
    pub deadline_ms: u64,
    /// Reads that may be sent to a second endpoint because the first one is slow, as a share of all in percent (0 to 100).
    #[config(env = "TIDEGATE_CHAINS_HEDGE_PERCENTAGE", default = 10)]
    pub hedge_percentage: u8,
    /// Calls that go to an endpoint in one JSON-RPC batch (1 to 1000).
    #[config(env = "TIDEGATE_CHAINS_BATCH_SIZE", default = 100)]
    pub batch_size: usize,
    /// A follower of events who comes back with a cursor that is more blocks behind than this must begin anew (1 to 1000000).
    #[config(env = "TIDEGATE_CHAINS_MAX_BACKFILL_BLOCKS", default = 10_000)]
    pub max_backfill_blocks: u64,
    /// So many blocks does a follower of events remember: a reorganisation that is deeper ends it (16 to 10000).
    #[config(env = "TIDEGATE_CHAINS_WINDOW_BLOCKS", default = 256)]
    pub window_blocks: usize,
    /// The fastest pace towards one endpoint, in requests per second for each method (1 to 100000).
    #[config(env = "TIDEGATE_CHAINS_MAX_PER_SECOND", default = 100)]
    pub max_per_second: u32,
}

/// An endpoint of a chain, written `ethereum/alchemy=https://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointEntry {
    /// The chain.
    pub chain: ChainId,
    /// What it is called in provenance, metrics and errors.
    pub name: String,
    /// Where it is.
    pub url: Secret,
}

/// A chain that is not known by heart, written `devnet=evm:31337:ETH`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NetworkEntry {
    /// The chain.
    pub chain: ChainId,
    /// How it can be told from others.
    pub identity: NetworkIdentity,
}

/// How a chain can be told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkIdentity {
    /// By its number, as EIP-155 has it.
    Evm {
        /// The number.
        number: u64,
        /// The symbol of its native token.
        symbol: String,
    },
    /// By the hash of its first block.
    Solana {
        /// The hash, in base 58.
        genesis: String,
    },
}

/// A text that is no endpoint. It does not repeat the text, which may hold a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected CHAIN/NAME=URL with an http or https URL, and letters, digits or hyphens in the name")]
pub struct InvalidEndpoint;

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected CHAIN=evm:NUMBER:SYMBOL or CHAIN=solana:GENESIS_HASH")]
pub struct InvalidNetwork;

impl EndpointEntry {
    /// Reads `CHAIN/NAME=URL`.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let (label, url) = text.split_once('=').ok_or(InvalidEndpoint)?;
        let (chain, name) = label.trim().split_once('/').ok_or(InvalidEndpoint)?;
        let is_name = (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let url = url.trim();
        let is_url = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let chain = ChainId::new(chain).map_err(|_| InvalidEndpoint)?;
        if is_name && is_url {
            Ok(Self { chain, name: name.to_owned(), url: url.into() })
        } else {
            Err(InvalidEndpoint)
        }
    }
}

/// By way of a secret, so that the listing never shows it.
impl<'de> Deserialize<'de> for EndpointEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Secret::deserialize(deserializer)?.expose()).map_err(D::Error::custom)
    }
}

impl TryFrom<String> for NetworkEntry {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (chain, identity) = text.split_once('=').ok_or(InvalidNetwork)?;
        let chain = ChainId::new(chain.trim()).map_err(|_| InvalidNetwork)?;
        let parts: Vec<&str> = identity.trim().split(':').collect();
        let is_word = |word: &str, most: usize| {
            (1..=most).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let identity = match parts[..] {
            ["evm", number, symbol] if is_word(symbol, 12) => {
                let number = number.parse().map_err(|_| InvalidNetwork)?;
                NetworkIdentity::Evm { number, symbol: symbol.to_owned() }
            }
            ["solana", genesis] if is_word(genesis, 44) => NetworkIdentity::Solana { genesis: genesis.to_owned() },
            _ => return Err(InvalidNetwork),
        };
        Ok(Self { chain, identity })
    }
}

impl ChainsConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let within = |range: std::ops::RangeInclusive<u64>, key, value: u64, expected| {
            Problem::unless(range.contains(&value), key, &value, expected)
        };
        let mut labels: Vec<_> = self.endpoints.iter().map(|entry| (&entry.chain, &entry.name)).collect();
        labels.sort_unstable();
        let twice =
            labels.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| format!("{}/{}", pair[0].0, pair[0].1));
        let twice =
            twice.map(|value| Problem { key: "chains.endpoints", value, expected: "each name of a chain once" });
        [
            twice,
            within(50..=60_000, "chains.head_poll_ms", self.head_poll_ms, "50 to 60000"),
            within(1..=86_400, "chains.idle_seconds", self.idle_seconds, "1 to 86400"),
            within(1..=10_000, "chains.max_lag_blocks", self.max_lag_blocks, "1 to 10000"),
            within(10..=60_000, "chains.try_timeout_ms", self.try_timeout_ms, "10 to 60000"),
            within(10..=120_000, "chains.deadline_ms", self.deadline_ms, "10 to 120000"),
            within(0..=100, "chains.hedge_percentage", self.hedge_percentage.into(), "0 to 100"),
            within(1..=1_000, "chains.batch_size", self.batch_size as u64, "1 to 1000"),
            within(1..=1_000_000, "chains.max_backfill_blocks", self.max_backfill_blocks, "1 to 1000000"),
            within(16..=10_000, "chains.window_blocks", self.window_blocks as u64, "16 to 10000"),
            within(1..=100_000, "chains.max_per_second", self.max_per_second.into(), "1 to 100000"),
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
    fn endpoints_are_named_and_their_urls_are_secret() {
        let entry = EndpointEntry::parse("ethereum/alchemy=https://eth.example/v2/KEY?a=b").unwrap();
        assert_eq!((entry.chain.as_str(), entry.name.as_str()), ("ethereum", "alchemy"));
        assert_eq!(entry.url.expose(), "https://eth.example/v2/KEY?a=b");
        assert!(!format!("{entry:?}").contains("KEY"));
        for bad in
            ["", "ethereum=https://a", "ethereum/=https://a", "Eth/a=https://a", "eth/a b=https://a", "eth/a=ws://a"]
        {
            assert_eq!(EndpointEntry::parse(bad), Err(InvalidEndpoint), "{bad}");
        }
    }

    #[test]
    fn networks_are_told_apart_by_number_or_first_block() {
        let read = |text: &str| NetworkEntry::try_from(text.to_owned());
        let devnet = read("devnet=evm:31337:ETH").unwrap();
        assert_eq!(devnet.identity, NetworkIdentity::Evm { number: 31_337, symbol: "ETH".to_owned() });
        assert!(read("local=solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG").is_ok());
        for bad in
            ["", "devnet", "devnet=evm:x:ETH", "devnet=evm:1", "devnet=evm:1:E-H", "devnet=cosmos:1", "a=solana:"]
        {
            assert_eq!(read(bad), Err(InvalidNetwork), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut config = ChainsConfig::defaults();
        assert_eq!(config.problems(), []);
        config.head_poll_ms = 1;
        config.endpoints = ["eth/a=http://a", "eth/b=http://b", "eth/a=http://c"]
            .map(|text| EndpointEntry::parse(text).unwrap())
            .into();
        let keys: Vec<_> = config.problems().into_iter().map(|problem| (problem.key, problem.value)).collect();
        assert_eq!(keys, [("chains.endpoints", "eth/a".to_owned()), ("chains.head_poll_ms", "1".to_owned())]);
    }
}
