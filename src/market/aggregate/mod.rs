//! How quotes become one price. Pure: the same votes, last price and time always give the same verdict.
//!
//! In this order: what cannot count is set aside (`screen`), then what does not fit the rest (`agreement`), then the
//! weighted median of what is left is the price (`quantile`), if enough is left. Exact decimals only, and no
//! arithmetic that can overflow. A new reason to reject belongs in `screen` or `agreement`; `tests` has the
//! properties that must survive it.

mod agreement;
mod quantile;
mod screen;
#[cfg(test)]
mod tests;

use chrono::TimeDelta;

use self::quantile::{Weighted, quantile};
use super::{Coin, Confidence, Currency, Price, PriceError, Quorum, RejectReason, SourcePrice, sources::Observation};
use crate::{
    config::MarketConfig,
    model::{Decimal, Timestamp},
    resilience::CallError,
};

/// When quotes agree.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Sources that must agree, where that many can quote the coin.
    pub(super) min_sources: usize,
    /// How far quotes that agree may lie apart, as a share of the lower one.
    pub(super) agreement: Decimal,
    /// How far a lone quote may lie from a recent price, as a share of it.
    pub(super) lone_quote: Decimal,
    /// How old a price may be to vouch for a quote.
    pub(super) recent: TimeDelta,
}

impl From<&MarketConfig> for Rules {
    fn from(config: &MarketConfig) -> Self {
        let share = |bps: u32| Decimal::new(bps.into(), 4);
        let recent = i64::try_from(config.recent_seconds).ok().and_then(TimeDelta::try_seconds);
        Self {
            min_sources: config.min_sources,
            agreement: share(config.agreement_bps),
            lone_quote: share(config.lone_quote_bps),
            recent: recent.unwrap_or(TimeDelta::MAX),
        }
    }
}

/// A source's seat at the table: what its word counts, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) name: &'static str,
    pub(super) weight: Decimal,
    pub(super) max_age: TimeDelta,
    pub(super) simulated: bool,
}

/// What one source had to say about one coin.
#[derive(Debug, Clone)]
pub(super) struct Vote {
    pub(super) seat: Seat,
    pub(super) answer: Answer,
}

/// How a source answered for one coin.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Quote(Observation),
    /// It does not know the coin.
    Missing,
    /// It was not asked, as it does not list the coin.
    Unsupported,
    /// The call failed.
    Failed(CallError),
    /// It has not answered yet.
    Late,
}

/// What the votes came to.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// A price on which enough sources agree, or the last such price, flagged stale.
    Priced(Price),
    /// Nobody knows the coin.
    Unknown,
    /// No price, and no earlier one either.
    Failed(PriceError, Vec<SourcePrice>),
}

/// A quote that still counts, with its place among the votes.
#[derive(Debug, Clone, Copy)]
struct Standing {
    vote: usize,
    amount: Decimal,
}

/// What the accepted quotes say together.
struct Consensus {
    amount: Decimal,
    confidence: Confidence,
    change24h: Option<Decimal>,
    as_of: Timestamp,
}

/// Weighs the votes on a coin. `last` is the last price on which enough sources agreed, if it may still be given.
pub(super) fn weigh(coin: &Coin, votes: &[Vote], last: Option<&Price>, now: Timestamp, rules: &Rules) -> Verdict {
    let (sources, quorum) = examine(coin, votes, last, now, rules);
    if quorum.is_met()
        && let Some(consensus) = consensus(votes, &sources)
    {
        return Verdict::Priced(Price {
            coin: coin.id.clone(),
            currency: Currency::Usd,
            amount: consensus.amount,
            change24h: consensus.change24h,
            confidence: consensus.confidence,
            as_of: consensus.as_of,
            stale: false,
            quorum,
            sources,
        });
    }
    without_quorum(coin, votes, last, sources, quorum)
}

/// Whether waiting for the missing answers is worth little: enough agree, or none is missing.
pub(super) fn is_settled(coin: &Coin, votes: &[Vote], last: Option<&Price>, now: Timestamp, rules: &Rules) -> bool {
    let pending = votes.iter().any(|vote| matches!(vote.answer, Answer::Late));
    !pending || examine(coin, votes, last, now, rules).1.is_met()
}

