//! Exact decimal amounts. They go from text to text and never through a float.

use thiserror::Error;

/// An exact decimal number with up to 28 significant digits.
pub type Decimal = rust_decimal::Decimal;

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AmountError {
    /// The text is not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// The number has more digits than an exact decimal can hold.
    #[error("more digits than an exact decimal can hold")]
    TooLarge,
}

/// Reads a decimal number as JSON writes it (`12`, `-0.5`, `1.2e-7`), exactly.
///
/// More than 28 significant digits are rounded half-even at the 28th, as no upstream means them.
///
/// # Errors
/// Anything that is not a number, or is too large for a decimal.
pub fn parse_decimal(text: &str) -> Result<Decimal, AmountError> {
    let parsed = if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { text.parse() };
    parsed.map_err(|error| match error {
        rust_decimal::Error::ExceedsMaximumPossibleValue
        | rust_decimal::Error::LessThanMinimumPossibleValue
        | rust_decimal::Error::ScaleExceedsMaximumPrecision(_) => AmountError::TooLarge,
        _ => AmountError::NotANumber,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_as_written() {
        for (text, expected) in [
            ("67187.3358936566", Ok("67187.3358936566")),
            ("1.2e-7", Ok("0.00000012")),
            ("5E3", Ok("5000")),
            ("-0.50", Ok("-0.50")),
            ("1e400", Err(AmountError::TooLarge)),
            ("", Err(AmountError::NotANumber)),
            ("NaN", Err(AmountError::NotANumber)),
            ("12abc", Err(AmountError::NotANumber)),
        ] {
            let got = parse_decimal(text).map(|amount| amount.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{text:?}");
        }
    }
}
