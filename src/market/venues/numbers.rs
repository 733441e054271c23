//! Whole numbers as vendors write them. One that cannot be read costs the quote: a guess would be somebody's money.

use crate::{
    market::wire::Raw,
    model::{Units, parse_decimal},
    resilience::CallError,
};

pub(super) const BPS_IN_WHOLE: u32 = 10_000;

/// The error for an answer whose `field` is not what it must be.
pub(super) fn unreadable(field: &str) -> CallError {
    CallError::Decode { detail: format!("{field} is not what it must be").into() }
}

/// A whole number below 2^256, as a JSON text of digits or a JSON number; none for `null` and what is absent.
pub(super) fn whole(raw: &Raw, field: &str) -> Result<Option<Units>, CallError> {
    let Some(text) = raw.as_deref().map(serde_json::value::RawValue::get) else { return Ok(None) };
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    digits.parse().map(Some).map_err(|_| unreadable(field))
}

/// A whole number that must be there.
pub(super) fn required(raw: &Raw, field: &str) -> Result<Units, CallError> {
    whole(raw, field)?.ok_or_else(|| unreadable(field))
}

/// A whole number below 2^64.
pub(super) fn small(raw: &Raw, field: &str) -> Result<Option<u64>, CallError> {
    whole(raw, field)?.map(|number| u64::try_from(number.0).map_err(|_| unreadable(field))).transpose()
}

/// Hundredths of a percent, 0 to 10000.
pub(super) fn basis_points(raw: &Raw, field: &str) -> Result<Option<u32>, CallError> {
    let points = small(raw, field)?.map(|points| u32::try_from(points).ok().filter(|points| *points <= BPS_IN_WHOLE));
    points.map(|points| points.ok_or_else(|| unreadable(field))).transpose()
}

/// A share, as `0.0123`, in hundredths of a percent; a part of one counts whole, as it is against the caller. What is
/// in the caller's favour is no loss.
pub(super) fn loss(raw: &Raw, field: &str) -> Result<Option<u32>, CallError> {
    let Some(text) = raw.as_deref().map(serde_json::value::RawValue::get) else { return Ok(None) };
    let share = parse_decimal(text.trim_matches('"')).map_err(|_| unreadable(field))?;
    let points = share.checked_mul(BPS_IN_WHOLE.into()).map(|points| points.ceil());
    let points = points.filter(|points| points.abs() <= BPS_IN_WHOLE.into()).ok_or_else(|| unreadable(field))?;
    u32::try_from(points.max(0.into())).map(Some).map_err(|_| unreadable(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Raw {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn only_whole_numbers_that_fit_are_read() {
        let largest = ruint::aliases::U256::MAX.to_string();
        for (json, expected) in [
            ("null", Ok(None)),
            ("\"0\"", Ok(Some("0"))),
            ("\"100037537\"", Ok(Some("100037537"))),
            ("100037537", Ok(Some("100037537"))),
            (&format!("\"{largest}\""), Ok(Some(&*largest))),
            (&format!("\"{largest}0\""), Err(())),
            ("\"-1\"", Err(())),
            ("-1", Err(())),
            ("1.0", Err(())),
            ("1e18", Err(())),
            ("\"0x10\"", Err(())),
            ("\"\"", Err(())),
            ("{}", Err(())),
            ("[1]", Err(())),
            ("true", Err(())),
        ] {
            let got = whole(&raw(json), "x").map_err(|_| ());
            assert_eq!(got, expected.map(|text| text.map(|text| text.parse().unwrap())), "{json}");
        }
        assert!(required(&None, "x").is_err() && required(&raw("null"), "x").is_err());
        assert_eq!(small(&raw("18446744073709551615"), "x"), Ok(Some(u64::MAX)));
        assert!(small(&raw("18446744073709551616"), "x").is_err());
    }

    #[test]
    fn shares_are_rounded_against_the_caller() {
        for (json, expected) in [
            ("\"0\"", Ok(0)),
            ("\"0.0123\"", Ok(123)),
            ("0.00001", Ok(1)),
            ("\"1\"", Ok(10_000)),
            ("\"-0.5\"", Ok(0)),
            ("\"1.1\"", Err(())),
            ("\"-1.1\"", Err(())),
            ("\"lots\"", Err(())),
            ("\"1e30\"", Err(())),
        ] {
            assert_eq!(loss(&raw(json), "x").map_err(|_| ()), expected.map(Some), "{json}");
        }
        assert_eq!(basis_points(&raw("\"10000\""), "x"), Ok(Some(10_000)));
        assert!(basis_points(&raw("10001"), "x").is_err());
    }
}
