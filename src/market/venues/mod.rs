//! Who is asked what a swap would bring. `ls` of this folder is the list of venues.
//!
//! A venue translates between our tokens and its own, makes one call under its own policy, and reports what it was told:
//! no judging, no ranking, no floats. The next venue is a file here, a line in [`build`], a config section, and recorded
//! replies under `tests/fixtures/` with rows in `contract.rs`.

#[cfg(test)]
mod contract;
mod jupiter;
mod numbers;
mod uniswap;
mod zero_ex;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use thiserror::Error;

use self::{jupiter::Jupiter, uniswap::Uniswap, zero_ex::ZeroEx};
use super::wire::Line;
use crate::{
    chains::Chains,
    config::MarketConfig,
    model::{ChainId, Clock, Timestamp, Token, Units},
    resilience::{CallError, Outbound, Upstreams},
};

/// One of the outside parties that quote swaps: an aggregator's API, or a contract that is asked on its chain.
pub trait QuoteVenue: Send + Sync {
    /// The name in the configuration, in quotes, and of the upstream.
    fn name(&self) -> &'static str;

    /// Whether it makes sense to ask this venue about this chain.
    fn serves(&self, chain: &ChainId) -> bool;

    /// What the swap would bring, in one call.
    fn quote<'a>(&'a self, ask: &'a QuoteAsk) -> BoxFuture<'a, Result<VenueQuote, VenueError>>;
}

/// A swap to be quoted: checked, with tokens of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteAsk {
    /// What is given.
    pub sell: Token,
    /// What is wanted; another token of the same chain.
    pub buy: Token,
    /// How much is given, more than zero.
    pub sell_amount: Units,
    /// How much less than quoted is still taken, in hundredths of a percent, 0 to 5000.
    pub slippage_bps: u32,
    /// Who would swap: an address of the chain.
    pub taker: Option<Arc<str>>,
}

impl QuoteAsk {
    /// The chain of both tokens.
    #[must_use]
    pub fn chain(&self) -> &ChainId {
        &self.sell.chain
    }
}

/// What a venue says about a swap. What it does not say is none: nothing here is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueQuote {
    /// How much comes out, more than zero.
    pub buy_amount: Units,
    /// How little of that may come out before the swap fails; never more than `buy_amount`.
    pub min_received: Option<Units>,
    /// How much the swap itself moves the price against whoever swaps, in hundredths of a percent.
    pub price_impact_bps: Option<u32>,
    /// What it takes to get the swap onto the chain.
    pub gas: VenueGas,
    /// Where the tokens are swapped, in the venue's order.
    pub route: Vec<RouteStep>,
    /// The block (on Solana the slot) whose state was quoted.
    pub block_number: Option<u64>,
    /// Until when the venue stands by it.
    pub expires_at: Option<Timestamp>,
}

/// What a venue says about gas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VenueGas {
    /// Units of gas that the swap would use.
    pub units: Option<u64>,
    /// What one unit costs, in base units of the native token.
    pub price: Option<Units>,
    /// What it costs in all, in base units of the native token. It may be more than `units` × `price`: chains above
    /// another one also pay for their place there.
    pub fee: Option<Units>,
}

/// A step of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStep {
    /// The exchange or pool, as the vendor calls it.
    pub venue: Arc<str>,
    /// How much of what is swapped at this step goes through it, in hundredths of a percent, at most 10000. The steps of
    /// a route with several hops add up to more.
    pub portion_bps: u32,
}

/// Why a venue gave no quote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VenueError {
    /// The venue is well and cannot fill the swap.
    #[error("the venue has no liquidity for this swap")]
    NoLiquidity,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A venue with what the operator says about it.
#[derive(Clone)]
pub struct Venue {
    /// Who is asked.
    pub adapter: Arc<dyn QuoteVenue>,
    /// Its quotes come from a stand-in.
    pub simulated: bool,
}

/// The venues that the configuration enables, each registered as an upstream of its name; what is asked on its chain goes
/// through the chain's own.
#[must_use]
pub fn build(
    config: &MarketConfig,
    upstreams: &Upstreams,
    outbound: &Outbound,
    clock: &Clock,
    chains: &Chains,
) -> Vec<Venue> {
    let line = |name: &'static str| Line {
        policy: upstreams.register(name, upstreams.defaults()),
        outbound: outbound.clone(),
        clock: clock.clone(),
    };
    let mut venues = Vec::new();
    let mut seat = |adapter: Arc<dyn QuoteVenue>, simulated: bool| venues.push(Venue { adapter, simulated });
    let section = &config.zero_ex;
    if section.enabled && section.api_key.is_none() && !section.simulated {
        // Its API refuses every call without one, which would open its breaker and look like an outage.
        tracing::info!("no market.zero_ex.api_key: the venue zero_ex is not asked");
    } else if section.enabled {
        seat(Arc::new(ZeroEx::new(section, line(zero_ex::NAME))), section.simulated);
    }
    let section = &config.jupiter;
    if section.enabled {
        seat(Arc::new(Jupiter::new(section, line(jupiter::NAME))), section.simulated);
    }
    if config.uniswap.enabled {
        seat(Arc::new(Uniswap::new(chains.clone())), false);
    }
    venues
}
