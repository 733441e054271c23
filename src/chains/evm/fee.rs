//! Fees: how much gas it takes, and what is paid for it (EIP-1559).

use std::sync::Arc;

use alloy_primitives::Bytes;
use serde_json::{Value, json};

use super::{
    address,
    call::at,
    hex::{number, units},
    revert,
};
use crate::{
    chains::{
        ChainError,
        family::Reading,
        fee::{FeeParts, FeeQuery, FeeTier, problem, strangers},
        provenance::Source,
        rpc::{Agreement, Answer, Call},
    },
    model::{FieldError, Units},
};

/// What a transfer takes that no contract receives.
pub(super) const TRANSFER_GAS: u64 = 21_000;
/// How many blocks are looked at.
const BLOCKS: u64 = 20;
/// Which of the priority fees of a block are looked at, in percent of its gas.
const PERCENTILES: [u8; 3] = [10, 50, 90];
/// What is paid where there is but one price, in percent of it.
const PLAIN_PERCENTAGES: [u64; 3] = [100, 110, 125];
/// No node takes a transaction that is larger, in bytes.
const LARGEST_DATA: usize = 128 * 1024;

/// A query that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::chains) struct Wish {
    from: Option<Arc<str>>,
    to: Option<Arc<str>>,
    value: Option<Units>,
    data: Option<Bytes>,
}

impl Wish {
    pub(in crate::chains) fn bytes(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len()) + 100
    }
}

/// What is paid for a unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prices {
    /// What the next block burns, and what goes to whoever makes it in each tier.
    Dynamic { base: Units, priorities: [Units; 3] },
    /// Without EIP-1559 there is one price, for all of it.
    Plain(Units),
}

/// A query in terms of EVM chains, or everything that is wrong with it.
pub(in crate::chains) fn wish(query: &FeeQuery) -> Result<Wish, Vec<FieldError>> {
    let FeeQuery { from, to, value, data, message, accounts, compute_units } = query;
    let given =
        [("message", message.is_some()), ("accounts", accounts.is_some()), ("computeUnits", compute_units.is_some())];
    let mut problems = strangers(&given, "Solana");
    let mut address = |field, text: &Option<String>| {
        text.as_ref().and_then(|text| problem(field, address::canonical(text), &mut problems))
    };
    let (from, to) = (address("from", from), address("to", to));
    let data = data.as_ref().and_then(|data| problem("data", self::data(data), &mut problems));
    let data = data.filter(|data| !data.is_empty());
    if problems.is_empty() { Ok(Wish { from, to, value: *value, data }) } else { Err(problems) }
}

fn data(text: &str) -> Result<Bytes, &'static str> {
    if text.len() > 2 + 2 * LARGEST_DATA {
        return Err("must have at most 131072 bytes");
    }
    let is_hex = text.starts_with("0x");
    text.parse().ok().filter(|_| is_hex).ok_or("must begin with 0x and have two hexadecimal digits for each byte")
}

/// The three tiers, at the block of the reading.
pub(in crate::chains) async fn read(reading: &Reading<'_>, wish: &Wish) -> Result<([FeeTier; 3], Source), ChainError> {
    let (gas, prices) = tokio::join!(gas(reading, wish), prices(reading));
    let ((prices, endpoint), gas) = (prices?, gas?);
    let source = Source { endpoint, block: reading.block.clone(), agreement: Agreement::ALONE };
    let nonsense = || ChainError::nonsense(&source.endpoint, "fees are larger than all there is");
    Ok((tiers(gas, &prices).ok_or_else(nonsense)?, source))
}

/// The units of gas that it takes.
async fn gas(reading: &Reading<'_>, wish: &Wish) -> Result<Units, ChainError> {
    match (&wish.to, &wish.data) {
        (None, None) => Ok(TRANSFER_GAS.into()),
        // A contract may do something when it receives.
        (Some(to), None) => {
            let code = one(reading, "eth_getCode", json!([to, at(reading.block)])).await?;
            if code.value == "0x" { Ok(TRANSFER_GAS.into()) } else { estimate(reading, wish).await }
        }
        (_, Some(_)) => estimate(reading, wish).await,
    }
}

async fn estimate(reading: &Reading<'_>, Wish { from, to, value, data }: &Wish) -> Result<Units, ChainError> {
    let value = value.map(|value| format!("{:#x}", value.0));
    let fields = [("from", json!(from)), ("to", json!(to)), ("value", json!(value)), ("data", json!(data))];
    let call: serde_json::Map<_, _> = fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let answer = one(reading, "eth_estimateGas", json!([call, at(reading.block)])).await.map_err(revert::told)?;
    units(&answer.value).ok_or_else(|| ChainError::nonsense(&answer.endpoint, "units of gas are no number"))
}

