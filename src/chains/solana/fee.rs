//! Fees: what signatures cost, and what others paid of late to write the same accounts.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{address, message::Message, state::options};
use crate::{
    chains::{
        ChainError,
        family::Reading,
        fee::{FeeParts, FeeQuery, FeeTier, problem, strangers},
        provenance::Source,
        rpc::{Agreement, Call},
    },
    model::{FieldError, Units},
};

/// In lamports.
const SIGNATURE_FEE: u64 = 5_000;
/// What an instruction may take that asks for nothing else.
const UNITS_PER_INSTRUCTION: u64 = 200_000;
/// More than this no transaction may take.
const MOST_UNITS: u64 = 1_400_000;
/// As many as `getRecentPrioritizationFees` takes.
const MOST_ACCOUNTS: usize = 128;
/// As long as the largest message is in Base64.
const LONGEST_MESSAGE: usize = 1_644;
const PERCENTILES: [usize; 3] = [25, 50, 90];
const MICRO: u128 = 1_000_000;

/// A query that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::chains) struct Wish {
    /// Without a price of its own, in Base64.
    message: Option<Arc<str>>,
    accounts: Vec<Arc<str>>,
    units: u64,
}

impl Wish {
    pub(in crate::chains) fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.len()) + self.accounts.len() * 64
    }
}

/// A query in terms of Solana, or everything that is wrong with it.
pub(in crate::chains) fn wish(query: &FeeQuery) -> Result<Wish, Vec<FieldError>> {
    let FeeQuery { from, to, value, data, message, accounts, compute_units } = query;
    let given = [("from", from.is_some()), ("to", to.is_some()), ("value", value.is_some()), ("data", data.is_some())];
    let mut problems = strangers(&given, "EVM chains");
    let message = message.as_ref().and_then(|text| problem("message", self::message(text), &mut problems));
    let named = accounts.as_ref().map(|accounts| self::accounts(accounts, &mut problems));
    let units = compute_units.and_then(|units| problem("computeUnits", self::units(units), &mut problems));
    if !problems.is_empty() {
        return Err(problems);
    }
    let instructions = message.as_ref().map_or(1, |message| message.instructions);
    let limit = message.as_ref().and_then(|message| message.unit_limit).map(u64::from);
    let units = units.or(limit).unwrap_or(instructions * UNITS_PER_INSTRUCTION).min(MOST_UNITS);
    let written = message.as_ref().map(|message| message.writable.clone());
    let message = message.map(|message| BASE64_STANDARD.encode(message.unpriced).into());
    Ok(Wish { message, accounts: named.or(written).unwrap_or_default(), units })
}

fn message(text: &str) -> Result<Message, &'static str> {
    let is_short = text.len() <= LONGEST_MESSAGE;
    let bytes = BASE64_STANDARD.decode(text).ok().filter(|_| is_short);
    bytes.and_then(|bytes| Message::parse(&bytes)).ok_or("must be the message of a transaction in Base64")
}

fn units(units: i64) -> Result<u64, &'static str> {
    let units = u64::try_from(units).ok().filter(|units| (1..=MOST_UNITS).contains(units));
    units.ok_or("must be 1 to 1400000")
}

fn accounts(accounts: &[String], problems: &mut Vec<FieldError>) -> Vec<Arc<str>> {
    if accounts.len() > MOST_ACCOUNTS {
        problems.push(FieldError::new(&["input", "accounts"], "must be at most 128"));
        return Vec::new();
    }
    let checked = accounts.iter().enumerate().filter_map(|(place, account)| {
        let wrong = |problem| FieldError::new(&["input", "accounts", &place.to_string()], problem);
        address::canonical(account).map_err(|problem| problems.push(wrong(problem))).ok()
    });
    checked.collect()
}

/// The three tiers. What others paid cannot be asked for at a slot: it is that of the endpoint's newest ones.
pub(in crate::chains) async fn read(reading: &Reading<'_>, wish: &Wish) -> Result<([FeeTier; 3], Source), ChainError> {
    let calls = [Call { method: "getRecentPrioritizationFees", params: json!([wish.accounts]) }];
    let (mut paid, signatures) = tokio::join!(reading.read(&calls, ""), signatures(reading, wish));
    let (paid, _) = paid.pop().expect("there is an answer for each call")?;
    let nonsense = |detail| ChainError::nonsense(&paid.endpoint, detail);
    let prices = prices(&paid.value).ok_or_else(|| nonsense("what others paid is no number"))?;
    let signatures = signatures?;
    let tier = |price| tier(signatures, price, wish.units).ok_or_else(|| nonsense("a fee is larger than all there is"));
    let [slow, standard, fast] = prices.map(tier);
    let block = reading.block.clone();
    let source = Source { endpoint: Arc::clone(&paid.endpoint), block, agreement: Agreement::ALONE };
    Ok(([slow?, standard?, fast?], source))
}

