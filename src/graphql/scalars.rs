//! Scalars of the contract.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{DateTime as ChronoDateTime, SecondsFormat};

use crate::model::{self, Timestamp, parse_decimal};

/// A number as GraphQL's `Int`, which has 32 bits: what is larger stays at the largest.
pub(crate) fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

pub(crate) struct Decimal(pub(crate) model::Decimal);

/// An exact decimal number, as a string: `"67187.3358936566"`. It never passes through a float.
#[Scalar]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        parse_decimal(&text).map(Self).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

pub(crate) struct BigInt(pub(crate) model::Units);

/// A whole number that is not negative, below 2^256, as a string of decimal digits: `"1000000000000000000"`. Amounts of
/// tokens are in base units (wei, lamports).
#[Scalar]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() => number.to_string(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        text.parse().map(Self).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

pub(crate) struct DateTime(pub(crate) Timestamp);

/// A point in time, RFC 3339 in UTC with milliseconds: `"2026-11-21T08:30:00.250Z"`.
#[Scalar(specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let time = ChronoDateTime::parse_from_rfc3339(text).map_err(InputValueError::custom)?;
        Ok(Self(time.to_utc()))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

pub(crate) struct Json(pub(crate) serde_json::Value);

/// Any JSON: what an MCP server's tools take and give.
#[Scalar(name = "JSON", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        value.into_json().map(Self).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::from_json(self.0.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_and_times_keep_their_spelling() {
        for (given, expected) in [
            (json!("67187.3358936566"), Some("67187.3358936566")),
            (json!("0.10"), Some("0.10")),
            (json!(12), Some("12")),
            (json!(0.1), None),
            (json!("ten"), None),
        ] {
            let parsed = Decimal::parse(Value::from_json(given.clone()).unwrap()).ok();
            assert_eq!(parsed.map(|amount| amount.to_value()), expected.map(Value::from), "{given}");
        }
        let most = format!("{}", model::Units(ruint::aliases::U256::MAX));
        for (given, expected) in [
            (json!("1000000000000000000000"), Some("1000000000000000000000")),
            (json!(most), Some(most.as_str())),
            (json!(12), Some("12")),
            (json!(-1), None),
            (json!("-1"), None),
            (json!(1.5), None),
            (json!("1e18"), None),
            (json!("0x10"), None),
            (json!(format!("{most}0")), None),
        ] {
            let parsed = BigInt::parse(Value::from_json(given.clone()).unwrap()).ok();
            assert_eq!(parsed.map(|number| number.to_value()), expected.map(Value::from), "{given}");
        }
        let time = DateTime::parse(Value::from("2026-11-21T09:30:00.25+01:00")).ok().unwrap();
        assert_eq!(time.to_value(), Value::from("2026-11-21T08:30:00.250Z"));
    }
}