/// Who is accepted and who is not, and whether that is enough.
fn examine(
    coin: &Coin,
    votes: &[Vote],
    last: Option<&Price>,
    now: Timestamp,
    rules: &Rules,
) -> (Vec<SourcePrice>, Quorum) {
    let mut sources: Vec<SourcePrice> = votes.iter().map(|vote| screen::provenance(vote, now)).collect();
    let mut standing: Vec<Standing> = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.accepted())
        .filter_map(|(vote, source)| source.price.map(|amount| Standing { vote, amount }))
        .collect();
    let recent = last.filter(|price| price.age(now) <= rules.recent).map(|price| price.amount);
    for (rejected, reason) in agreement::rejected(&mut standing, recent, rules) {
        sources[rejected.vote].reject_reason = Some(reason);
    }
    // A listed coin is known to be known: a source that has lost it must not lower the bar for the others.
    let can_quote = |source: &&SourcePrice| match source.reject_reason {
        Some(RejectReason::Unsupported) => false,
        Some(RejectReason::Missing) => coin.listing.is_some(),
        _ => true,
    };
    let total = sources.iter().filter(can_quote).count();
    let quorum = Quorum { used: standing.len(), total, min: rules.min_sources.min(total).max(1) };
    (sources, quorum)
}

/// The last price, flagged stale, or why there is none. Never an invented one.
fn without_quorum(
    coin: &Coin,
    votes: &[Vote],
    last: Option<&Price>,
    sources: Vec<SourcePrice>,
    quorum: Quorum,
) -> Verdict {
    let quoted = votes.iter().any(|vote| matches!(vote.answer, Answer::Quote(_)));
    let missing = votes.iter().any(|vote| matches!(vote.answer, Answer::Missing));
    let unsupported = votes.iter().all(|vote| matches!(vote.answer, Answer::Unsupported));
    let silent = votes.iter().any(|vote| matches!(vote.answer, Answer::Failed(_) | Answer::Late));
    // Where there was a price, the source that knew the coin may just be down.
    let denied = !quoted && (missing || unsupported) && !(silent && last.is_some());
    if coin.listing.is_none() && denied {
        return Verdict::Unknown;
    }
    if let Some(last) = last {
        return Verdict::Priced(Price { stale: true, quorum, sources, ..last.clone() });
    }
    let refusals = votes.iter().filter_map(|vote| match &vote.answer {
        Answer::Failed(error) => Some(error),
        _ => None,
    });
    let soonest = refusals.min_by_key(|error| (error.retry_after().is_none(), error.retry_after()));
    let error = match soonest {
        Some(error) if !quoted && !missing => PriceError::Unavailable(error.clone()),
        _ => PriceError::NoQuorum { used: quorum.used, needed: quorum.min },
    };
    Verdict::Failed(error, sources)
}

/// The weighted median of what was accepted, and how sure it is.
fn consensus(votes: &[Vote], sources: &[SourcePrice]) -> Option<Consensus> {
    let accepted: Vec<(&Observation, &SourcePrice)> = votes
        .iter()
        .zip(sources)
        .filter_map(|(vote, source)| match &vote.answer {
            Answer::Quote(quote) if source.accepted() => Some((quote, source)),
            _ => None,
        })
        .collect();
    let weighted = |value: &dyn Fn(&Observation) -> Option<Decimal>| -> Vec<Weighted> {
        let entries = accepted.iter().filter_map(|(quote, source)| {
            Some(Weighted { value: value(quote)?, weight: source.weight, observed_at: source.observed_at? })
        });
        entries.collect()
    };
    let mut amounts = weighted(&|quote| quote.amount);
    let median = quantile(&mut amounts, Decimal::new(5, 1))?;
    let mut deviations = weighted(&|quote| Some((quote.amount? - median.value).abs()));
    let deviation = quantile(&mut deviations, Decimal::new(5, 1))?.value;
    let (lower, upper) =
        (quantile(&mut amounts, Decimal::new(25, 2))?.value, quantile(&mut amounts, Decimal::new(75, 2))?.value);
    let doubt = accepted.iter().map(|(quote, _)| quote.uncertainty).max().unwrap_or_default();
    let margin = deviation.max((upper - lower) / Decimal::TWO).max(doubt);
    Some(Consensus {
        amount: median.value,
        confidence: Confidence {
            low: (median.value - margin.min(median.value)).max(Decimal::ZERO),
            high: median.value.checked_add(margin).unwrap_or(Decimal::MAX),
        },
        change24h: quantile(&mut weighted(&|quote| quote.change24h), Decimal::new(5, 1)).map(|change| change.value),
        as_of: median.observed_at,
    })
}
