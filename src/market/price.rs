//! A price with everything a caller needs to judge it: how sure, how old, and who said what.

use std::{fmt, sync::Arc};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{
    model::{AssetId, Decimal, Timestamp},
    resilience::CallError,
};

/// The currency an amount is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Currency {
    /// United States dollar.
    Usd,
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usd => f.write_str("USD"),
        }
    }
}

/// What one coin is worth, agreed on by several sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The coin.
    pub coin: AssetId,
    /// The currency of every amount in here.
    pub currency: Currency,
    /// What one whole coin is worth.
    pub amount: Decimal,
    /// How much the price moved in 24 hours, in percent; the median of the accepted sources that say so.
    pub change24h: Option<Decimal>,
    /// The range in which the accepted sources put the price.
    pub confidence: Confidence,
    /// When the quote that became the price was observed; the older one, when it lies between two.
    pub as_of: Timestamp,
    /// Too few sources agree now: this is the last price on which enough of them did.
    pub stale: bool,
    /// How many sources agreed, of how many.
    pub quorum: Quorum,
    /// What every configured source contributed in the latest round, those that failed included.
    pub sources: Vec<SourcePrice>,
}

impl Price {
    /// The time since the price was observed; zero when that lies in the future.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> TimeDelta {
        (now - self.as_of).max(TimeDelta::zero())
    }

    /// Whether there is nothing to tell to somebody who knows the other one.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.amount == other.amount && self.stale == other.stale
    }

    /// The same price, flagged stale.
    #[must_use]
    pub fn into_stale(self) -> Self {
        Self { stale: true, ..self }
    }
}

/// A range around a price, in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidence {
    /// The lower end; never negative.
    pub low: Decimal,
    /// The upper end.
    pub high: Decimal,
}

/// How many sources stand behind a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Sources whose quote was accepted.
    pub used: usize,
    /// Sources that can quote this coin.
    pub total: usize,
    /// Sources that had to agree.
    pub min: usize,
}

impl Quorum {
    /// Whether enough sources agreed.
    #[must_use]
    pub fn is_met(self) -> bool {
        self.used >= self.min
    }
}

/// One source's part in a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePrice {
    /// The source's name, as in the configuration.
    pub source: Arc<str>,
    /// What it quoted, if it quoted anything.
    pub price: Option<Decimal>,
    /// When it observed that.
    pub observed_at: Option<Timestamp>,
    /// How much its vote counts in the median: the configured weight times its own confidence.
    pub weight: Decimal,
    /// Why its quote was not used; `None` when it was.
    pub reject_reason: Option<RejectReason>,
    /// The quote comes from a stand-in and not from the market.
    pub simulated: bool,
}

impl SourcePrice {
    /// Whether the quote went into the price.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.reject_reason.is_none()
    }
}

/// Why a source did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RejectReason {
    /// The source does not list the coin, so it was not asked.
    Unsupported,
    /// The source was asked and does not know the coin.
    Missing,
    /// The source knows the coin and has no price for it.
    NullPrice,
    /// The price is zero or negative.
    NotPositive,
    /// The quote is older than the source may be.
    TooOld,
    /// The source itself has no confidence in the quote.
    Unsure,
    /// The quote lies too many deviations away from the others.
    Outlier,
    /// The quote contradicts the only other one, or the last price.
    Disagrees,
    /// The others agreed before this source answered, or the round ended.
    Late,
    /// The source did not answer in time.
    Timeout,
    /// The source's breaker is open; it was not asked.
    BreakerOpen,
    /// The source refused for too many calls, or would.
    RateLimited,
    /// The source could not be reached or answered with an error.
    Unavailable,
    /// The source's answer could not be read.
    Undecodable,
    /// Too many calls to the source are in flight already.
    Saturated,
}

impl RejectReason {
    /// The reason as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Missing => "missing",
            Self::NullPrice => "null_price",
            Self::NotPositive => "not_positive",
            Self::TooOld => "too_old",
            Self::Unsure => "unsure",
            Self::Outlier => "outlier",
            Self::Disagrees => "disagrees",
            Self::Late => "late",
            Self::Timeout => "timeout",
            Self::BreakerOpen => "breaker_open",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Undecodable => "undecodable",
            Self::Saturated => "saturated",
        }
    }
}

impl From<&CallError> for RejectReason {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Timeout => Self::Timeout,
            CallError::BreakerOpen { .. } => Self::BreakerOpen,
            CallError::RateLimited { .. } => Self::RateLimited,
            CallError::Upstream { .. } => Self::Unavailable,
            CallError::Decode { .. } => Self::Undecodable,
            CallError::Saturated => Self::Saturated,
        }
    }
}

/// A price changed, or became stale, or recovered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PriceUpdate {
    /// The price now.
    pub price: Arc<Price>,
    /// The amount of the tick before, if whoever published this one knew it.
    pub previous: Option<Decimal>,
    /// When the tick was published.
    pub published_at: Timestamp,
    /// Its place among all ticks.
    pub stamp: Stamp,
    /// Nothing changed: it is told once more to those who have not heard it.
    pub repeated: bool,
}

/// The order of ticks, over all coins and nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Grows whenever another node takes over the feed; 0 where there is only one.
    pub term: u64,
    /// Grows with every tick of a term; the numbers between two ticks of a coin went to other coins.
    pub sequence: u64,
    /// Grows with every tick that a node publishes while it is cut off. Such ticks come after what the node last heard of
    /// the leader, and before whatever the leader tells next, however many they are.
    pub apart: u64,
}

impl Stamp {
    /// The one after this, in `term` or a later one, or beside the leader.
    pub(super) fn next(self, term: Option<u64>) -> Self {
        match term {
            None => Self { apart: self.apart + 1, ..self },
            Some(term) if term > self.term => Self { term, sequence: 1, apart: 0 },
            Some(_) => Self { sequence: self.sequence + 1, apart: 0, ..self },
        }
    }
}
