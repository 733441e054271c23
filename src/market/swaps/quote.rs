//! A quote with everything a caller needs to judge it: what it brings after fees, how far it is off our own price, how
//! long it holds.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use uuid::Uuid;

use crate::{
    market::venues::{RouteStep, VenueError},
    model::{Decimal, FieldError, Timestamp, Token, Units},
    resilience::CallError,
};

/// A swap as a caller asks for it, not checked yet.
#[derive(Debug, Clone, Default)]
pub struct SwapRequest {
    /// The chain's id.
    pub chain: String,
    /// What is given: `native`, or an address.
    pub sell_token: String,
    /// What is wanted: `native`, or an address.
    pub buy_token: String,
    /// How much is given, in base units.
    pub sell_amount: Units,
    /// How much less than quoted is still taken, in hundredths of a percent.
    pub slippage_bps: i32,
    /// Who would swap.
    pub taker: Option<String>,
}

/// What one venue offers for a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapQuote {
    /// Its own id.
    pub id: Uuid,
    /// The venue, as in the configuration.
    pub provider: Arc<str>,
    /// What is given.
    pub sell: Token,
    /// What is wanted.
    pub buy: Token,
    /// How much is given, in base units.
    pub sell_amount: Units,
    /// How much comes out, in base units.
    pub buy_amount: Units,
    /// How little of that may come out before the swap fails.
    pub min_received: Units,
    /// The slippage that was asked for, in hundredths of a percent.
    pub slippage_bps: u32,
    /// How much the swap moves the price against whoever swaps, where the venue says so.
    pub price_impact_bps: Option<u32>,
    /// How many whole tokens one whole token is worth by our own prices.
    pub reference_price: Option<Decimal>,
    /// What it takes to get the swap onto the chain.
    pub gas: Gas,
    /// What comes out less the fee, in dollars by our own prices.
    pub net_buy_value: Option<Decimal>,
    /// Where the tokens are swapped.
    pub route: Vec<RouteStep>,
    /// The block (on Solana the slot) whose state was quoted.
    pub block_number: Option<u64>,
    /// When the venue's answer arrived.
    pub quoted_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// The quote comes from a stand-in and not from the market.
    pub simulated: bool,
    /// What speaks against it.
    pub issues: Vec<Issue>,
}

impl SwapQuote {
    /// How far it is off our own price, in hundredths of a percent, where that is far enough to be an issue.
    #[must_use]
    pub fn outlies_by(&self) -> Option<i64> {
        self.issues.iter().find(|issue| issue.code == IssueCode::Outlier)?.deviation_bps
    }
}

/// What it takes to get a swap onto its chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gas {
    /// Units of gas.
    pub units: Option<u64>,
    /// What one unit costs, in base units of the native token.
    pub price: Option<Units>,
    /// What it costs in all, in base units of the native token.
    pub fee_native: Option<Units>,
    /// The same in dollars by our own price.
    pub fee_usd: Option<Decimal>,
}

/// Something that speaks against a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// What it is.
    pub code: IssueCode,
    /// A sentence for people.
    pub message: String,
    /// For [`IssueCode::Outlier`]: how much more (less, if negative) comes out than by our own prices, in hundredths of a
    /// percent.
    pub deviation_bps: Option<i64>,
}

/// What can speak against a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IssueCode {
    /// It is more than 5 % off our own price.
    Outlier,
    /// There is no price of our own to hold it against.
    Unverified,
    /// Nobody said what the fee would be.
    GasUnknown,
}

/// What quotes were ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RankedBy {
    /// By what comes out less the fee, in dollars.
    NetBuyValue,
    /// By what comes out, as there was no price to turn it or the fee into dollars.
    BuyAmount,
}

/// Everything that came of asking for a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapRound {
    /// Every quote, the best first; never empty.
    pub quotes: Vec<SwapQuote>,
    /// The venues that gave none.
    pub failures: Vec<SwapFailure>,
    /// What the quotes are ordered by.
    pub ranked_by: RankedBy,
}

/// A venue that gave no quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapFailure {
    /// The venue, as in the configuration.
    pub provider: Arc<str>,
    /// Why.
    pub code: FailureCode,
    /// How long to wait before it makes sense to ask it again, where that is known.
    pub retry_after: Option<Duration>,
}

/// Why a venue gave no quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
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

impl FailureCode {
    /// What a caller is told. The cause is for operators, who find it in the upstream's last error.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NoLiquidity => "the venue has no liquidity for this swap",
            Self::Timeout => "the venue did not answer in time",
            Self::BreakerOpen => "the venue failed too often and is not asked for a while",
            Self::RateLimited => "the venue allows no more calls for now",
            Self::Unavailable => "the venue could not be reached or answered with an error",
            Self::Undecodable => "the venue's answer could not be read",
            Self::Saturated => "too many calls to the venue are under way",
        }
    }

    /// The code as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoLiquidity => "no_liquidity",
            Self::Timeout => "timeout",
            Self::BreakerOpen => "breaker_open",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Undecodable => "undecodable",
            Self::Saturated => "saturated",
        }
    }
}

impl From<&VenueError> for FailureCode {
    fn from(error: &VenueError) -> Self {
        match error {
            VenueError::NoLiquidity => Self::NoLiquidity,
            VenueError::Call(CallError::Timeout) => Self::Timeout,
            VenueError::Call(CallError::BreakerOpen { .. }) => Self::BreakerOpen,
            VenueError::Call(CallError::RateLimited { .. }) => Self::RateLimited,
            VenueError::Call(CallError::Upstream { .. }) => Self::Unavailable,
            VenueError::Call(CallError::Decode { .. }) => Self::Undecodable,
            VenueError::Call(CallError::Saturated) => Self::Saturated,
        }
    }
}

/// Why there is no quote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SwapError {
    /// The swap is not one that can be asked for.
    #[error("the swap is not one that can be asked for")]
    Invalid(Vec<FieldError>),
    /// Every venue of the chain answered, and none can fill the swap.
    #[error("no venue has liquidity for this swap")]
    NoLiquidity,
    /// No venue gave a quote, and at least one could not say whether it has one.
    #[error("no venue gave a quote")]
    Unavailable {
        /// How long until the one that may recover first can be asked again, where that is known.
        retry_after: Option<Duration>,
        /// What each venue said.
        failures: Vec<SwapFailure>,
    },
}
