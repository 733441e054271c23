//! Balances: of ether by the node's own word, of tokens by their contracts' (EIP-20).

use serde_json::json;

use super::{
    call::{Erc20, at, eth_call, returned},
    hex::units,
};
use crate::{
    chains::{
        ChainError,
        balance::Wanted,
        family::Reading,
        provenance::Source,
        rpc::{Agreement, Answer, Call},
    },
    model::Units,
};

/// Balances in the order of `wanted`: one call each, in as few requests as the batch size permits.
pub(in crate::chains) async fn read(
    reading: &Reading<'_>,
    wanted: &[Wanted],
) -> Vec<Result<(Units, Source), ChainError>> {
    let (native, tokens): (Vec<usize>, Vec<usize>) =
        (0..wanted.len()).partition(|place| wanted[*place].token.is_none());
    let calls = |places: &[usize]| places.iter().map(|place| call(&wanted[*place], reading)).collect::<Vec<Call>>();
    let (of_native, of_tokens) = (calls(&native), calls(&tokens));
    let (of_native, of_tokens) = tokio::join!(reading.read(&of_native, ""), reading.read(&of_tokens, ""));
    let mut answered: Vec<_> = native.into_iter().chain(tokens).zip(of_native.into_iter().chain(of_tokens)).collect();
    answered.sort_unstable_by_key(|(place, _)| *place);
    answered.into_iter().map(|(place, answer)| balance(&wanted[place], answer?, reading)).collect()
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

fn balance(
    wanted: &Wanted,
    (answer, agreement): (Answer, Agreement),
    reading: &Reading<'_>,
) -> Result<(Units, Source), ChainError> {
    let amount = match &wanted.token {
        None => units(&answer.value).ok_or_else(|| ChainError::nonsense(&answer.endpoint, "a balance is no number"))?,
        // What is no contract returns nothing at all.
        Some(token) => returned::<Erc20::balanceOfCall>(&answer.value)
            .map(Units)
            .ok_or_else(|| ChainError::NoToken(token.clone()))?,
    };
    Ok((amount, reading.source(&answer, agreement)))
}
