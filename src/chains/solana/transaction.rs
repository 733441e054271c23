//! Transactions: what the nodes keep of them, and how far these have come.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::chains::{
    ChainError,
    family::Reading,
    rpc::{BlockRef, Call},
    transaction::{Inclusion, TransactionFacts},
};

const SYSTEM_PROGRAM: &str = "11111111111111111111111111111111";
/// The system program's instruction that moves lamports: its number, then how many.
const TRANSFER: [u8; 4] = [2, 0, 0, 0];

/// A signature. There is one way only to write it.
pub(in crate::chains) fn canonical(text: &str) -> Result<Arc<str>, &'static str> {
    let mut bytes = [0; 64];
    // Longer texts would take longer to decode, and are none.
    let is_short = (64..=88).contains(&text.len());
    match is_short.then(|| bs58::decode(text).onto(&mut bytes)) {
        Some(Ok(64)) => Ok(text.into()),
        _ => Err("must be 64 bytes in base 58"),
    }
}

/// Nothing where no endpoint knows it.
pub(in crate::chains) async fn read(reading: &Reading<'_>, id: &str) -> Result<Option<TransactionFacts>, ChainError> {
    let options = json!({ "commitment": "confirmed", "encoding": "json", "maxSupportedTransactionVersion": 0 });
    let kept = [Call { method: "getTransaction", params: json!([id, options]) }];
    let history = json!({ "searchTransactionHistory": true });
    let statuses = [Call { method: "getSignatureStatuses", params: json!([[id], history]) }];
    let (mut kept, mut status) = tokio::join!(reading.find(&kept, ""), reading.find(&statuses, "/value/0"));
    let kept = kept.pop().expect("there is an answer for each call")?;
    let status = status.pop().expect("there is an answer for each call")?;
    let said = &status.value["value"][0];
    if !kept.value.is_null() {
        let nonsense = || ChainError::nonsense(&kept.endpoint, "a transaction that lacks what all have");
        let facts = facts(&kept.value, id).ok_or_else(nonsense)?;
        return Ok(Some(TransactionFacts { endpoint: kept.endpoint, ..facts }));
    }
    if said.is_null() {
        return Ok(None);
    }
    let nonsense = || ChainError::nonsense(&status.endpoint, "a status that lacks what all have");
    // Not confirmed yet, it is in no block that is read. Otherwise no endpoint keeps more of it.
    let is_confirmed = said["confirmationStatus"].as_str().ok_or_else(nonsense)? != "processed";
    let inclusion = if is_confirmed { Some(inclusion(said).ok_or_else(nonsense)?) } else { None };
    Ok(Some(TransactionFacts { inclusion, endpoint: status.endpoint, ..TransactionFacts::default() }))
}

/// What a status says of a transaction; nothing where it makes no sense.
fn inclusion(status: &Value) -> Option<Inclusion> {
    let error = error(&status["err"]);
    let block = BlockRef { number: status["slot"].as_u64()?, hash: None };
    Some(Inclusion { block, has_failed: error.is_some(), error, fee: None, timestamp: None })
}

/// Nothing where it makes no sense.
fn facts(kept: &Value, id: &str) -> Option<TransactionFacts> {
    let (transaction, meta) = (&kept["transaction"], &kept["meta"]);
    let message = &transaction["message"];
    let is_asked_for = transaction["signatures"][0].as_str()? == id;
    let loaded = [&meta["loadedAddresses"]["writable"], &meta["loadedAddresses"]["readonly"]];
    let lists = [&message["accountKeys"]].into_iter().chain(loaded);
    let keys: Vec<&str> = lists.filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect();
    let transfer = transfer(message["instructions"].as_array()?, &keys);
    let error = error(&meta["err"]);
    let inclusion = Inclusion {
        block: BlockRef { number: kept["slot"].as_u64()?, hash: None },
        has_failed: error.is_some(),
        error,
        fee: Some(meta["fee"].as_u64()?.into()),
        timestamp: kept["blockTime"].as_i64(),
    };
    let facts = TransactionFacts {
        // The first of them pays the fee.
        from: Some((*keys.first()?).into()),
        to: transfer.map(|(to, _)| to.into()),
        value: transfer.map(|(_, lamports)| lamports.into()),
        inclusion: Some(inclusion),
        ..TransactionFacts::default()
    };
    is_asked_for.then_some(facts)
}

