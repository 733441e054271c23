//! Answers about the state, each with the slot that it holds at.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::chains::{
    ChainError, Finality,
    family::Reading,
    provenance::Source,
    rpc::{Agreement, Answer, BlockRef},
};

/// The part of an answer that does not depend on when it was given.
pub(super) const JUDGED: &str = "/value";

/// How accounts are read: not before the slot that the chain is read at, and so much of their data.
pub(super) fn options(reading: &Reading<'_>, data: Option<(usize, usize)>) -> Value {
    let commitment = match reading.finality {
        Finality::Latest => "confirmed",
        Finality::Finalized => "finalized",
    };
    let mut options = json!({ "commitment": commitment, "encoding": "base64", "minContextSlot": reading.block.number });
    if let Some((offset, length)) = data {
        options["dataSlice"] = json!({ "offset": offset, "length": length });
    }
    options
}

/// Whose word an answer is, at the slot that it names.
pub(super) fn source(answer: &Answer, agreement: Agreement, reading: &Reading<'_>) -> Result<Source, ChainError> {
    let slot = answer.value["context"]["slot"].as_u64();
    // A node that does not know the option ignores it.
    let number = slot
        .filter(|slot| *slot >= reading.block.number)
        .ok_or_else(|| ChainError::nonsense(&answer.endpoint, "an answer is of an earlier slot, or of none"))?;
    Ok(Source { block: BlockRef { number, hash: None }, ..reading.source(answer, agreement) })
}

/// The data of an account, as far as it was asked for.
pub(super) fn data(account: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(account["data"][0].as_str()?).ok()
}
