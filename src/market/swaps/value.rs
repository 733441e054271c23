//! What amounts of tokens are worth in dollars, in whole numbers: exact to a millionth of a millionth of a dollar, and
//! never rounded to the caller's apparent gain.

use ruint::Uint;

use crate::model::{Decimal, Units};

/// Digits of a dollar after the point. Beyond that nothing is worth ranking by, and 28 digits are left for the rest.
const USD_DIGITS: u32 = 12;

/// Which way a value goes that has more digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// For what the caller gets.
    Down,
    /// For what the caller pays.
    Up,
}

/// Wide enough for 2^256 base units at any price, with the digits of any token.
type Wide = Uint<512, 8>;

/// What so many base units are worth, at a price in dollars of one whole token. None where that is no price, or the value
/// has more digits than can be told.
pub(super) fn in_dollars(amount: Units, decimals: u8, price: Decimal, round: Round) -> Option<Decimal> {
    let price = price.normalize();
    let mantissa = u128::try_from(price.mantissa()).ok().filter(|mantissa| *mantissa > 0)?;
    let product: Wide = amount.0.widening_mul(Units::from(mantissa).0);
    let digits = u32::from(decimals) + price.scale();
    let power = |exponent: u32| Wide::from(10).checked_pow(Wide::from(exponent));
    let scaled = match digits.checked_sub(USD_DIGITS) {
        Some(surplus) => {
            let (quotient, rest) = product.div_rem(power(surplus)?);
            let up = round == Round::Up && !rest.is_zero();
            quotient.checked_add(Wide::from(u8::from(up)))?
        }
        None => product.checked_mul(power(USD_DIGITS - digits)?)?,
    };
    let mantissa = i128::try_from(u128::try_from(scaled).ok()?).ok()?;
    Decimal::try_from_i128_with_scale(mantissa, USD_DIGITS).ok().map(|value| value.normalize())
}

/// How much more (less, if negative) `got` is than `given`, in hundredths of a percent, rounded away from zero: what is a
/// little more than a limit must not read as the limit. None where nothing is given.
pub(super) fn deviation_bps(given: Decimal, got: Decimal) -> Option<i64> {
    let units = |mut value: Decimal| {
        value.rescale(USD_DIGITS);
        (value.scale() == USD_DIGITS).then(|| value.mantissa())
    };
    let (given, got) = (units(given)?, units(got)?);
    let scaled = got.checked_sub(given)?.checked_mul(10_000)?;
    let quotient = scaled.checked_div(given)?;
    let rest = if scaled % given == 0 { 0 } else { scaled.signum() };
    i64::try_from(quotient + rest).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn values_are_exact_and_never_round_to_the_callers_gain() {
        for (units, decimals, price, down, up) in [
            ("1000000000000000000", 18, "3420.1", Some("3420.1"), Some("3420.1")),
            ("1", 18, "3420", Some("0"), Some("0.000000000001")),
            ("3333333333", 6, "0.99995", Some("3333.16666633335"), Some("3333.16666633335")),
            ("1", 0, "0.0000000000015", Some("0.000000000001"), Some("0.000000000002")),
            ("0", 18, "3420", Some("0"), Some("0")),
            ("7", 0, "3", Some("21"), Some("21")),
            ("1", 0, "0", None, None),
            ("1", 0, "-1", None, None),
            (&Units(ruint::aliases::U256::MAX).to_string(), 18, "1", None, None),
            (&"9".repeat(30), 18, "0.00001234", Some("12339999.999999999999"), Some("12340000")),
        ] {
            let units: Units = units.parse().unwrap();
            let got = |round| in_dollars(units, decimals, dec(price), round);
            assert_eq!((got(Round::Down), got(Round::Up)), (down.map(dec), up.map(dec)), "{units} {price}");
        }
    }

    #[test]
    fn deviations_are_rounded_away_from_zero() {
        for (given, got, expected) in [
            ("100", "105", Some(500)),
            ("100", "105.000000000001", Some(501)),
            ("100", "95", Some(-500)),
            ("100", "94.999", Some(-501)),
            ("100", "100", Some(0)),
            ("100", "0", Some(-10_000)),
            ("0", "1", None),
        ] {
            assert_eq!(deviation_bps(dec(given), dec(got)), expected, "{given} {got}");
        }
    }

    proptest! {
        #[test]
        fn down_is_below_up_by_at_most_one_step(units in any::<u128>(), decimals in 0_u8..=30, mantissa in 1_i64.., scale in 0_u32..=28) {
            let (units, price) = (Units::from(units), Decimal::from_i128_with_scale(mantissa.into(), scale));
            let value = |round| in_dollars(units, decimals, price, round);
            if let (Some(down), Some(up)) = (value(Round::Down), value(Round::Up)) {
                prop_assert!(down <= up && up - down <= Decimal::new(1, USD_DIGITS), "{} {}", down, up);
                prop_assert!(!down.is_sign_negative());
            }
        }

        #[test]
        fn more_is_worth_no_less(one in any::<u64>(), other in any::<u64>(), decimals in 0_u8..=18, mantissa in 1_i64..1_000_000_000) {
            let value = |units: u64| in_dollars(Units::from(units), decimals, Decimal::new(mantissa, 6), Round::Down);
            if let (Some(one_value), Some(other_value)) = (value(one), value(other)) {
                prop_assert!(one > other || one_value <= other_value);
            }
        }
    }
}
