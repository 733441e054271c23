//! Balances: lamports of accounts, and tokens of all the accounts that somebody has for a mint.

use serde_json::{Value, json};

use super::state::{JUDGED, data, options, source};
use crate::{
    chains::{
        ChainError,
        balance::{BalanceRead, Wanted},
        family::Reading,
        provenance::Source,
        rpc::{Agreement, Answer, Call},
    },
    model::Units,
};

/// As many accounts as `getMultipleAccounts` takes.
const ACCOUNTS_PER_CALL: usize = 100;
/// Where a token account keeps its amount.
const AMOUNT: (usize, usize) = (64, 8);

/// What accounts have themselves, in the order of `wanted`.
pub(in crate::chains) async fn lamports(reading: &Reading<'_>, wanted: &[&Wanted]) -> Vec<BalanceRead> {
    let calls: Vec<Call> = wanted
        .chunks(ACCOUNTS_PER_CALL)
        .map(|wanted| {
            let addresses: Vec<&str> = wanted.iter().map(|wanted| &*wanted.address).collect();
            Call { method: "getMultipleAccounts", params: json!([addresses, options(reading, Some((0, 0)))]) }
        })
        .collect();
    let answers = reading.read(&calls, JUDGED).await;
    let chunks = wanted.chunks(ACCOUNTS_PER_CALL).zip(answers);
    chunks.flat_map(|(wanted, answer)| lamports_of(wanted.len(), answer, reading)).collect()
}

fn lamports_of(
    count: usize,
    answer: Result<(Answer, Agreement), ChainError>,
    reading: &Reading<'_>,
) -> Vec<BalanceRead> {
    let found = answer.and_then(|(answer, agreement)| {
        let source = source(&answer, agreement, reading)?;
        let accounts = answer.value["value"].as_array().filter(|accounts| accounts.len() == count);
        let nonsense = || ChainError::nonsense(&answer.endpoint, "it was asked for other accounts");
        Ok((accounts.ok_or_else(nonsense)?.clone(), source))
    });
    match found {
        Ok((accounts, source)) => {
            accounts.iter().map(|account| Ok((lamports_in(account, &source)?, source.clone()))).collect()
        }
        Err(error) => vec![Err(error); count],
    }
}

/// An account that does not exist has nothing.
fn lamports_in(account: &Value, source: &Source) -> Result<Units, ChainError> {
    if account.is_null() {
        return Ok(Units::ZERO);
    }
    let lamports = account["lamports"].as_u64().map(Units::from);
    lamports.ok_or_else(|| ChainError::nonsense(&source.endpoint, "an account has no lamports"))
}

/// What accounts have of tokens, in the order of `wanted`.
pub(in crate::chains) async fn amounts(reading: &Reading<'_>, wanted: &[&Wanted]) -> Vec<BalanceRead> {
    let call = |wanted: &&Wanted| Call {
        method: "getTokenAccountsByOwner",
        params: json!([wanted.address, { "mint": wanted.token }, options(reading, Some(AMOUNT))]),
    };
    let calls: Vec<Call> = wanted.iter().map(call).collect();
    let answers = reading.read(&calls, JUDGED).await;
    wanted.iter().zip(answers).map(|(wanted, answer)| amount(wanted, answer, reading)).collect()
}

fn amount(wanted: &Wanted, answer: Result<(Answer, Agreement), ChainError>, reading: &Reading<'_>) -> BalanceRead {
    let (answer, agreement) = answer.map_err(|error| match (&wanted.token, error) {
        // The mint was checked for its form, so that a refused parameter is a mint that does not exist.
        (Some(token), ChainError::Refused { code: -32_602, .. }) => ChainError::NoToken(token.clone()),
        (_, error) => error,
    })?;
    let source = source(&answer, agreement, reading)?;
    let accounts = answer.value["value"].as_array().cloned().unwrap_or_default();
    let sum = accounts.iter().try_fold(Units::ZERO, |sum, account| {
        let amount: [u8; 8] = data(&account["account"])?.try_into().ok()?;
        sum.checked_add(Units::from(u64::from_le_bytes(amount)))
    });
    Ok((sum.ok_or_else(|| ChainError::nonsense(&source.endpoint, "a token account has no amount"))?, source))
}
