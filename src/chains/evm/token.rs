//! What a token's contract says of itself (EIP-20).

use serde_json::Value;

use super::call::{Erc20, bytes, eth_call, returned};
use crate::chains::{
    ChainError,
    family::{Reading, TokenFacts},
};

/// The longest symbol that is believed.
const LONGEST_SYMBOL: usize = 32;

/// Nothing where there is no contract, or none that knows how many decimals it has.
pub(in crate::chains) async fn read(reading: &Reading<'_>, address: &str) -> Result<Option<TokenFacts>, ChainError> {
    let calls = [
        eth_call(address, &Erc20::decimalsCall {}, reading.block),
        eth_call(address, &Erc20::symbolCall {}, reading.block),
    ];
    let [decimals, symbol] = reading.read(&calls, "").await.try_into().expect("there is an answer for each call");
    let decimals = match decimals {
        Ok((answer, _)) => returned::<Erc20::decimalsCall>(&answer.value),
        // A contract that knows no such function may revert.
        Err(ChainError::Refused { .. }) => None,
        Err(error) => return Err(error),
    };
    let symbol = symbol.ok().and_then(|(answer, _)| self::symbol(&answer.value));
    Ok(decimals.map(|decimals| TokenFacts { symbol, decimals }))
}

/// A text, or the 32 bytes of contracts that are older than the standard.
fn symbol(value: &Value) -> Option<String> {
    let text = returned::<Erc20::symbolCall>(value).or_else(|| {
        let bytes = bytes(value).filter(|bytes| bytes.len() == 32)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(32);
        String::from_utf8(bytes[..end].to_vec()).ok()
    })?;
    let is_good = !text.is_empty() && text.len() <= LONGEST_SYMBOL && !text.chars().any(char::is_control);
    is_good.then_some(text)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use alloy_sol_types::SolCall;
    use serde_json::json;

    use super::*;

    #[test]
    fn symbols_are_texts_or_32_bytes_and_nothing_strange() {
        let text = |text: &str| json!(Bytes::from(Erc20::symbolCall::abi_encode_returns(&text.to_owned())));
        let mut old = [0; 32];
        old[..3].copy_from_slice(b"MKR");
        for (value, expected) in [
            (text("USDC"), Some("USDC")),
            (json!(Bytes::from(old.to_vec())), Some("MKR")),
            (text(""), None),
            (text(&"x".repeat(33)), None),
            (text("a\nb"), None),
            (json!("0x"), None),
            (json!(null), None),
            (json!(Bytes::from(vec![0xff; 32])), None),
        ] {
            assert_eq!(symbol(&value).as_deref(), expected, "{value}");
        }
    }
}
