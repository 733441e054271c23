//! Signed transactions, and what nodes say to them.
//!
//! Of the wire format only what names the transaction is read: its signatures and its first account. Whether the
//! signatures are good, the node's preflight says.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::chains::{
    rpc::{Call, Refusal},
    signed::{Objection, SendRefusal, Signed},
};

/// As many bytes as a packet carries.
const MOST_BYTES: usize = 1_232;
const SIGNATURE_BYTES: usize = 64;
const ADDRESS_BYTES: usize = 32;
/// Set in the first byte of messages that have a version.
const VERSIONED: u8 = 0x80;

/// The method that takes transactions.
pub(in crate::chains) const METHOD: &str = "sendTransaction";

/// Reads base 64.
pub(in crate::chains) fn read(text: &str) -> Result<Signed, String> {
    if text.len() > MOST_BYTES * 2 {
        return Err(format!("is longer than {MOST_BYTES} bytes"));
    }
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| "must be base 64")?;
    if bytes.len() > MOST_BYTES {
        return Err(format!("is longer than {MOST_BYTES} bytes"));
    }
    let (signature, payer) = names(&bytes).ok_or("is no signed transaction")?;
    if signature.iter().all(|byte| *byte == 0) {
        return Err("is not signed by its fee payer".to_owned());
    }
    let options = json!({ "encoding": "base64", "preflightCommitment": "confirmed" });
    let call = Call { method: METHOD, params: json!([text, options]) };
    Ok(Signed {
        id: bs58::encode(signature).into_string().into(),
        from: bs58::encode(payer).into_string().into(),
        call,
    })
}

/// The first signature and the account that pays.
fn names(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (signatures, rest) = count(bytes)?;
    let (signed, message) = rest.split_at_checked(signatures * SIGNATURE_BYTES)?;
    let message = match message.first()? {
        first if first & VERSIONED != 0 => &message[1..],
        _ => message,
    };
    // Three counts: signers, and how many of the accounts are read only.
    let (header, rest) = message.split_at_checked(3)?;
    let (accounts, rest) = count(rest)?;
    let (accounts, _) = rest.split_at_checked(accounts * ADDRESS_BYTES)?;
    let is_whole = usize::from(header[0]) == signatures && signatures > 0;
    is_whole.then(|| Some((signed.get(..SIGNATURE_BYTES)?, accounts.get(..ADDRESS_BYTES)?))).flatten()
}

/// A compact-u16: seven bits a byte, the lowest first.
fn count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(3).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

/// How to ask whether a node knows a transaction; it does where `value[0]` is not null.
pub(in crate::chains) fn known(id: &str) -> Call {
    Call { method: "getSignatureStatuses", params: json!([[id], { "searchTransactionHistory": true }]) }
}

/// What a node's no means: -32002 carries what the virtual machine said.
pub(in crate::chains) fn objection(refusal: &Refusal) -> Objection {
    let said = refusal.data.as_ref().map_or(&Value::Null, |data| &data["err"]);
    let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word) || refusal.message.contains(word));
    if says(&["AlreadyProcessed", "already been processed"]) {
        return Objection::AlreadyKnown;
    }
    Objection::Refused(match () {
        () if says(&["BlockhashNotFound", "Blockhash not found"]) => SendRefusal::Expired,
        () if says(&[
            "InsufficientFundsForFee",
            "AccountNotFound",
            "insufficient funds",
            "no record of a prior credit",
        ]) =>
        {
            SendRefusal::InsufficientFunds
        }
        () if says(&["InstructionError", "InsufficientFundsForRent", "Error processing Instruction"]) => {
            SendRefusal::WouldFail
        }
        () => SendRefusal::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_named_by_their_first_signature_and_payer() {
        let mut bytes = vec![1];
        bytes.extend([7; 64]);
        bytes.extend([1, 0, 1, 2]);
        bytes.extend([9; 64]);
        let signed = read(&BASE64_STANDARD.encode(&bytes)).unwrap();
        assert_eq!(
            (&*signed.id, &*signed.from),
            (&*bs58::encode([7; 64]).into_string(), &*bs58::encode([9; 32]).into_string())
        );
        let mut versioned = bytes.clone();
        versioned.insert(65, 0x80);
        assert_eq!(read(&BASE64_STANDARD.encode(&versioned)).unwrap().id, signed.id);
        let with = |place: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[place] = byte;
            BASE64_STANDARD.encode(bytes)
        };
        let mut unsigned = bytes.clone();
        unsigned[1..65].fill(0);
        for (text, expected) in [
            ("%".to_owned(), "must be base 64"),
            (String::new(), "is no signed transaction"),
            (with(0, 0), "is no signed transaction"),
            (with(0, 2), "is no signed transaction"),
            (with(65, 2), "is no signed transaction"),
            (with(68, 3), "is no signed transaction"),
            (BASE64_STANDARD.encode(&bytes[..80]), "is no signed transaction"),
            (BASE64_STANDARD.encode([0xff; 10]), "is no signed transaction"),
            (BASE64_STANDARD.encode(unsigned), "is not signed by its fee payer"),
            (BASE64_STANDARD.encode([0; 1_300]), "is longer than 1232 bytes"),
        ] {
            assert_eq!(read(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn nodes_words_are_understood() {
        for (message, err, expected) in [
            ("Transaction simulation failed", json!("AlreadyProcessed"), Objection::AlreadyKnown),
            (
                "Transaction simulation failed: Blockhash not found",
                json!("BlockhashNotFound"),
                Objection::Refused(SendRefusal::Expired),
            ),
            (
                "Transaction simulation failed",
                json!("AccountNotFound"),
                Objection::Refused(SendRefusal::InsufficientFunds),
            ),
            (
                "Transaction simulation failed",
                json!({"InstructionError": [0, {"Custom": 1}]}),
                Objection::Refused(SendRefusal::WouldFail),
            ),
            ("Transaction signature verification failure", json!(null), Objection::Refused(SendRefusal::Other)),
        ] {
            let refusal = Refusal { code: -32_002, message: message.into(), data: Some(json!({ "err": err })) };
            assert_eq!(objection(&refusal), expected, "{message}");
        }
    }
}