/// What the signatures cost: one, where it is not known how many there are.
async fn signatures(reading: &Reading<'_>, wish: &Wish) -> Result<Units, ChainError> {
    let Some(message) = &wish.message else { return Ok(SIGNATURE_FEE.into()) };
    let calls = [Call { method: "getFeeForMessage", params: json!([message, options(reading, None)]) }];
    // Null where the hash of its recent block is not known, which a node that is behind may not have heard of.
    let answer = reading.find(&calls, "/value").await.pop().expect("there is an answer for each call")?;
    match &answer.value["value"] {
        Value::Null => {
            let unknown = "names a block that the chain does not know, or that is too old";
            Err(ChainError::Invalid(vec![FieldError::new(&["input", "message"], unknown)]))
        }
        fee => {
            let nonsense = || ChainError::nonsense(&answer.endpoint, "the fee of a message is no number");
            fee.as_u64().map(Units::from).ok_or_else(nonsense)
        }
    }
}

/// The prices of the tiers, in micro-lamports for each compute unit: nothing where nobody paid.
fn prices(slots: &Value) -> Option<[u64; 3]> {
    let paid = slots.as_array()?.iter().map(|slot| slot["prioritizationFee"].as_u64());
    let mut paid: Vec<u64> = paid.collect::<Option<_>>()?;
    paid.sort_unstable();
    Some(PERCENTILES.map(|percentile| nearest(&paid, percentile)))
}

/// The least of sorted numbers that so many percent of them do not exceed.
fn nearest(sorted: &[u64], percentile: usize) -> u64 {
    let rank = (sorted.len() * percentile).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Nothing where the fee is larger than what can be counted.
fn tier(signature_fee: Units, price: u64, units: u64) -> Option<FeeTier> {
    let priority = (u128::from(price) * u128::from(units)).div_ceil(MICRO);
    let fee = signature_fee.checked_add(Units::from(priority))?;
    let parts = FeeParts::Compute { compute_units: units, micro_lamports_per_compute_unit: price, signature_fee };
    Some(FeeTier { expected: fee, most: fee, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_percentiles_over_slots() {
        let slots = |prices: &[u64]| -> Value {
            prices.iter().map(|price| json!({"slot": 1, "prioritizationFee": price})).collect()
        };
        let hundred: Vec<u64> = (1..=100).rev().collect();
        for (paid, expected) in [
            (&[][..], [0, 0, 0]),
            (&[7], [7, 7, 7]),
            (&[1, 2], [1, 1, 2]),
            (&[4, 3, 2, 1], [1, 2, 4]),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 5, 9], [0, 0, 5]),
            (&hundred, [25, 50, 90]),
        ] {
            assert_eq!(prices(&slots(paid)), Some(expected), "{paid:?}");
        }
        for bad in [json!(null), json!([{}]), json!([{"prioritizationFee": -1}]), json!([{"prioritizationFee": "1"}])] {
            assert_eq!(prices(&bad), None, "{bad}");
        }
    }

    #[test]
    fn fees_are_rounded_up() {
        for (price, units, expected) in [
            (0, 200_000, 5_000_u128),
            (1, 1, 5_001),
            (5, 200_000, 5_001),
            (6, 200_000, 5_002),
            (1_000_000, 3, 5_003),
            (u64::MAX, MOST_UNITS, 25_825_441_703_193_377_261),
        ] {
            let found = tier(SIGNATURE_FEE.into(), price, units).unwrap();
            assert_eq!((found.expected, found.most), (Units::from(expected), Units::from(expected)), "{price} {units}");
        }
    }

    #[test]
    fn queries_are_checked_as_a_whole() {
        let text = |text: &str| Some(text.to_owned());
        let plain = Wish { message: None, accounts: Vec::new(), units: UNITS_PER_INSTRUCTION };
        assert_eq!(wish(&FeeQuery::default()), Ok(plain));
        let wrong = FeeQuery {
            from: text("a"),
            to: text("b"),
            value: Some(Units::ZERO),
            data: text("0x"),
            message: text("AAAA"),
            accounts: Some(vec!["11111111111111111111111111111111".to_owned(), "zz".to_owned()]),
            compute_units: Some(0),
        };
        let problems = wish(&wrong).unwrap_err();
        let fields: Vec<String> = problems.iter().map(|problem| problem.path[1..].join(".")).collect();
        assert_eq!(fields, ["from", "to", "value", "data", "message", "accounts.1", "computeUnits"]);
        let many = FeeQuery { accounts: Some(vec![String::new(); MOST_ACCOUNTS + 1]), ..FeeQuery::default() };
        assert_eq!(wish(&many).unwrap_err().len(), 1);
        for bad in [-1, 0, 1_400_001, i64::MAX] {
            assert!(units(bad).is_err(), "{bad}");
        }
    }
}
