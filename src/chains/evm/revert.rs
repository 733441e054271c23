//! Why a contract has undone a call.

use alloy_primitives::Bytes;
use alloy_sol_types::{Panic, Revert, SolError};
use serde_json::Value;

use crate::chains::ChainError;

/// The longest reason that is told.
const LONGEST_REASON: usize = 300;

/// Tells a call that the contract undoes from others that are refused.
pub(super) fn told(error: ChainError) -> ChainError {
    match error {
        ChainError::Refused { code, message, data } if code == 3 || message.contains("revert") => {
            let said = message.split_once("reverted: ").map(|(_, reason)| shown(reason));
            let reason = data.as_ref().and_then(reason).or(said).filter(|reason| !reason.is_empty());
            ChainError::Reverted { reason: reason.map(Into::into) }
        }
        error => error,
    }
}

/// The reason in what a contract has returned: Solidity's `Error(string)` and `Panic(uint256)`, or the selector of an error
/// that the contract has made up.
pub(super) fn reason(data: &Value) -> Option<String> {
    // Some nodes wrap it once more.
    let text = data.as_str().or_else(|| data["data"].as_str())?;
    let bytes: Bytes = text.strip_prefix("Reverted ").unwrap_or(text).parse().ok()?;
    if let Ok(revert) = Revert::abi_decode(&bytes) {
        return Some(shown(&revert.reason));
    }
    if let Ok(panic) = Panic::abi_decode(&bytes) {
        let kind = panic.kind().map_or("a panic of no known kind", |kind| kind.as_str());
        return Some(format!("{kind} ({:#x})", panic.code));
    }
    let selector = bytes.first_chunk::<4>()?;
    Some(format!("custom error {}", Bytes::from(*selector)))
}

/// Without what would spoil a line, and not too much.
fn shown(reason: &str) -> String {
    reason.chars().filter(|character| !character.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_are_read_in_the_ways_that_contracts_give_them() {
        let hex = |bytes: Vec<u8>| Bytes::from(bytes).to_string();
        let error = hex(Revert::from("no way").abi_encode());
        let long = hex(Revert::from("x".repeat(1_000).as_str()).abi_encode());
        let panic = |code: u64| hex(Panic { code: U256::from(code) }.abi_encode());
        for (data, expected) in [
            (json!(error), Some("no way")),
            (json!({ "data": error }), Some("no way")),
            (json!(format!("Reverted {error}")), Some("no way")),
            (json!(hex(Revert::from("a\nb").abi_encode())), Some("ab")),
            (json!(long), Some("x".repeat(300).as_str())),
            (json!(panic(0x11)), Some("arithmetic underflow or overflow (0x11)")),
            (json!(panic(0x99)), Some("a panic of no known kind (0x99)")),
            (json!("0xdeadbeef00"), Some("custom error 0xdeadbeef")),
            (json!("0x"), None),
            (json!("0x0102"), None),
            (json!("words"), None),
            (json!(null), None),
            (json!(7), None),
        ] {
            assert_eq!(reason(&data).as_deref(), expected, "{data}");
        }
    }

    #[test]
    fn only_reverts_are_reverts() {
        let refused = |code, message: &str, data| ChainError::Refused { code, message: message.into(), data };
        let reverted = |reason: Option<&str>| ChainError::Reverted { reason: reason.map(Into::into) };
        for (error, expected) in [
            (refused(3, "execution reverted", Some(json!("0x"))), reverted(None)),
            (refused(-32_000, "execution reverted: no way", None), reverted(Some("no way"))),
            (refused(-32_000, "insufficient funds", None), refused(-32_000, "insufficient funds", None)),
            (ChainError::TimedOut, ChainError::TimedOut),
        ] {
            assert_eq!(told(error), expected);
        }
    }
}
