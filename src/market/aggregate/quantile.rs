//! Quantiles of weighted values.

use crate::model::{Decimal, Timestamp};

/// A value and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weighted {
    pub(super) value: Decimal,
    pub(super) weight: Decimal,
    pub(super) observed_at: Timestamp,
}

/// Where a quantile fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantile {
    pub(super) value: Decimal,
    /// When the value was observed; the older one, when it lies between two.
    pub(super) observed_at: Timestamp,
}

/// The value below which `share` of the weight lies; halfway between two when the weight divides exactly there.
///
/// `None` without values. Sorts the values. Weights must be positive.
pub(super) fn quantile(values: &mut [Weighted], share: Decimal) -> Option<Quantile> {
    // The time takes part so that equal values give the same answer in any order.
    values.sort_unstable_by_key(|entry| (entry.value, entry.observed_at));
    let total: Decimal = values.iter().map(|entry| entry.weight).sum();
    let target = total * share;
    let mut below = Decimal::ZERO;
    for (place, entry) in values.iter().enumerate() {
        below += entry.weight;
        let at = |value, observed_at| Some(Quantile { value, observed_at });
        match values.get(place + 1) {
            Some(next) if below == target => {
                return at(halfway(entry.value, next.value), entry.observed_at.min(next.observed_at));
            }
            Some(_) if below < target => {}
            _ => return at(entry.value, entry.observed_at),
        }
    }
    None
}

fn halfway(lower: Decimal, upper: Decimal) -> Decimal {
    // Only values of opposite sign and absurd size overflow; either end is as good an answer then.
    match upper.checked_sub(lower) {
        Some(gap) if !gap.is_zero() => (lower + gap / Decimal::TWO).clamp(lower, upper).normalize(),
        _ => lower,
    }
}
