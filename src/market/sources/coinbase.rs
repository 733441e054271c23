//! Coinbase: the last trade against the dollar on one large exchange.
//!
//! `GET /api/v3/brokerage/market/products`, public and keyless, as documented at
//! <https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products>: numbers are
//! texts, empty where there are none, and the daily change may end in a percent sign. Unlisted products are absent.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde::Deserialize;
use url::Url;

use super::{Observation, PriceSource};
use crate::{
    config::CoinbaseConfig,
    market::{
        Coin,
        wire::{Line, address},
    },
    model::{AssetId, Decimal, Timestamp, parse_decimal},
    resilience::{CallError, Reply},
};

pub(super) const NAME: &str = "coinbase";
/// Keeps the address below the 8 KiB that proxies commonly accept.
const BATCH_LIMIT: usize = 200;

pub(super) struct Coinbase {
    line: Line,
    address: Url,
}

impl Coinbase {
    pub(super) fn new(config: &CoinbaseConfig, line: Line) -> Self {
        Self { line, address: address(&config.base_url, "api/v3/brokerage/market/products") }
    }
}

impl PriceSource for Coinbase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn batch_limit(&self) -> usize {
        BATCH_LIMIT
    }

    fn supports(&self, coin: &Coin) -> bool {
        product(coin).is_some()
    }

    fn quotes<'a>(&'a self, coins: &'a [Coin]) -> BoxFuture<'a, Result<HashMap<AssetId, Observation>, CallError>> {
        Box::pin(async move {
            let asked_at = self.line.clock.now();
            let mut url = self.address.clone();
            url.query_pairs_mut()
                .extend_pairs(coins.iter().filter_map(product).map(|product| ("product_ids", product)));
            self.line.fetch(&url, &HeaderMap::new(), |reply| read(reply, coins, asked_at)).await
        })
    }
}

fn product(coin: &Coin) -> Option<&str> {
    coin.listing.as_ref()?.coinbase.as_deref()
}

#[derive(Deserialize)]
struct Products {
    products: Vec<Product>,
}

#[derive(Deserialize)]
struct Product {
    #[serde(rename = "product_id")]
    id: String,
    price: Option<String>,
    price_percentage_change_24h: Option<String>,
    mid_market_price: Option<String>,
}

fn read(reply: &Reply, coins: &[Coin], asked_at: Timestamp) -> Result<HashMap<AssetId, Observation>, CallError> {
    let Products { products } = reply.json()?;
    let products: HashMap<&str, &Product> = products.iter().map(|entry| (entry.id.as_str(), entry)).collect();
    let observed = |coin: &Coin| {
        let entry = products.get(product(coin)?)?;
        Some((coin.id.clone(), observation(entry, asked_at)))
    };
    Ok(coins.iter().filter_map(observed).collect())
}

fn observation(product: &Product, asked_at: Timestamp) -> Observation {
    let number = |text: &Option<String>| parse_decimal(text.as_ref()?.trim_end_matches('%')).ok();
    let amount = number(&product.price);
    // The last trade may lie anywhere around the middle of the book; how far is how unsure it is.
    let off_the_middle = amount.zip(number(&product.mid_market_price)).and_then(|(last, mid)| last.checked_sub(mid));
    Observation {
        amount,
        observed_at: asked_at,
        change24h: number(&product.price_percentage_change_24h),
        uncertainty: off_the_middle.unwrap_or_default().abs(),
        trust: Decimal::ONE,
    }
}
