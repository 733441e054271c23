//! How quotes for swaps show in the schema.

use async_graphql::{Enum, ID, Object};

use crate::{
    graphql::{
        directives::Inherit,
        rows::Rows,
        scalars::{BigInt, DateTime, Decimal, int},
    },
    market::{self, Issue, SwapRound, venues::RouteStep},
    model::Token,
};

pub(crate) struct SwapQuotes(pub(crate) SwapRound);

/// What all venues of the chain said about a swap.
#[Object(directive = Inherit::apply())]
impl SwapQuotes {
    /// The best of `all`.
    async fn best(&self) -> SwapQuote {
        let best = self.0.quotes.first().cloned();
        SwapQuote(best.expect("a round without quotes is an error"))
    }

    /// Every quote, the best first. Those more than 5 % off our own price come last.
    async fn all(&self) -> Rows<SwapQuote> {
        self.0.quotes.iter().cloned().map(SwapQuote).collect()
    }

    /// The venues that were asked and gave no quote.
    async fn failures(&self) -> Rows<SwapFailure> {
        self.0.failures.iter().cloned().map(SwapFailure).collect()
    }

    /// What decided which one is better.
    async fn ranked_by(&self) -> SwapRankedBy {
        self.0.ranked_by.into()
    }
}

pub(crate) struct SwapQuote(pub(crate) market::SwapQuote);

/// What one venue offers for a swap. Amounts are in base units of their token.
#[Object(directive = Inherit::apply())]
impl SwapQuote {
    /// Its own id; every quote has a new one.
    async fn id(&self) -> ID {
        ID(format!("quote_{}", self.0.id.simple()))
    }

    /// The venue, such as `zero_ex`.
    async fn provider(&self) -> &str {
        &self.0.provider
    }

    /// The chain, such as `ethereum`.
    async fn chain(&self) -> ID {
        ID(self.0.sell.chain.to_string())
    }

    /// What is given.
    async fn sell_token(&self) -> SwapToken {
        SwapToken(self.0.sell.clone())
    }

    /// What is wanted.
    async fn buy_token(&self) -> SwapToken {
        SwapToken(self.0.buy.clone())
    }

    /// How much is given.
    async fn sell_amount(&self) -> BigInt {
        BigInt(self.0.sell_amount)
    }

    /// How much comes out, as quoted.
    async fn buy_amount(&self) -> BigInt {
        BigInt(self.0.buy_amount)
    }

    /// How little may come out before the swap fails: the venue's word, or `buyAmount` less the slippage, rounded down.
    async fn min_received(&self) -> BigInt {
        BigInt(self.0.min_received)
    }

    /// The slippage that was asked for, in hundredths of a percent.
    async fn slippage_bps(&self) -> i32 {
        int(self.0.slippage_bps)
    }

    /// How much the swap itself moves the price against whoever swaps, in hundredths of a percent; null where the venue
    /// does not say.
    async fn price_impact_bps(&self) -> Option<i32> {
        self.0.price_impact_bps.map(int)
    }

    /// How many whole tokens of `buyToken` one of `sellToken` is worth by our own prices, to 12 digits; null where one of
    /// them has no recent price.
    async fn reference_price(&self) -> Option<Decimal> {
        self.0.reference_price.map(Decimal)
    }

    /// What it takes to get the swap onto the chain.
    async fn gas(&self) -> SwapGas {
        SwapGas(self.0.gas.clone())
    }

    /// What comes out less the fee, in dollars by our own prices; null where a price or the fee is not known. It may be
    /// negative.
    async fn net_buy_value(&self) -> Option<Decimal> {
        self.0.net_buy_value.map(Decimal)
    }

    /// Where the tokens are swapped, in the venue's order.
    async fn route(&self) -> Rows<SwapRouteStep> {
        self.0.route.iter().cloned().map(SwapRouteStep).collect()
    }

    /// The block, on Solana the slot, whose state was quoted; null where the venue does not say.
    async fn block_number(&self) -> Option<BigInt> {
        self.0.block_number.map(|number| BigInt(number.into()))
    }

    /// When the venue's answer arrived.
    async fn quoted_at(&self) -> DateTime {
        DateTime(self.0.quoted_at)
    }

    /// Until when to act on it: the venue's word, or some seconds after `quotedAt`.
    async fn expires_at(&self) -> DateTime {
        DateTime(self.0.expires_at)
    }

