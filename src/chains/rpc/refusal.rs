//! What a node says instead of a result, and whether another node would say the same.

use std::sync::Arc;

use serde_json::Value;

/// The error of a JSON-RPC answer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chains) struct Refusal {
    pub(in crate::chains) code: i64,
    pub(in crate::chains) message: Arc<str>,
    pub(in crate::chains) data: Option<Value>,
}

/// What to make of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chains) enum Verdict {
    /// The chain itself says no: every node would.
    Final,
    /// This node does not know, or does not offer it. It is well all the same.
    Elsewhere,
    /// This node wants to be asked less.
    Slower,
    /// This node is not well.
    Broken,
}

/// What nodes say when they lack a block or a state that others have. Codes do not tell: most of it is -32000.
const UNKNOWN_HERE: [&str; 13] = [
    "header not found",
    "block not found",
    "unknown block",
    "blockoutofrange",
    "block out of range",
    "missing trie node",
    "state not available",
    "state is not available",
    "historical state",
    "pruned",
    "block hash not found",
    "not currently canonical",
    "indexing is in progress",
];

/// What nodes say when a range of blocks has more logs, or is longer, than they give at once. Others may give more.
const TOO_WIDE: [&str; 6] =
    ["query returned more than", "response size", "block range", "max results", "range is too", "range too large"];

const TOO_MUCH: [&str; 5] = ["rate limit", "too many requests", "limit exceeded", "capacity", "quota"];

impl Refusal {
    /// The codes are those of JSON-RPC 2.0, EIP-1474 and Agave's `rpc_custom_error.rs`.
    pub(in crate::chains) fn verdict(&self) -> Verdict {
        let message = self.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match self.code {
            _ if self.code != 3 && says(&TOO_WIDE) => Verdict::Elsewhere,
            // -32601: no such method. -32004, EIP-1474: method not supported; Agave: block not available. -32014, -32016:
            // Agave has not got that far. -32001, -32007, -32009, -32010, -32011: Agave does not keep it.
            -32_601 | -32_001 | -32_004 | -32_007 | -32_009 | -32_010 | -32_011 | -32_014 | -32_016 => {
                Verdict::Elsewhere
            }
            429 => Verdict::Slower,
            // EIP-1474: limit exceeded. Agave: the node is behind.
            -32_005 if message.contains("behind") || message.contains("unhealthy") => Verdict::Elsewhere,
            -32_005 => Verdict::Slower,
            _ if says(&UNKNOWN_HERE) => Verdict::Elsewhere,
            _ if says(&TOO_MUCH) && self.code != 3 => Verdict::Slower,
            -32_603 => Verdict::Broken,
            _ => Verdict::Final,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whether_to_ask_elsewhere() {
        for (code, message, expected) in [
            (3, "execution reverted: capacity", Verdict::Final),
            (-32_000, "insufficient funds for gas * price + value", Verdict::Final),
            (-32_000, "nonce too low", Verdict::Final),
            (-32_000, "already known", Verdict::Final),
            (-32_002, "Transaction simulation failed", Verdict::Final),
            (-32_002, "Transaction simulation failed: Blockhash not found", Verdict::Final),
            (-32_602, "invalid argument 0", Verdict::Final),
            (-32_000, "header not found", Verdict::Elsewhere),
            (-32_001, "Block not found", Verdict::Elsewhere),
            (-32_000, "missing trie node 1234 (path )", Verdict::Elsewhere),
            (-32_000, "hash 0x1 is not currently canonical", Verdict::Elsewhere),
            (-32_000, "transaction indexing is in progress", Verdict::Elsewhere),
            (-32_602, "BlockOutOfRangeError: block height is 1", Verdict::Elsewhere),
            (-32_601, "the method eth_foo does not exist", Verdict::Elsewhere),
            (-32_016, "Minimum context slot has not been reached", Verdict::Elsewhere),
            (-32_005, "Node is behind by 42 slots", Verdict::Elsewhere),
            (-32_005, "Node is unhealthy", Verdict::Elsewhere),
            (-32_005, "daily request count exceeded", Verdict::Slower),
            (-32_005, "query returned more than 10000 results", Verdict::Elsewhere),
            (-32_602, "Log response size exceeded. Try with this block range [0x1, 0x2].", Verdict::Elsewhere),
            (429, "Too Many Requests", Verdict::Slower),
            (-32_000, "Your app has exceeded its compute units per second capacity", Verdict::Slower),
            (-32_603, "Internal error", Verdict::Broken),
        ] {
            let refusal = Refusal { code, message: message.into(), data: None };
            assert_eq!(refusal.verdict(), expected, "{code} {message}");
        }
    }
}
