//! Asking contracts: calls by the ABI, which change nothing.

use alloy_primitives::Bytes;
use alloy_sol_types::{SolCall, sol};
use serde_json::{Value, json};

use crate::chains::rpc::{BlockRef, Call};

sol! {
    /// EIP-20, as far as it is read.
    interface Erc20 {
        function balanceOf(address owner) external view returns (uint256 balance);
        function decimals() external view returns (uint8 decimals);
        function symbol() external view returns (string symbol);
    }
}

/// A block as state is asked for at it: by its hash where it is known (EIP-1898).
pub(super) fn at(block: &BlockRef) -> Value {
    match &block.hash {
        Some(hash) => json!({ "blockHash": hash }),
        None => json!(format!("{:#x}", block.number)),
    }
}

/// Asks a contract at a block.
pub(super) fn eth_call(to: &str, input: &impl SolCall, block: &BlockRef) -> Call {
    let data = Bytes::from(input.abi_encode());
    Call { method: "eth_call", params: json!([{ "to": to, "data": data }, at(block)]) }
}

/// What a contract returned; nothing where there is no contract, or none that answers so.
pub(super) fn returned<C: SolCall>(value: &Value) -> Option<C::Return> {
    C::abi_decode_returns(&bytes(value)?).ok()
}

/// Bytes as nodes write them.
pub(super) fn bytes(value: &Value) -> Option<Bytes> {
    value.as_str()?.parse().ok()
}
