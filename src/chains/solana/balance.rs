//! Balances: lamports of accounts, and tokens of all the accounts that somebody has for a mint.

use serde_json::{Value, json};

use super::state::{JUDGED, data, options, source};
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

/// As many accounts as `getMultipleAccounts` takes.
const ACCOUNTS_PER_CALL: usize = 100;
/// Where a token account keeps its amount.
const AMOUNT: (usize, usize) = (64, 8);

type Found = Vec<Result<(Units, Source), ChainError>>;

/// Balances in the order of `wanted`.
pub(in crate::chains) async fn read(reading: &Reading<'_>, wanted: &[Wanted]) -> Found {
    let (native, tokens): (Vec<usize>, Vec<usize>) =
        (0..wanted.len()).partition(|place| wanted[*place].token.is_none());
    let of = |places: &[usize]| places.iter().map(|place| &wanted[*place]).collect::<Vec<_>>();
    let (of_native, of_tokens) = (of(&native), of(&tokens));
    let (of_native, of_tokens) = tokio::join!(lamports(reading, &of_native), amounts(reading, &of_tokens));
    let mut found: Vec<_> = native.into_iter().chain(tokens).zip(of_native.into_iter().chain(of_tokens)).collect();
    found.sort_unstable_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, balance)| balance).collect()
}

async fn lamports(reading: &Reading<'_>, wanted: &[&Wanted]) -> Found {
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

fn lamports_of(count: usize, answer: Result<(Answer, Agreement), ChainError>, reading: &Reading<'_>) -> Found {
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

async fn amounts(reading: &Reading<'_>, wanted: &[&Wanted]) -> Found {
    let call = |wanted: &&Wanted| Call {
        method: "getTokenAccountsByOwner",
        params: json!([wanted.address, { "mint": wanted.token }, options(reading, Some(AMOUNT))]),
    };
    let calls: Vec<Call> = wanted.iter().map(call).collect();
    let answers = reading.read(&calls, JUDGED).await;
    wanted.iter().zip(answers).map(|(wanted, answer)| amount(wanted, answer, reading)).collect()
}

fn amount(
    wanted: &Wanted,
    answer: Result<(Answer, Agreement), ChainError>,
    reading: &Reading<'_>,
) -> Result<(Units, Source), ChainError> {
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