/// Where lamports go and how many, if the transaction has exactly one transfer of its own.
fn transfer<'a>(instructions: &[Value], keys: &[&'a str]) -> Option<(&'a str, u64)> {
    let key = |index: &Value| keys.get(usize::try_from(index.as_u64()?).ok()?).copied();
    let mut transfers = instructions.iter().filter_map(|instruction| {
        let data = bs58::decode(instruction["data"].as_str()?).into_vec().ok()?;
        let lamports: [u8; 8] = data.strip_prefix(&TRANSFER)?.try_into().ok()?;
        let is_of_system = key(&instruction["programIdIndex"]) == Some(SYSTEM_PROGRAM);
        is_of_system.then_some((key(&instruction["accounts"][1])?, u64::from_le_bytes(lamports)))
    });
    let transfer = transfers.next()?;
    transfers.next().is_none().then_some(transfer)
}

/// Why it failed, in words; nothing where it did not.
pub(super) fn error(error: &Value) -> Option<Arc<str>> {
    let name = |value: &Value| match value {
        Value::String(name) => name.clone(),
        Value::Object(cause) => match cause.get("Custom").and_then(Value::as_u64) {
            Some(code) => format!("custom program error {code:#x}"),
            None => cause.keys().next().cloned().unwrap_or_default(),
        },
        other => other.to_string(),
    };
    if error.is_null() {
        return None;
    }
    let words = match error["InstructionError"].as_array().map(Vec::as_slice) {
        Some([index, cause]) => format!("instruction {index}: {}", name(cause)),
        _ => name(error),
    };
    Some(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Units;

    const ID: &str = "2tHYz2CwdVhwo1MJ681UQUrrRr5puRR2xVrB6vZmGnmNNYDUSpZJZjiDWvSWP1mEieNpm4oEkhHcj6a2C8FwUsQp";

    #[test]
    fn signatures_are_64_bytes_in_base_58() {
        for good in [ID, &"1".repeat(64)] {
            assert_eq!(canonical(good).as_deref(), Ok(good));
        }
        for bad in ["", &"1".repeat(63), &"1".repeat(65), &"z".repeat(88), &ID.replace('2', "0"), &"1".repeat(100_000)]
        {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }

    fn kept(instructions: &Value) -> Value {
        json!({
            "slot": 36, "blockTime": 1_795_706_797,
            "transaction": {"signatures": [ID], "message": {
                "accountKeys": ["payer", "somebody", SYSTEM_PROGRAM, "budget"], "instructions": instructions,
            }},
            "meta": {"err": null, "fee": 5_006, "loadedAddresses": {"writable": ["looked-up"], "readonly": []}},
        })
    }

    #[test]
    fn a_single_transfer_has_an_address_and_a_value() {
        let budget = json!({"programIdIndex": 3, "accounts": [], "data": "3tGNFMqHiozw"});
        let transfer = |to: u8| json!({"programIdIndex": 2, "accounts": [0, to], "data": "3Bxs4BcPoFZBeRb5"});
        for (instructions, expected) in [
            (json!([budget, transfer(1)]), Some("somebody")),
            (json!([transfer(4)]), Some("looked-up")),
            (json!([transfer(1), transfer(1)]), None),
            (json!([budget]), None),
            (json!([transfer(9)]), None),
            (json!([{"programIdIndex": 3, "accounts": [0, 1], "data": "3Bxs4BcPoFZBeRb5"}]), None),
            (json!([{"programIdIndex": 2, "accounts": [0, 1], "data": "0"}, {}]), None),
        ] {
            let found = facts(&kept(&instructions), ID).unwrap();
            assert_eq!(found.to.as_deref(), expected, "{instructions}");
            assert_eq!(found.value, expected.map(|_| Units::from(5_000_000_u64)));
            assert_eq!(found.from.as_deref(), Some("payer"));
        }
        assert_eq!(facts(&kept(&json!([])), "another"), None);
        assert_eq!(facts(&json!({}), ID), None);
    }

    #[test]
    fn failures_have_words() {
        for (err, expected) in [
            (json!(null), None),
            (json!("AccountNotFound"), Some("AccountNotFound")),
            (json!({"InstructionError": [0, {"Custom": 1}]}), Some("instruction 0: custom program error 0x1")),
            (json!({"InstructionError": [2, "InvalidArgument"]}), Some("instruction 2: InvalidArgument")),
            (json!({"InsufficientFundsForRent": {"account_index": 1}}), Some("InsufficientFundsForRent")),
            (json!(7), Some("7")),
        ] {
            assert_eq!(error(&err).as_deref(), expected, "{err}");
        }
    }

    #[test]
    fn a_status_says_where_it_is_and_what_came_of_it() {
        let found = inclusion(&json!({"slot": 36, "err": null})).unwrap();
        assert_eq!((found.block.number, found.has_failed, found.fee), (36, false, None));
        assert!(inclusion(&json!({"slot": 36, "err": "AccountNotFound"})).unwrap().has_failed);
        assert_eq!(inclusion(&json!({"err": null})), None);
    }
}
