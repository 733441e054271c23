//! CoinGecko: many exchanges in one number, by coin id.
//!
//! `GET /api/v3/simple/price`, as documented at <https://docs.coingecko.com/reference/simple-price>: numbers are JSON
//! numbers, unknown ids are absent, a coin without a market is `null`.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::{Observation, PriceSource};
use crate::{
    config::CoinGeckoConfig,
    market::{
        Coin,
        wire::{Line, Raw, address, number, timestamp},
    },
    model::{AssetId, Decimal, Timestamp},
    resilience::{CallError, Reply},
};

pub(super) const NAME: &str = "coingecko";
/// CoinGecko refuses more ids in one call.
const BATCH_LIMIT: usize = 250;

pub(super) struct CoinGecko {
    line: Line,
    address: Url,
    headers: HeaderMap,
}

impl CoinGecko {
    pub(super) fn new(config: &CoinGeckoConfig, line: Line) -> Self {
        let mut address = address(&config.base_url, "api/v3/simple/price");
        address
            .query_pairs_mut()
            .append_pair("vs_currencies", "usd")
            .append_pair("include_last_updated_at", "true")
            .append_pair("include_24hr_change", "true")
            .append_pair("precision", "full");
        Self { line, address, headers: key_header(config) }
    }
}

impl PriceSource for CoinGecko {
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
            let ids: Vec<&str> = coins.iter().map(|coin| coin.id.as_str()).collect();
            let mut url = self.address.clone();
            url.query_pairs_mut().append_pair("ids", &ids.join(","));
            self.line.fetch(&url, &self.headers, |reply| read(reply, coins, asked_at)).await
        })
    }
}

/// The key, if there is one, in the header of its plan.
fn key_header(config: &CoinGeckoConfig) -> HeaderMap {
    let keys = [("x-cg-demo-api-key", &config.demo_key), ("x-cg-pro-api-key", &config.pro_key)];
    keys.into_iter()
        .filter_map(|(name, key)| {
            let mut value = HeaderValue::from_str(key.as_ref()?.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_static(name), value))
        })
        .collect()
}

#[derive(Deserialize)]
struct Entry {
    usd: Raw,
    usd_24h_change: Raw,
    last_updated_at: Raw,
    /// Set when this is no coin but the report of an error, which may come with status 200.
    error_code: Option<u16>,
}

fn read(reply: &Reply, coins: &[Coin], asked_at: Timestamp) -> Result<HashMap<AssetId, Observation>, CallError> {
    let entries: HashMap<String, Entry> = reply.json()?;
    // `status` is also the id of a coin.
    if let Some(code) = entries.get("status").and_then(|entry| entry.error_code) {
        return Err(match code {
            429 => CallError::RateLimited { retry_after: None },
            _ => CallError::Upstream { status: None, detail: format!("error code {code}").into() },
        });
    }
    let observed = |coin: &Coin| {
        let entry = entries.get(coin.id.as_str())?;
        let observation = Observation {
            amount: number(&entry.usd),
            observed_at: timestamp(&entry.last_updated_at).unwrap_or(asked_at),
            change24h: number(&entry.usd_24h_change),
            uncertainty: Decimal::ZERO,
            trust: Decimal::ONE,
        };
        Some((coin.id.clone(), observation))
    };
    Ok(coins.iter().filter_map(observed).collect())
}
