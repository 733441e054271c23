//! Balances: of ether by the node's own word, of tokens by their contracts' (EIP-20).

use serde_json::json;

use super::{
    call::{Erc20, at, eth_call, returned},
    hex::units,
};
use crate::{
    chains::{
        ChainError,
        balance::{BalanceRead, Wanted},
        family::Reading,
        rpc::{Agreement, Answer, Call},
    },
    model::Units,
};

/// Balances in the order of `wanted`, which are of ether only, or of tokens only: one call each, in as few requests as
/// the batch size permits.
pub(in crate::chains) async fn read(reading: &Reading<'_>, wanted: &[&Wanted]) -> Vec<BalanceRead> {
    let calls: Vec<Call> = wanted.iter().map(|wanted| call(wanted, reading)).collect();
    let answers = reading.read(&calls, "").await;
    wanted.iter().zip(answers).map(|(wanted, answer)| balance(wanted, answer?, reading)).collect()
}

fn call(Wanted { address, token }: &Wanted, reading: &Reading<'_>) -> Call {
    match token {
        None => Call { method: "eth_getBalance", params: json!([address, at(reading.block)]) },
        Some(token) => {
            let owner = address.parse().expect("the address was checked");
            eth_call(token, &Erc20::balanceOfCall { owner }, reading.block)
        }
    }
}

fn balance(wanted: &Wanted, (answer, agreement): (Answer, Agreement), reading: &Reading<'_>) -> BalanceRead {
    let amount = match &wanted.token {
        None => units(&answer.value).ok_or_else(|| ChainError::nonsense(&answer.endpoint, "a balance is no number"))?,
        // What is no contract returns nothing at all.
        Some(token) => returned::<Erc20::balanceOfCall>(&answer.value)
            .map(Units)
            .ok_or_else(|| ChainError::NoToken(token.clone()))?,
    };
    Ok((amount, reading.source(&answer, agreement)))
}