/// The prices, and who said so.
async fn prices(reading: &Reading<'_>) -> Result<(Prices, Arc<str>), ChainError> {
    let newest = reading.block.number;
    let params = json!([format!("{BLOCKS:#x}"), format!("{newest:#x}"), PERCENTILES]);
    let answer = one(reading, "eth_feeHistory", params).await?;
    let nonsense = |answer: &Answer, detail| ChainError::nonsense(&answer.endpoint, detail);
    let history = &answer.value;
    let base = base_fee(history);
    // Chains that burn nothing, and nodes of chains without EIP-1559, both write zeros. The block tells them apart.
    let is_plain = match base {
        None => true,
        Some(Units::ZERO) => {
            let block = one(reading, "eth_getBlockByNumber", json!([format!("{newest:#x}"), false])).await?;
            block.value["baseFeePerGas"].is_null()
        }
        Some(_) => false,
    };
    if let Some(base) = base.filter(|_| !is_plain) {
        let is_pinned = last_block(history) == Some(newest);
        let priorities = priorities(history).filter(|_| is_pinned);
        let priorities = priorities.ok_or_else(|| nonsense(&answer, "a history of fees is of other blocks"))?;
        return Ok((Prices::Dynamic { base, priorities }, answer.endpoint));
    }
    let answer = one(reading, "eth_gasPrice", json!([])).await?;
    let price = units(&answer.value).ok_or_else(|| nonsense(&answer, "the price of gas is no number"))?;
    Ok((Prices::Plain(price), answer.endpoint))
}

async fn one(reading: &Reading<'_>, method: &'static str, params: Value) -> Result<Answer, ChainError> {
    let mut answers = reading.read(&[Call { method, params }], "").await;
    Ok(answers.pop().expect("there is an answer for each call")?.0)
}

/// What the block after the newest one burns; nothing without EIP-1559.
fn base_fee(history: &Value) -> Option<Units> {
    units(history["baseFeePerGas"].as_array()?.last()?)
}

/// The number of the newest block of a history, which has one base fee more than blocks.
fn last_block(history: &Value) -> Option<u64> {
    let blocks = u64::try_from(history["baseFeePerGas"].as_array()?.len()).ok()?.checked_sub(2)?;
    number(&history["oldestBlock"])?.checked_add(blocks)
}

/// The priority fee of each tier: the middle of what was paid in the blocks, without those where nothing had to be. Blocks
/// that nobody wanted to be in say nothing of what it takes, so that one wei is enough.
fn priorities(history: &Value) -> Option<[Units; 3]> {
    let blocks = match &history["reward"] {
        Value::Null => [].as_slice(),
        rewards => rewards.as_array()?,
    };
    let mut tiers = [Units::ZERO; 3];
    let mut least = Units::from(1_u64);
    for (tier, priority) in tiers.iter_mut().enumerate() {
        let rewards: Option<Vec<Units>> = blocks.iter().map(|block| units(&block[tier])).collect();
        let paid = rewards?.into_iter().filter(|reward| *reward != Units::ZERO).collect();
        // Who pays more is never behind.
        least = median(paid).max(least);
        *priority = least;
    }
    Some(tiers)
}

/// The middle one, or halfway between the two in the middle, rounded down.
fn median(mut values: Vec<Units>) -> Units {
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.get(middle) {
        None => Units::ZERO,
        Some(high) if values.len() % 2 == 1 => *high,
        Some(high) => {
            let low = values[middle - 1];
            Units(low.0 + (high.0 - low.0) / Units::from(2_u64).0)
        }
    }
}

