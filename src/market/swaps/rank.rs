//! Which of several quotes is the best. The order of the answers plays no part.

use std::cmp::Ordering;

use super::quote::{IssueCode, RankedBy, SwapQuote};

/// Puts the best quote first, and says what decided.
pub(super) fn rank(quotes: &mut [SwapQuote]) -> RankedBy {
    quotes.sort_by(order);
    if quotes.iter().any(|quote| quote.net_buy_value.is_some()) { RankedBy::NetBuyValue } else { RankedBy::BuyAmount }
}

/// Quotes near our own price come first, then those that are too low, those that are too high, and those that could not be
/// compared.
///
/// A quote far above the market is no bargain. Either its numbers are wrong, or the swap will not happen at them: it would
/// fail, or fill at the lowest that `minReceived` allows, after the caller has passed the honest ones by. Ranked by
/// value alone, whoever lies most would always win. So it is told, and never recommended while there is another one.
/// One that is too low may well be true, as large swaps are: it comes before those that are too good.
///
/// Between equals the name has the last word, so that the answer is the same every time.
fn order(one: &SwapQuote, other: &SwapQuote) -> Ordering {
    doubt(one)
        .cmp(&doubt(other))
        .then_with(|| worth(other).cmp(&worth(one)))
        .then_with(|| one.provider.cmp(&other.provider))
}

/// Among those that are too high the nearest to our own price is the likeliest. With a price to hold them against, only
/// quotes beyond all measure cannot be compared; without one, none can, and this decides nothing.
fn doubt(quote: &SwapQuote) -> (u8, Option<i64>) {
    match quote.outlies_by() {
        Some(bps) if bps < 0 => (1, None),
        Some(bps) => (2, Some(bps)),
        None if quote.issues.iter().any(|issue| issue.code == IssueCode::Unverified) => (3, None),
        None => (0, None),
    }
}

/// A quote whose fee is not known has no net value, and comes after those that have one: a venue must not win by keeping
/// its fee to itself.
fn worth(quote: &SwapQuote) -> impl Ord {
    (quote.net_buy_value, quote.buy_amount)
}
