//! What a mint says of itself. Symbols are kept by other programs, and not read.

use serde_json::json;

use super::state::{JUDGED, data, options};
use crate::chains::{
    ChainError,
    family::{Reading, TokenFacts},
    rpc::Call,
};

/// The programs whose accounts are mints.
const TOKEN_PROGRAMS: [&str; 2] =
    ["TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"];
const MINT_BYTES: usize = 82;
/// Where a mint keeps its decimals.
const DECIMALS: usize = 44;

/// Nothing where there is no mint.
pub(in crate::chains) async fn read(reading: &Reading<'_>, address: &str) -> Result<Option<TokenFacts>, ChainError> {
    let params = json!([address, options(reading, Some((0, MINT_BYTES)))]);
    let mut answers = reading.read(&[Call { method: "getAccountInfo", params }], JUDGED).await;
    let (answer, _) = answers.pop().expect("there is an answer for each call")?;
    let account = &answer.value["value"];
    let is_of_tokens = account["owner"].as_str().is_some_and(|owner| TOKEN_PROGRAMS.contains(&owner));
    let mint = data(account).filter(|data| is_of_tokens && data.len() == MINT_BYTES);
    Ok(mint.map(|mint| TokenFacts { symbol: None, decimals: mint[DECIMALS] }))
}
