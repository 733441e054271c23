//! Signed transactions (EIP-2718), and what nodes say to them.

use alloy_consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::Bytes;
use serde_json::json;

use crate::chains::{
    rpc::{Call, Refusal},
    signed::{Objection, SendRefusal, Signed},
};

/// Longer than any that nodes take: 128 KiB, as hexadecimal digits.
const LONGEST: usize = 2 * 131_072 + 2;

/// The method that takes transactions.
pub(in crate::chains) const METHOD: &str = "eth_sendRawTransaction";

/// Reads `0x` and hexadecimal digits. The transaction must name the chain, so that it counts on no other.
pub(in crate::chains) fn read(text: &str, chain_number: u64) -> Result<Signed, String> {
    if text.len() > LONGEST {
        return Err("is longer than 128 KiB".to_owned());
    }
    let bytes: Bytes =
        text.strip_prefix("0x").and_then(|_| text.parse().ok()).ok_or("must be 0x and hexadecimal digits")?;
    let mut rest = &bytes[..];
    let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|_| "is no signed transaction")?;
    if !rest.is_empty() {
        return Err("has something after the transaction".to_owned());
    }
    match envelope.chain_id() {
        Some(number) if number == chain_number => {}
        Some(number) => return Err(format!("is signed for chain number {number}, and this one has {chain_number}")),
        None => return Err("names no chain: it would count on all of them (EIP-155)".to_owned()),
    }
    let from = envelope.recover_signer().map_err(|_| "has a signature that is nobody's")?;
    let call = Call { method: METHOD, params: json!([bytes]) };
    Ok(Signed { id: envelope.tx_hash().to_string().into(), from: from.to_checksum(None).into(), call })
}

/// How to ask whether a node knows a transaction; it does where the answer is not null.
pub(in crate::chains) fn known(id: &str) -> Call {
    Call { method: "eth_getTransactionByHash", params: json!([id]) }
}

/// What a node's no means. Nodes agree on no codes, only roughly on words.
pub(in crate::chains) fn objection(refusal: &Refusal) -> Objection {
    let message = refusal.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["already known", "already imported", "known transaction", "already exists"]) {
        return Objection::AlreadyKnown;
    }
    if says(&["nonce too low", "nonce is too low", "oldnonce"]) {
        return Objection::PerhapsItself(SendRefusal::NonceTooLow);
    }
    Objection::Refused(match () {
        () if says(&["insufficient funds", "insufficient balance"]) => SendRefusal::InsufficientFunds,
        () if says(&["nonce too high", "nonce is too high", "nonce gap"]) => SendRefusal::NonceTooHigh,
        () if says(&["underpriced", "less than block base fee", "fee cap", "gas price too low", "tip too low"]) => {
            SendRefusal::Underpriced
        }
        () if refusal.code == 3 || says(&["revert"]) => SendRefusal::WouldFail,
        () => SendRefusal::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_words_are_understood() {
        use Objection::{AlreadyKnown, PerhapsItself, Refused};
        use SendRefusal::{InsufficientFunds, NonceTooHigh, NonceTooLow, Other, Underpriced, WouldFail};
        for (code, message, expected) in [
            (-32_000, "already known", AlreadyKnown),
            (-32_003, "transaction already imported", AlreadyKnown),
            (-32_000, "nonce too low: next nonce 5, tx nonce 4", PerhapsItself(NonceTooLow)),
            (-32_003, "Insufficient funds for gas * price + value", Refused(InsufficientFunds)),
            (-32_000, "nonce too high", Refused(NonceTooHigh)),
            (-32_000, "replacement transaction underpriced", Refused(Underpriced)),
            (-32_000, "max fee per gas less than block base fee", Refused(Underpriced)),
            (3, "execution reverted", Refused(WouldFail)),
            (-32_000, "exceeds block gas limit", Refused(Other)),
        ] {
            let refusal = Refusal { code, message: message.into(), data: None };
            assert_eq!(objection(&refusal), expected, "{message}");
        }
    }

    #[test]
    fn what_is_no_transaction_of_this_chain_is_refused() {
        // EIP-155's own example: a legacy transaction for chain 1.
        const EXAMPLE: &str = "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";
        let read = |text: &str, number| super::read(text, number).map(|signed| (signed.id, signed.from));
        let (id, from) = read(EXAMPLE, 1).unwrap();
        assert_eq!(&*id, "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788");
        assert_eq!(&*from, "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");
        let no = |text: &str, number| read(text, number).unwrap_err();
        assert_eq!(no(EXAMPLE, 5), "is signed for chain number 1, and this one has 5");
        assert_eq!(no(&format!("{EXAMPLE}00"), 1), "has something after the transaction");
        assert_eq!(no(&EXAMPLE[..EXAMPLE.len() - 2], 1), "is no signed transaction");
        assert_eq!(no(&EXAMPLE[2..], 1), "must be 0x and hexadecimal digits");
        assert_eq!(no("0x", 1), "is no signed transaction");
        assert_eq!(no("0x0", 1), "must be 0x and hexadecimal digits");
        assert_eq!(no(&format!("0x{}", "0".repeat(300_000)), 1), "is longer than 128 KiB");
    }
}
