//! DefiLlama: aggregated prices, by CoinGecko's ids.
//!
//! `GET /prices/current/{coins}`, as documented at <https://defillama.com/docs/api>: numbers are JSON numbers, unknown
//! coins are absent, and each price says how sure it is, from 0 to 1.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::{Observation, PriceSource};
use crate::{
    config::DefiLlamaConfig,
    market::{
        Coin,
        wire::{Line, Raw, address, number, timestamp},
    },
    model::{AssetId, Decimal, Timestamp},
    resilience::{CallError, Reply},
};

pub(super) const NAME: &str = "defillama";
/// Keeps the address below the 8 KiB that proxies commonly accept, as the coins are part of the path.
const BATCH_LIMIT: usize = 100;

pub(super) struct DefiLlama {
    line: Line,
    base: Url,
}

impl DefiLlama {
    pub(super) fn new(config: &DefiLlamaConfig, line: Line) -> Self {
        Self { line, base: config.base_url.clone() }
    }
}

impl PriceSource for DefiLlama {
    fn name(&self) -> &'static str {
        NAME
    }

    fn batch_limit(&self) -> usize {
        BATCH_LIMIT
    }

    fn supports(&self, _: &Coin) -> bool {
        true
    }

    fn quotes<'a>(&'a self, coins: &'a [Coin]) -> BoxFuture<'a, Result<HashMap<AssetId, Observation>, CallError>> {
        Box::pin(async move {
            let asked_at = self.line.clock.now();
            let keys: Vec<String> = coins.iter().map(|coin| key(&coin.id)).collect();
            let url = address(&self.base, &format!("prices/current/{}", keys.join(",")));
            self.line.fetch(&url, &HeaderMap::new(), |reply| read(reply, coins, asked_at)).await
        })
    }
}

fn key(id: &AssetId) -> String {
    format!("coingecko:{id}")
}

#[derive(Deserialize)]
struct Answer {
    coins: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    price: Raw,
    timestamp: Raw,
    confidence: Raw,
}

fn read(reply: &Reply, coins: &[Coin], asked_at: Timestamp) -> Result<HashMap<AssetId, Observation>, CallError> {
    let answer: Answer = reply.json()?;
    let observed = |coin: &Coin| {
        let entry = answer.coins.get(&key(&coin.id))?;
        let observation = Observation {
            amount: number(&entry.price),
            observed_at: timestamp(&entry.timestamp).unwrap_or(asked_at),
            change24h: None,
            uncertainty: Decimal::ZERO,
            trust: number(&entry.confidence).unwrap_or(Decimal::ONE).clamp(Decimal::ZERO, Decimal::ONE),
        };
        Some((coin.id.clone(), observation))
    };
    Ok(coins.iter().filter_map(observed).collect())
}