/// Nothing where a fee is larger than what can be counted.
fn tiers(gas: Units, prices: &Prices) -> Option<[FeeTier; 3]> {
    let total = |price: Units| gas.0.checked_mul(price.0).map(Units);
    let dynamic = |base: Units, priority: Units| {
        // The base fee may rise by an eighth in each block: this is enough for five of them.
        let most = base.checked_mul(2)?.checked_add(priority)?;
        Some(FeeTier {
            expected: total(base.checked_add(priority)?)?,
            most: total(most)?,
            parts: FeeParts::DynamicGas {
                gas_limit: gas,
                base_fee_per_gas: base,
                max_priority_fee_per_gas: priority,
                max_fee_per_gas: most,
            },
        })
    };
    let plain = |price: Units, percentage: u64| {
        let gas_price = price.mul_div(percentage.into(), Units::from(100_u64))?;
        let fee = total(gas_price)?;
        Some(FeeTier { expected: fee, most: fee, parts: FeeParts::PlainGas { gas_limit: gas, gas_price } })
    };
    let [slow, standard, fast] = match *prices {
        Prices::Dynamic { base, priorities } => priorities.map(|priority| dynamic(base, priority)),
        Prices::Plain(price) => PLAIN_PERCENTAGES.map(|percentage| plain(price, percentage)),
    };
    Some([slow?, standard?, fast?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wei(number: u64) -> Units {
        Units::from(number)
    }

    #[test]
    fn priorities_are_medians_of_what_was_paid_and_never_fall() {
        for (rewards, expected) in [
            (json!(null), Some([1, 1, 1])),
            (json!([]), Some([1, 1, 1])),
            (json!([["0x0", "0x0", "0x0"]]), Some([1, 1, 1])),
            (json!([["0x2", "0x4", "0x6"], ["0x0", "0x0", "0x0"]]), Some([2, 4, 6])),
            (json!([["0x2", "0x4", "0x6"], ["0x4", "0x5", "0xa"]]), Some([3, 4, 8])),
            (json!([["0x9", "0x4", "0x0"], ["0x1", "0x4", "0x0"], ["0x8", "0x5", "0x0"]]), Some([8, 8, 8])),
            (json!([["0x0", "0x0", "0x7"]]), Some([1, 1, 7])),
            (json!([["0x2", "0x4"]]), None),
            (json!([["0x2", "0x4", "six"]]), None),
            (json!("none"), None),
        ] {
            let found = priorities(&json!({ "reward": rewards }));
            assert_eq!(found, expected.map(|tiers| tiers.map(wei)), "{rewards}");
        }
        let most = Units(Units::ZERO.0.wrapping_sub(wei(1).0));
        assert_eq!(median(vec![most, most]), most);
    }

    #[test]
    fn a_history_ends_with_the_block_that_was_asked_for() {
        for (history, base, last) in [
            (json!({"baseFeePerGas": ["0x7", "0x8"], "oldestBlock": "0x0"}), Some(8), Some(0)),
            (json!({"baseFeePerGas": ["0x7", "0x8", "0x9"], "oldestBlock": "0x10"}), Some(9), Some(17)),
            (json!({"baseFeePerGas": ["0x7"], "oldestBlock": "0x86"}), Some(7), None),
            (json!({"baseFeePerGas": [], "oldestBlock": "0x86"}), None, None),
            (json!({"baseFeePerGas": null}), None, None),
            (json!({}), None, None),
        ] {
            assert_eq!((base_fee(&history), last_block(&history)), (base.map(wei), last), "{history}");
        }
    }

    #[test]
    fn tiers_are_gas_times_price() {
        let prices = Prices::Dynamic { base: wei(10), priorities: [wei(1), wei(2), wei(4)] };
        let found = tiers(wei(100), &prices).unwrap();
        assert_eq!(found.each_ref().map(|tier| tier.expected), [1_100, 1_200, 1_400].map(wei));
        assert_eq!(found.each_ref().map(|tier| tier.most), [2_100, 2_200, 2_400].map(wei));
        let found = tiers(wei(100), &Prices::Plain(wei(50))).unwrap();
        assert_eq!(found.each_ref().map(|tier| tier.expected), [5_000, 5_500, 6_200].map(wei));
        let most = Units(Units::ZERO.0.wrapping_sub(wei(1).0));
        assert_eq!(tiers(wei(2), &Prices::Plain(most)), None);
        assert_eq!(tiers(wei(1), &Prices::Dynamic { base: most, priorities: [wei(1); 3] }), None);
    }

    #[test]
    fn queries_are_checked_as_a_whole() {
        let text = |text: &str| Some(text.to_owned());
        let empty = FeeQuery { data: text("0x"), ..FeeQuery::default() };
        assert_eq!(wish(&empty), Ok(Wish { from: None, to: None, value: None, data: None }));
        let wrong = FeeQuery {
            from: text("0x1"),
            to: text(""),
            data: text("0x123"),
            message: text("AA=="),
            accounts: Some(Vec::new()),
            compute_units: Some(1),
            value: None,
        };
        let problems = wish(&wrong).unwrap_err();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.path[1].as_str()).collect();
        assert_eq!(fields, ["message", "accounts", "computeUnits", "from", "to", "data"]);
        for bad in ["", "12", "0x1", "0xgg", &format!("0x{}", "00".repeat(LARGEST_DATA + 1))] {
            assert!(data(bad).is_err());
        }
    }
}
