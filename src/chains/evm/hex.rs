//! Numbers as nodes write them: `0x` and hexadecimal digits.

use alloy_primitives::U256;
use serde_json::Value;

use crate::model::Units;

/// A quantity of at most 256 bits.
pub(super) fn units(value: &Value) -> Option<Units> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    let is_hex = !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| U256::from_str_radix(digits, 16).ok()).flatten().map(Units)
}

/// A quantity of at most 64 bits.
pub(super) fn number(value: &Value) -> Option<u64> {
    u64::try_from(units(value)?.0).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_hexadecimal_digits_are_numbers() {
        assert_eq!(number(&json!("0x10")), Some(16));
        assert_eq!(units(&json!(format!("0x{}", "f".repeat(64)))), Some(Units(U256::MAX)));
        for bad in [
            json!("0x"),
            json!("10"),
            json!(10),
            json!("0x-1"),
            json!("0x1_0"),
            json!(null),
            json!(format!("0x{}", "f".repeat(65))),
        ] {
            assert_eq!(units(&bad), None, "{bad}");
        }
        assert_eq!(number(&json!("0x10000000000000000")), None);
    }
}
