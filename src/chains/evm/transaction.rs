//! Transactions: what was sent, and the receipt of what came of it.

use std::sync::Arc;

use alloy_primitives::B256;
use serde_json::{Value, json};

use super::{
    address,
    hex::{number, units},
    revert,
};
use crate::{
    chains::{
        ChainError,
        family::Reading,
        rpc::{Answer, BlockRef, Call},
        transaction::{Inclusion, TransactionFacts},
    },
    model::Units,
};

/// A hash, in small letters.
pub(in crate::chains) fn canonical(text: &str) -> Result<Arc<str>, &'static str> {
    let hash: Option<B256> = text.strip_prefix("0x").and_then(|digits| digits.parse().ok());
    let is_whole = text.len() == 66;
    let hash = hash.filter(|_| is_whole).ok_or("must begin with 0x and have 64 hexadecimal digits")?;
    Ok(hash.to_string().into())
}

/// Nothing where no endpoint knows it.
pub(in crate::chains) async fn read(reading: &Reading<'_>, id: &str) -> Result<Option<TransactionFacts>, ChainError> {
    let call = |method| Call { method, params: json!([id]) };
    // In one request, so that both are of the same moment of the same node, as far as that node knows both.
    let calls = [call("eth_getTransactionByHash"), call("eth_getTransactionReceipt")];
    let [sent, receipt] = reading.find(&calls, "").await.try_into().expect("there is an answer for each call");
    let (sent, receipt) = (sent?, receipt?);
    match (sent.value.is_null(), receipt.value.is_null()) {
        (true, true) => Ok(None),
        (true, false) => Err(ChainError::nonsense(&receipt.endpoint, "a receipt of what was never sent")),
        // It is in no block, or in one that is so new that its receipts are not known yet.
        (false, true) if number(&sent.value["blockNumber"]).is_none_or(|block| block > reading.block.number) => {
            sent_facts(&sent, id).map(Some)
        }
        (false, true) => Err(ChainError::nonsense(&sent.endpoint, "a transaction in a block has no receipt")),
        (false, false) => {
            let nonsense = || ChainError::nonsense(&receipt.endpoint, "a receipt that lacks what all have");
            let inclusion = inclusion(&sent.value, &receipt.value, id).ok_or_else(nonsense)?;
            let facts = sent_facts(&sent, id)?;
            Ok(Some(TransactionFacts { inclusion: Some(inclusion), endpoint: receipt.endpoint, ..facts }))
        }
    }
}

fn sent_facts(answer: &Answer, id: &str) -> Result<TransactionFacts, ChainError> {
    let facts = sent(&answer.value, id);
    let nonsense = || ChainError::nonsense(&answer.endpoint, "a transaction that lacks what all have");
    Ok(TransactionFacts { endpoint: Arc::clone(&answer.endpoint), ..facts.ok_or_else(nonsense)? })
}

/// What was sent; nothing where that makes no sense.
fn sent(sent: &Value, id: &str) -> Option<TransactionFacts> {
    let address = |value: &Value| address::canonical(value.as_str()?.to_ascii_lowercase().as_str()).ok();
    let is_asked_for = sent["hash"].as_str()?.eq_ignore_ascii_case(id);
    let to = match &sent["to"] {
        // It makes a contract.
        Value::Null => None,
        to => Some(address(to)?),
    };
    let facts = TransactionFacts {
        from: Some(address(&sent["from"])?),
        to,
        value: Some(units(&sent["value"])?),
        nonce: Some(number(&sent["nonce"])?),
        ..TransactionFacts::default()
    };
    is_asked_for.then_some(facts)
}

/// What came of it; nothing where that makes no sense.
fn inclusion(sent: &Value, receipt: &Value, id: &str) -> Option<Inclusion> {
    let is_asked_for = receipt["transactionHash"].as_str()?.eq_ignore_ascii_case(id);
    let block = BlockRef {
        number: number(&receipt["blockNumber"])?,
        hash: Some(canonical(receipt["blockHash"].as_str()?).ok()?),
    };
    // Before Byzantium, receipts did not say whether it worked.
    let has_failed = units(&receipt["status"]) == Some(Units::ZERO);
    let error = revert::reason(&receipt["revertReason"]).filter(|_| has_failed).map(Into::into);
    let timestamp = number(&sent["blockTimestamp"]).and_then(|seconds| i64::try_from(seconds).ok());
    is_asked_for.then_some(Inclusion { block, has_failed, error, fee: Some(fee(sent, receipt)?), timestamp })
}

