//! What cannot count, whatever the others say.

use chrono::TimeDelta;

use super::{Answer, Seat, Vote};
use crate::{
    market::{RejectReason, SourcePrice, sources::Observation},
    model::{Decimal, Timestamp},
};

/// A vote as the caller will see it, rejected where it cannot count.
pub(super) fn provenance(vote: &Vote, now: Timestamp) -> SourcePrice {
    let Seat { name, weight, simulated, .. } = vote.seat;
    let silent = |reason| SourcePrice {
        source: name.into(),
        price: None,
        observed_at: None,
        weight,
        reject_reason: Some(reason),
        simulated,
    };
    match &vote.answer {
        Answer::Unsupported => silent(RejectReason::Unsupported),
        Answer::Missing => silent(RejectReason::Missing),
        Answer::Late => silent(RejectReason::Late),
        Answer::Failed(error) => silent(error.into()),
        Answer::Quote(quote) => {
            let weight = weight.checked_mul(quote.trust).unwrap_or_default();
            // A source whose clock runs ahead saw the price now at the latest.
            let observed_at = quote.observed_at.min(now);
            SourcePrice {
                price: quote.amount,
                observed_at: Some(observed_at),
                weight,
                reject_reason: flaw(quote, weight, now - observed_at, vote.seat.max_age),
                ..silent(RejectReason::Missing)
            }
        }
    }
}

fn flaw(quote: &Observation, weight: Decimal, age: TimeDelta, max_age: TimeDelta) -> Option<RejectReason> {
    match quote.amount {
        None => Some(RejectReason::NullPrice),
        Some(amount) if amount <= Decimal::ZERO => Some(RejectReason::NotPositive),
        Some(_) if age > max_age => Some(RejectReason::TooOld),
        Some(_) if weight <= Decimal::ZERO => Some(RejectReason::Unsure),
        Some(_) => None,
    }
}
