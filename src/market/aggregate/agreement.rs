//! What does not fit the rest.
//!
//! With three or more quotes the others convict: first by their own spread (median absolute deviation), then by the
//! agreed tolerance, so that quotes all over the place are no agreement. Two quotes cannot say which of them is wrong,
//! and one cannot contradict itself: there a recent price is the witness.

use super::{Rules, Standing};
use crate::{market::RejectReason, model::Decimal};

/// How many deviations make an outlier: 3.5 of them, each 1.4826 × MAD, which is a normal distribution's deviation.
const OUTLIER: Decimal = Decimal::from_parts(51_891, 0, 0, false, 4);
/// The least spread that is assumed, as a share of the median. Two of three quotes are often equal by chance, and must
/// not convict the third of a cent: honest sources lie this far apart, as some are a minute old.
const LEAST_SPREAD: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// Takes out of `standing` what does not fit, and says why. `recent` is a recent price.
pub(super) fn rejected(
    standing: &mut Vec<Standing>,
    recent: Option<Decimal>,
    rules: &Rules,
) -> Vec<(Standing, RejectReason)> {
    let mut rejected = Vec::new();
    let mut reject = |standing: &mut Vec<Standing>, reason, fits: &dyn Fn(&Standing) -> bool| {
        rejected.extend(standing.extract_if(.., |quote| !fits(quote)).map(|quote| (quote, reason)));
    };
    if standing.len() >= 3 {
        let (center, limit) = spread(standing);
        reject(standing, RejectReason::Outlier, &|quote| distance(quote.amount, center) <= limit);
    }
    if standing.len() >= 3 {
        let center = median(standing.iter().map(|quote| quote.amount));
        reject(standing, RejectReason::Disagrees, &|quote| near(quote.amount, center, rules.agreement));
    }
    match standing[..] {
        [one, other] if !near(one.amount, other.amount, rules.agreement) => {
            let witnessed = recent.and_then(|price| vouched(one, other, price, rules.agreement));
            reject(standing, RejectReason::Disagrees, &|quote| Some(quote.vote) == witnessed);
        }
        [lone] if recent.is_some_and(|price| !near(lone.amount, price, rules.lone_quote)) => {
            reject(standing, RejectReason::Disagrees, &|_| false);
        }
        _ => {}
    }
    rejected
}

/// The one of two quotes that a recent price speaks for; of two equally far the lower, as someone must be chosen.
fn vouched(one: Standing, other: Standing, recent: Decimal, tolerance: Decimal) -> Option<usize> {
    [one, other]
        .into_iter()
        .filter(|quote| near(quote.amount, recent, tolerance))
        .min_by_key(|quote| (distance(quote.amount, recent), quote.amount))
        .map(|quote| quote.vote)
}

/// The median, and how far from it a quote may lie.
fn spread(standing: &[Standing]) -> (Decimal, Decimal) {
    let center = median(standing.iter().map(|quote| quote.amount));
    let deviation = median(standing.iter().map(|quote| distance(quote.amount, center)));
    let least = center.checked_mul(LEAST_SPREAD).unwrap_or(Decimal::MAX);
    (center, deviation.checked_mul(OUTLIER).unwrap_or(Decimal::MAX).max(least))
}

/// Whether two positive amounts lie within `tolerance` of the lower one.
fn near(one: Decimal, other: Decimal, tolerance: Decimal) -> bool {
    let limit = one.min(other).checked_mul(tolerance).unwrap_or(Decimal::MAX);
    distance(one, other) <= limit
}

/// Both are positive, so this cannot overflow.
fn distance(one: Decimal, other: Decimal) -> Decimal {
    (one - other).abs()
}

/// The middle of positive amounts, or halfway between the two in the middle.
fn median(amounts: impl Iterator<Item = Decimal>) -> Decimal {
    let mut sorted: Vec<Decimal> = amounts.collect();
    sorted.sort_unstable();
    let upper = sorted[sorted.len() / 2];
    let lower = sorted[(sorted.len() - 1) / 2];
    lower + (upper - lower) / Decimal::TWO
}