/// What was paid: for gas, for blobs, and on rollups for the chain below.
fn fee(sent: &Value, receipt: &Value) -> Option<Units> {
    let gas_price = units(&receipt["effectiveGasPrice"]).or_else(|| units(&sent["gasPrice"]))?;
    let gas = gas_price.checked_mul(number(&receipt["gasUsed"])?)?;
    let blobs = match (number(&receipt["blobGasUsed"]), units(&receipt["blobGasPrice"])) {
        (Some(used), Some(price)) => price.checked_mul(used)?,
        _ => Units::ZERO,
    };
    gas.checked_add(blobs)?.checked_add(units(&receipt["l1Fee"]).unwrap_or(Units::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0xc861a0446f09acea9bc3d5db7f12ea8b9515b206f5b13d415f14640f38a5d8c1";

    #[test]
    fn hashes_are_32_bytes() {
        let upper = format!("0x{}", ID[2..].to_uppercase());
        for good in [ID, &upper] {
            assert_eq!(canonical(good).as_deref(), Ok(ID));
        }
        for bad in ["", "0x", &ID[2..], &ID[..65], &format!("{ID}0"), &format!("0x{ID}"), &ID.replace('c', "g")] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }

    fn transaction() -> Value {
        json!({
            "hash": ID, "from": "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", "to": null, "value": "0x5", "nonce": "0x7",
            "gasPrice": "0x3", "blockTimestamp": "0x10",
        })
    }

    fn receipt() -> Value {
        json!({
            "transactionHash": ID, "blockNumber": "0x9", "blockHash": ID, "status": "0x1", "gasUsed": "0x64",
            "effectiveGasPrice": "0x2",
        })
    }

    /// An object with some of its fields changed.
    fn with(mut object: Value, changes: Value) -> Value {
        let Value::Object(changes) = changes else { panic!("an object") };
        object.as_object_mut().unwrap().extend(changes);
        object
    }

    #[test]
    fn what_was_sent_is_read_or_makes_no_sense() {
        let facts = sent(&transaction(), ID).unwrap();
        assert_eq!(facts.from.as_deref(), Some("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!((facts.to, facts.value, facts.nonce), (None, Some(Units::from(5_u64)), Some(7)));
        for bad in [
            json!({"hash": ID.replace('c', "d")}),
            json!({"hash": null}),
            json!({"from": null}),
            json!({"to": "0x1"}),
            json!({"value": 5}),
            json!({"nonce": "0x10000000000000000"}),
        ] {
            assert_eq!(sent(&with(transaction(), bad.clone()), ID), None, "{bad}");
        }
    }

    #[test]
    fn fees_are_all_that_was_paid() {
        for (changes, expected) in [
            (json!({}), Some(200_u64)),
            (json!({"effectiveGasPrice": null}), Some(300)),
            (json!({"blobGasUsed": "0x2", "blobGasPrice": "0x3"}), Some(206)),
            (json!({"l1Fee": "0x10"}), Some(216)),
            (json!({"gasUsed": null}), None),
            (json!({"effectiveGasPrice": format!("0x{}", "f".repeat(64))}), None),
        ] {
            let found = fee(&transaction(), &with(receipt(), changes.clone()));
            assert_eq!(found, expected.map(Units::from), "{changes}");
        }
    }

    #[test]
    fn receipts_say_what_came_of_it() {
        for (changes, has_failed, error) in [
            (json!({}), false, None),
            (json!({"status": "0x0"}), true, None),
            (json!({"status": null, "root": ID}), false, None),
            (json!({"status": "0x0", "revertReason": "0xdeadbeef"}), true, Some("custom error 0xdeadbeef")),
        ] {
            let found = inclusion(&transaction(), &with(receipt(), changes.clone()), ID).unwrap();
            assert_eq!((found.has_failed, found.error.as_deref()), (has_failed, error), "{changes}");
            assert_eq!((found.block.number, found.timestamp), (9, Some(16)));
        }
        for bad in [json!({"blockHash": "0x"}), json!({"blockNumber": null}), json!({"transactionHash": "0x1"})] {
            assert_eq!(inclusion(&transaction(), &with(receipt(), bad.clone()), ID), None, "{bad}");
        }
    }
}