    /// Whether it was invented by a stand-in of the sandbox.
    async fn simulated(&self) -> bool {
        self.0.simulated
    }

    /// What speaks against it.
    async fn issues(&self) -> Rows<SwapIssue> {
        self.0.issues.iter().cloned().map(SwapIssue).collect()
    }
}

pub(crate) struct SwapToken(Token);

/// A token of a swap.
#[Object(directive = Inherit::apply())]
impl SwapToken {
    /// Its contract or mint, as the chain's explorers write it; null for the chain's native token.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    /// What people call it. Not a key: other tokens may have the same.
    async fn symbol(&self) -> &str {
        &self.0.symbol
    }

    /// How many digits of an amount in base units lie after the point.
    async fn decimals(&self) -> i32 {
        i32::from(self.0.decimals)
    }
}

pub(crate) struct SwapGas(market::Gas);

/// What it takes to get a swap onto its chain. What is not known is null.
#[Object(directive = Inherit::apply())]
impl SwapGas {
    /// Units of gas; null on Solana.
    async fn units(&self) -> Option<BigInt> {
        self.0.units.map(|units| BigInt(units.into()))
    }

    /// What one unit costs, in base units of the native token.
    async fn price(&self) -> Option<BigInt> {
        self.0.price.map(BigInt)
    }

    /// What it costs in all, in base units of the native token: the venue's word, or `units` times `price`. On Solana the
    /// fee for one signature, to which whoever swaps may add some for precedence.
    async fn fee_native(&self) -> Option<BigInt> {
        self.0.fee_native.map(BigInt)
    }

    /// The same in dollars, rounded up.
    async fn fee_usd(&self) -> Option<Decimal> {
        self.0.fee_usd.map(Decimal)
    }
}

pub(crate) struct SwapRouteStep(RouteStep);

/// A step of a route.
#[Object(directive = Inherit::apply())]
impl SwapRouteStep {
    /// The exchange or pool, as the vendor calls it.
    async fn venue(&self) -> &str {
        &self.0.venue
    }

    /// How much of what is swapped at this step goes through it, in hundredths of a percent. The steps of a route with
    /// several hops add up to more than 10000.
    async fn portion_bps(&self) -> i32 {
        int(self.0.portion_bps)
    }
}

pub(crate) struct SwapIssue(Issue);

/// Something that speaks against a quote.
#[Object(directive = Inherit::apply())]
impl SwapIssue {
    /// What it is.
    async fn code(&self) -> SwapIssueCode {
        self.0.code.into()
    }

    /// A sentence for people.
    async fn message(&self) -> &str {
        &self.0.message
    }

    /// For `OUTLIER`: how much more (less, if negative) comes out than by our own prices, in hundredths of a percent.
    async fn deviation_bps(&self) -> Option<i32> {
        self.0.deviation_bps.map(int)
    }
}

pub(crate) struct SwapFailure(market::SwapFailure);

/// A venue that gave no quote.
#[Object(directive = Inherit::apply())]
impl SwapFailure {
    /// The venue, such as `zero_ex`.
    async fn provider(&self) -> &str {
        &self.0.provider
    }

    /// Why.
    async fn code(&self) -> SwapFailureCode {
        self.0.code.into()
    }

    /// A sentence for people.
    async fn message(&self) -> &str {
        self.0.code.message()
    }
}

/// What can speak against a quote.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "market::IssueCode")]
pub(crate) enum SwapIssueCode {
    /// It is more than 5 % off our own price.
    Outlier,
    /// There is no recent price of our own to hold it against.
    Unverified,
    /// The fee of the network is not known.
    GasUnknown,
}

/// What decides which quote is better.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "market::RankedBy")]
pub(crate) enum SwapRankedBy {
    /// What comes out less the fee, in dollars. Quotes whose fee is not known come after the others.
    NetBuyValue,
    /// What comes out, as there was no price to turn it or the fee into dollars.
    BuyAmount,
}

/// Why a venue gave no quote.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "market::FailureCode")]
pub(crate) enum SwapFailureCode {
    /// It is well and cannot fill the swap.
    NoLiquidity,
    /// It did not answer in time.
    Timeout,
    /// Its breaker is open; it was not asked.
    BreakerOpen,
    /// It refused for too many calls, or would.
    RateLimited,
    /// It could not be reached, or answered with an error.
    Unavailable,
    /// Its answer could not be read.
    Undecodable,
    /// Too many calls to it are in flight already.
    Saturated,
}
