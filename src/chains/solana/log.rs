//! Transactions that mention an account: what comes nearest to the logs of EVM chains.

use std::sync::Arc;

use serde_json::{Value, json};

use super::transaction::error;
use crate::chains::rpc::Call;

/// As many are read at once, which is the most that nodes give.
pub(in crate::chains) const PAGE: usize = 1_000;

/// A transaction that mentions an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Its first signature.
    pub signature: Arc<str>,
    /// The slot that it is in.
    pub slot: u64,
    /// Why it failed; nothing where it did not.
    pub error: Option<Arc<str>>,
}

/// Asks for those that mention an account, the newest first: older than `before`, newer than `until`. A node that has not
/// come as far as the slot `least` must say so.
pub(in crate::chains) fn mentions_of(account: &str, least: u64, before: Option<&str>, until: Option<&str>) -> Call {
    let mut options = json!({ "commitment": "confirmed", "limit": PAGE, "minContextSlot": least });
    for (name, signature) in [("before", before), ("until", until)] {
        if let Some(signature) = signature {
            options[name] = json!(signature);
        }
    }
    Call { method: "getSignaturesForAddress", params: json!([account, options]) }
}

/// The newest first. Nothing where it makes no sense.
pub(in crate::chains) fn mentions(value: &Value) -> Option<Vec<Mention>> {
    let mention = |value: &Value| {
        let signature = value["signature"].as_str()?.into();
        Some(Mention { signature, slot: value["slot"].as_u64()?, error: error(&value["err"]) })
    };
    let mentions = value.as_array()?.iter().map(mention).collect::<Option<Vec<_>>>()?;
    mentions.windows(2).all(|pair| pair[0].slot >= pair[1].slot).then_some(mentions)
}

/// Whether an answer to the question for a transaction's status says that it is confirmed in a slot.
pub(in crate::chains) fn is_confirmed_in(slot: u64, status: &Value) -> bool {
    let status = &status["value"][0];
    status["slot"] == slot && matches!(status["confirmationStatus"].as_str(), Some("confirmed" | "finalized"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_read_as_nodes_give_them() {
        let mention =
            |signature: &str, slot: u64, err: Value| json!({"signature": signature, "slot": slot, "err": err});
        let found =
            mentions(&json!([mention("b", 7, json!("AccountNotFound")), mention("a", 5, Value::Null)])).unwrap();
        let found: Vec<_> = found.iter().map(|it| (&*it.signature, it.slot, it.error.as_deref())).collect();
        assert_eq!(found, [("b", 7, Some("AccountNotFound")), ("a", 5, None)]);
        for bad in [json!(null), json!([{}]), json!([mention("a", 5, Value::Null), mention("b", 7, Value::Null)])] {
            assert_eq!(mentions(&bad), None, "{bad}");
        }
        let call = mentions_of("account", 9, Some("b"), None);
        assert_eq!((&call.params[1]["before"], &call.params[1]["until"]), (&json!("b"), &Value::Null));
    }

    #[test]
    fn only_what_is_confirmed_there_counts() {
        let said = |slot: u64, level: &str| json!({"value": [{"slot": slot, "confirmationStatus": level}]});
        assert!(is_confirmed_in(7, &said(7, "confirmed")) && is_confirmed_in(7, &said(7, "finalized")));
        for no in [said(8, "confirmed"), said(7, "processed"), json!({"value": [null]})] {
            assert!(!is_confirmed_in(7, &no), "{no}");
        }
    }
}
