//! Uniswap v3: one pool of a chain, by the word of its quoter contract, read at the newest block.
//!
//! The quoter simulates the swap in each pool of the two tokens, as documented at
//! <https://docs.uniswap.org/contracts/v3/reference/periphery/lens/QuoterV2>. What gas costs is the chain's standard fee.
//! A swap over several pools is not looked for.

use std::{cmp::Reverse, sync::Arc};

use futures_util::future::BoxFuture;

use super::{QuoteAsk, QuoteVenue, RouteStep, VenueError, VenueGas, VenueQuote};
use crate::{
    chains::{ChainError, Chains, FeeQuery, PoolContracts, PoolQuote},
    model::{ChainId, Token, Units},
    resilience::CallError,
};

pub(super) const NAME: &str = "uniswap";

const COMMON: PoolContracts = PoolContracts {
    quoter: "0x61fFE014bA17989E743c5F6cB21bF9697530B21e",
    factory: "0x1F98431c8aD98523631AE4a59f267346ea31F984",
};
const OF_BASE: PoolContracts = PoolContracts {
    quoter: "0x3d4e44Eb1374240CE5F1B871ab261CD16335B76a",
    factory: "0x33128a8fC17869897dcE68Ed026d694621f6FDfD",
};
/// A chain with what Uniswap has there, and its wrapped native token.
const CHAINS: [(&str, PoolContracts, &str); 5] = [
    ("ethereum", COMMON, "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"),
    ("arbitrum", COMMON, "0x82aF49447D8a07e3bd95BD0d56f35241523fBab1"),
    ("optimism", COMMON, "0x4200000000000000000000000000000000000006"),
    ("polygon", COMMON, "0x0d500B1d8E8eF31E21C99d1Db9A6444d3ADf1270"),
    ("base", OF_BASE, "0x4200000000000000000000000000000000000006"),
];

pub(super) struct Uniswap(Chains);

impl Uniswap {
    pub(super) fn new(chains: Chains) -> Self {
        Self(chains)
    }
}

impl QuoteVenue for Uniswap {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Where there is a quoter, and an endpoint to ask; the sandbox's stand-ins have no pools.
    fn serves(&self, chain: &ChainId) -> bool {
        known(chain).is_some() && self.0.find(chain.as_str()).is_ok_and(|chain| !chain.network().simulated)
    }

    fn quote<'a>(&'a self, ask: &'a QuoteAsk) -> BoxFuture<'a, Result<VenueQuote, VenueError>> {
        Box::pin(async move {
            let (_, contracts, wrapped) = known(ask.chain()).ok_or(VenueError::NoLiquidity)?;
            let (from, to) = (address(&ask.sell, wrapped), address(&ask.buy, wrapped));
            if from.eq_ignore_ascii_case(to) {
                // To wrap is no swap.
                return Err(VenueError::NoLiquidity);
            }
            let chain = self.0.find(ask.chain().as_str()).map_err(failure)?;
            let fees = FeeQuery::default();
            let (quotes, fees) =
                tokio::join!(chain.pool_quotes(&contracts, (from, to), ask.sell_amount), chain.fees(&fees));
            // It is no part of the quote: without it, the quote stands.
            let gas_price = fees.ok().and_then(|fees| fees.standard.gas_price());
            best(quotes.map_err(failure)?, gas_price).ok_or(VenueError::NoLiquidity)
        })
    }
}

fn known(chain: &ChainId) -> Option<(&'static str, PoolContracts, &'static str)> {
    CHAINS.into_iter().find(|(id, ..)| *id == chain.as_str())
}

fn address<'a>(token: &'a Token, wrapped: &'a str) -> &'a str {
    token.address.as_deref().unwrap_or(wrapped)
}

/// The pool that gives most, and of two that give the same the one that takes less gas.
fn best(quotes: Vec<PoolQuote>, gas_price: Option<Units>) -> Option<VenueQuote> {
    let PoolQuote { fee, amount_out, price_impact_bps, gas_units, block_number } =
        quotes.into_iter().max_by_key(|quote| (quote.amount_out, Reverse(quote.gas_units.unwrap_or(u64::MAX))))?;
    Some(VenueQuote {
        buy_amount: amount_out,
        min_received: None,
        price_impact_bps,
        gas: VenueGas { units: gas_units, price: gas_price, fee: None },
        route: vec![RouteStep { venue: name(fee), portion_bps: 10_000 }],
        block_number: Some(block_number),
        expires_at: None,
    })
}

/// Such as `Uniswap v3 0.05%`: fees are in hundredths of a basis point.
fn name(fee: u32) -> Arc<str> {
    let (whole, fraction) = (fee / 10_000, fee % 10_000 / 100);
    let fraction = format!("{fraction:02}");
    match fraction.trim_end_matches('0') {
        "" => format!("Uniswap v3 {whole}%").into(),
        fraction => format!("Uniswap v3 {whole}.{fraction}%").into(),
    }
}

fn failure(error: ChainError) -> VenueError {
    VenueError::Call(match error {
        ChainError::TimedOut => CallError::Timeout,
        ChainError::Nonsense { detail, .. } => CallError::Decode { detail },
        other => CallError::Upstream { status: None, detail: other.to_string().into() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Tokens;

    #[test]
    fn wrapped_tokens_are_those_that_are_known() {
        let tokens = Tokens::embedded();
        for (chain, _, wrapped) in CHAINS {
            let is_it = |token: &Token| token.chain.as_str() == chain && token.address.as_deref() == Some(wrapped);
            assert!(tokens.iter().any(is_it), "{chain} {wrapped}");
        }
    }

    #[test]
    fn the_pool_that_gives_most_is_taken() {
        let quote = |fee, amount: u64, gas| PoolQuote {
            fee,
            amount_out: Units::from(amount),
            price_impact_bps: Some(fee),
            gas_units: Some(gas),
            block_number: 7,
        };
        let price = Some(Units::from(4_u64));
        assert_eq!(best(Vec::new(), price), None);
        let quotes = vec![quote(100, 5, 1), quote(500, 9, 3), quote(3_000, 9, 2), quote(10_000, 8, 1)];
        let best = best(quotes, price).unwrap();
        assert_eq!(
            (best.buy_amount, best.price_impact_bps, best.block_number),
            (Units::from(9_u64), Some(3_000), Some(7))
        );
        assert_eq!(best.gas, VenueGas { units: Some(2), price, fee: None });
        assert_eq!(&*best.route[0].venue, "Uniswap v3 0.3%");
        let names = [100, 500, 10_000].map(|fee| name(fee).to_string());
        assert_eq!(names, ["Uniswap v3 0.01%", "Uniswap v3 0.05%", "Uniswap v3 1%"]);
    }
}
