//! Amounts of tokens as chains count them: whole base units (wei, lamports), never fractions, never floats.

use std::{fmt, str::FromStr};

use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use super::Decimal;

/// The most digits after the point that a token may have; real ones have at most 24.
const MOST_DECIMALS: u8 = 77;

/// A whole number of base units, below 2^256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Units(pub U256);

/// Why a text is no number of base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a whole number of base units in decimal digits, below 2^256")]
pub struct InvalidUnits;

impl Units {
    /// None of it.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The sum, unless it is too large.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, unless it is below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The product, unless it is too large.
    #[must_use]
    pub fn checked_mul(self, factor: u64) -> Option<Self> {
        self.0.checked_mul(U256::from(factor)).map(Self)
    }

    /// `self * numerator / denominator`, rounded down; exact in between, as the product may need 512 bits. Nothing where
    /// the denominator is zero or the result too large.
    #[must_use]
    pub fn mul_div(self, numerator: Self, denominator: Self) -> Option<Self> {
        if denominator.0.is_zero() {
            return None;
        }
        let product: ruint::Uint<512, 8> = self.0.widening_mul(numerator.0);
        let quotient = product / ruint::Uint::<512, 8>::from(denominator.0);
        U256::checked_from_limbs_slice(quotient.as_limbs()).map(Self)
    }

    /// So many hundredths of a percent of it, rounded down.
    #[must_use]
    pub fn basis_points(self, points: u32) -> Option<Self> {
        self.mul_div(Self::from(u64::from(points)), Self::from(10_000_u64))
    }

    /// As a decimal number of whole tokens, exactly; nothing where that takes more than 28 digits.
    #[must_use]
    pub fn to_decimal(self, decimals: u8) -> Option<Decimal> {
        self.in_tokens(decimals).parse().ok().filter(|decimal: &Decimal| {
            // The parser rounds what does not fit.
            Self::from_decimal(*decimal, decimals) == Some(self)
        })
    }

    /// The base units of a decimal number of whole tokens; nothing where it is negative, or has digits below a base unit.
    #[must_use]
    pub fn from_decimal(amount: Decimal, decimals: u8) -> Option<Self> {
        let amount = amount.normalize();
        let missing = u32::from(decimals).checked_sub(amount.scale())?;
        let mantissa = u128::try_from(amount.mantissa()).ok()?;
        let scale = U256::from(10).checked_pow(U256::from(missing))?;
        U256::from(mantissa).checked_mul(scale).map(Self)
    }

    /// As people write it: `1.5` for 1500000 with six decimals. Always exact.
    #[must_use]
    pub fn in_tokens(self, decimals: u8) -> String {
        let digits = self.0.to_string();
        let decimals = usize::from(decimals.min(MOST_DECIMALS));
        let padded = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = padded.split_at(padded.len() - decimals);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }
}

impl From<u64> for Units {
    fn from(number: u64) -> Self {
        Self(U256::from(number))
    }
}

impl From<u128> for Units {
    fn from(number: u128) -> Self {
        Self(U256::from(number))
    }
}

impl FromStr for Units {
    type Err = InvalidUnits;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The library's parser also takes underscores and prefixes.
        if text.is_empty() || text.len() > 78 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidUnits);
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| InvalidUnits)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> Units {
        text.parse().unwrap()
    }

    #[test]
    fn only_digits_are_base_units() {
        let largest = U256::MAX.to_string();
        for good in ["0", "1", "000", &largest] {
            assert!(good.parse::<Units>().is_ok(), "{good}");
        }
        let above = format!("{}6", &largest[..largest.len() - 1]);
        for bad in ["", "-1", "+1", "1.0", "1e18", "0x1", "1_000", " 1", &above, &"9".repeat(79)] {
            assert_eq!(bad.parse::<Units>(), Err(InvalidUnits), "{bad}");
        }
    }

    #[test]
    fn whole_tokens_are_written_exactly() {
        for (base, decimals, tokens) in [
            ("0", 18, "0"),
            ("1", 18, "0.000000000000000001"),
            ("1500000", 6, "1.5"),
            ("1000000", 6, "1"),
            ("123", 0, "123"),
            ("123", 3, "0.123"),
        ] {
            assert_eq!(units(base).in_tokens(decimals), tokens);
            assert_eq!(units(base).to_decimal(decimals).unwrap().to_string(), tokens);
            assert_eq!(Units::from_decimal(tokens.parse().unwrap(), decimals), Some(units(base)));
        }
        assert_eq!(Units(U256::MAX).to_decimal(18), None, "that takes 78 digits");
        assert_eq!(Units::from_decimal("0.1".parse().unwrap(), 0), None);
        assert_eq!(Units::from_decimal("-1".parse().unwrap(), 18), None);
    }

    #[test]
    fn products_may_be_larger_than_what_is_kept() {
        let most = Units(U256::MAX);
        assert_eq!(most.mul_div(most, most), Some(most));
        assert_eq!(most.mul_div(Units::from(2_u64), Units::from(1_u64)), None);
        assert_eq!(units("7").mul_div(units("10"), units("3")), Some(units("23")));
        assert_eq!(units("7").mul_div(units("10"), Units::ZERO), None);
        assert_eq!(units("10001").basis_points(9_950), Some(units("9950")));
    }

    proptest! {
        #[test]
        fn text_and_tokens_come_back_as_they_were(low in any::<u128>(), high in any::<u128>(), decimals in 0_u8..30) {
            let units = Units(U256::from(low) + (U256::from(high) << 128_usize));
            prop_assert_eq!(units.to_string().parse(), Ok(units));
            let json = serde_json::to_string(&units).unwrap();
            prop_assert_eq!(serde_json::from_str::<Units>(&json).unwrap(), units);
            let small = Units::from(u64::try_from(low >> 64).unwrap());
            let decimal = small.to_decimal(decimals.min(8)).unwrap();
            prop_assert_eq!(Units::from_decimal(decimal, decimals.min(8)), Some(small));
        }
    }
}
