//! Who is asked what a coin is worth. `ls` of this folder is the list of price sources.
//!
//! A source translates between our ids and its own, makes one call per batch under its own policy, and reports
//! what it was told: no judging, no filling in, no floats. The next source is a file here, a line in [`build`], a
//! config section, and recorded replies under `tests/fixtures/` with rows in `contract.rs`.

mod coinbase;
mod coingecko;
#[cfg(test)]
mod contract;
mod defillama;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use self::{coinbase::Coinbase, coingecko::CoinGecko, defillama::DefiLlama};
use super::{Coin, wire::Line};
use crate::{
    config::MarketConfig,
    model::{AssetId, Clock, Decimal, Timestamp},
    resilience::{CallError, Outbound, Upstreams},
};

/// One of the outside parties that quote prices.
pub trait PriceSource: Send + Sync {
    /// The name in the configuration, in provenance, and of the upstream.
    fn name(&self) -> &'static str;

    /// The most coins that one call may ask for.
    fn batch_limit(&self) -> usize;

    /// Whether it makes sense to ask this source for this coin.
    fn supports(&self, coin: &Coin) -> bool;

    /// What the coins are worth in dollars, in one call. A coin that the source does not know is absent.
    fn quotes<'a>(&'a self, coins: &'a [Coin]) -> BoxFuture<'a, Result<HashMap<AssetId, Observation>, CallError>>;
}

/// What a source says about one coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The price in dollars; `None` when the source knows the coin and has no price.
    pub amount: Option<Decimal>,
    /// When the source saw that price; the start of the call where it does not say.
    pub observed_at: Timestamp,
    /// How much the price moved in 24 hours, in percent.
    pub change24h: Option<Decimal>,
    /// How far the source itself thinks it may be off, in dollars; zero where it does not say.
    pub uncertainty: Decimal,
    /// How sure the source is, from 0 to 1; 1 where it does not say.
    pub trust: Decimal,
}

/// A source with its seat at the table: what its word counts, and for how long.
#[derive(Clone)]
pub struct Source {
    /// Who is asked.
    pub adapter: Arc<dyn PriceSource>,
    /// What its quotes count in the median.
    pub weight: Decimal,
    /// The oldest quote of it that counts.
    pub max_age: Duration,
    /// Its quotes come from a stand-in.
    pub simulated: bool,
}

/// The sources that the configuration enables, each registered as an upstream of its name.
#[must_use]
pub fn build(config: &MarketConfig, upstreams: &Upstreams, outbound: &Outbound, clock: &Clock) -> Vec<Source> {
    let line = |name: &'static str| Line {
        policy: upstreams.register(name, upstreams.defaults()),
        outbound: outbound.clone(),
        clock: clock.clone(),
    };
    let mut sources = Vec::new();
    let mut seat = |adapter: Arc<dyn PriceSource>, weight: u32, max_age_seconds: u64, simulated: bool| {
        let max_age = Duration::from_secs(max_age_seconds);
        sources.push(Source { adapter, weight: weight.into(), max_age, simulated });
    };
    let section = &config.coingecko;
    if section.enabled {
        let adapter = CoinGecko::new(section, line(coingecko::NAME));
        seat(Arc::new(adapter), section.weight, section.max_age_seconds, section.simulated);
    }
    let section = &config.coinbase;
    if section.enabled {
        let adapter = Coinbase::new(section, line(coinbase::NAME));
        seat(Arc::new(adapter), section.weight, section.max_age_seconds, section.simulated);
    }
    let section = &config.defillama;
    if section.enabled {
        let adapter = DefiLlama::new(section, line(defillama::NAME));
        seat(Arc::new(adapter), section.weight, section.max_age_seconds, section.simulated);
    }
    sources
}
