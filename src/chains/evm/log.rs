//! Blocks by their parents, and what contracts wrote in them.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use serde_json::{Value, json};

use super::{address, hex::number};
use crate::{
    chains::rpc::Call,
    model::{FieldError, stable_hash},
};

/// Most addresses, and most alternatives of one topic, that a filter names.
const MOST: usize = 20;
/// As many topics as a log can have.
const MOST_TOPICS: usize = 4;

/// A block by its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chains) struct Header {
    pub(in crate::chains) number: u64,
    pub(in crate::chains) hash: Arc<str>,
    pub(in crate::chains) parent: Arc<str>,
}

/// Which logs somebody wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LogFilter {
    /// The contracts that wrote them, 1 to 20.
    pub addresses: Vec<String>,
    /// For each topic the alternatives, none for any; at most four.
    pub topics: Vec<Vec<String>>,
}

/// What a contract wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The contract, with its checksum.
    pub address: Arc<str>,
    /// What it can be found by, 32 bytes each.
    pub topics: Vec<Arc<str>>,
    /// What it says.
    pub data: Arc<str>,
    /// The number of its block.
    pub block_number: u64,
    /// The hash of its block.
    pub block_hash: Arc<str>,
    /// The transaction that led to it.
    pub transaction: Arc<str>,
    /// Its number in its block.
    pub index: u64,
    /// Its number among those of its block that the filter lets through.
    pub(in crate::chains) position: u32,
}

impl LogFilter {
    /// Everything that is wrong with it.
    pub(in crate::chains) fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |path: &[&str], message: String| problems.push(FieldError::new(path, message));
        if !(1..=MOST).contains(&self.addresses.len()) {
            wrong(&["filter", "addresses"], format!("must be 1 to {MOST} addresses"));
        }
        for (place, text) in self.addresses.iter().enumerate().take(MOST) {
            if let Err(problem) = address::canonical(text) {
                wrong(&["filter", "addresses", &place.to_string()], problem.to_owned());
            }
        }
        if self.topics.len() > MOST_TOPICS {
            wrong(&["filter", "topics"], format!("must be at most {MOST_TOPICS}"));
        }
        for (place, topic) in self.topics.iter().enumerate().take(MOST_TOPICS) {
            let is_good = topic.len() <= MOST && topic.iter().all(|text| is_topic(text));
            if !is_good {
                let message = format!("must be at most {MOST} times 0x and 64 hexadecimal digits");
                wrong(&["filter", "topics", &place.to_string()], message);
            }
        }
        problems
    }

    /// A name of the filter for a chain.
    pub(in crate::chains) fn fingerprint(&self, chain: &str) -> u64 {
        stable_hash(format!("{chain} {}", self.wire()).as_bytes())
    }

    /// As nodes take it, however it was typed.
    fn wire(&self) -> Value {
        let addresses: Vec<String> = self.addresses.iter().map(|text| text.to_lowercase()).collect();
        let topic = |topic: &Vec<String>| match &topic[..] {
            [] => Value::Null,
            topic => json!(topic.iter().map(|text| text.to_lowercase()).collect::<Vec<_>>()),
        };
        json!({ "address": addresses, "topics": self.topics.iter().map(topic).collect::<Vec<_>>() })
    }
}

fn is_topic(text: &str) -> bool {
    text.len() == 66 && text.starts_with("0x") && text.parse::<B256>().is_ok()
}

/// Asks for a block by its hash.
pub(in crate::chains) fn by_hash(hash: &str) -> Call {
    Call { method: "eth_getBlockByHash", params: json!([hash, false]) }
}

/// Asks for a block by its number, which must be final.
pub(in crate::chains) fn by_number(number: u64) -> Call {
    Call { method: "eth_getBlockByNumber", params: json!([format!("{number:#x}"), false]) }
}

/// Asks for the logs of one block. A node that does not know the block must say so (EIP-234).
pub(in crate::chains) fn logs_of(hash: &str, filter: &LogFilter) -> Call {
    let mut params = filter.wire();
    params["blockHash"] = json!(hash);
    Call { method: "eth_getLogs", params: json!([params]) }
}

/// Asks for the logs of a range of blocks, the ends included, which must be final.
pub(in crate::chains) fn logs_between(from: u64, upto: u64, filter: &LogFilter) -> Call {
    let mut params = filter.wire();
    params["fromBlock"] = json!(format!("{from:#x}"));
    params["toBlock"] = json!(format!("{upto:#x}"));
    Call { method: "eth_getLogs", params: json!([params]) }
}

pub(in crate::chains) fn header(value: &Value) -> Option<Header> {
    let hash = |name: &str| Some(value[name].as_str()?.parse::<B256>().ok()?.to_string().into());
    Some(Header { number: number(&value["number"])?, hash: hash("hash")?, parent: hash("parentHash")? })
}

/// Logs in the order of the chain, each with its number among those of its block.
pub(in crate::chains) fn logs(value: &Value) -> Option<Vec<Log>> {
    let mut logs = value.as_array()?.iter().map(log).collect::<Option<Vec<Log>>>()?;
    logs.sort_by_key(|log| (log.block_number, log.index));
    let mut before: Option<(u64, u32)> = None;
    for log in &mut logs {
        log.position = match before {
            Some((block, position)) if block == log.block_number => position + 1,
            _ => 0,
        };
        before = Some((log.block_number, log.position));
    }
    Some(logs)
}

fn log(value: &Value) -> Option<Log> {
    let hash = |value: &Value| Some(value.as_str()?.parse::<B256>().ok()?.to_string().into());
    let topics = value["topics"].as_array()?.iter().map(hash).collect::<Option<Vec<Arc<str>>>>()?;
    let address: Address = value["address"].as_str()?.parse().ok()?;
    let data: Bytes = value["data"].as_str()?.parse().ok()?;
    // What a node has undone by itself is of no use to whoever follows branches.
    let is_undone = value["removed"].as_bool().unwrap_or_default();
    (!is_undone).then_some(Log {
        address: address.to_checksum(None).into(),
        topics,
        data: data.to_string().into(),
        block_number: number(&value["blockNumber"])?,
        block_hash: hash(&value["blockHash"])?,
        transaction: hash(&value["transactionHash"])?,
        index: number(&value["logIndex"])?,
        position: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";

    fn filter(addresses: &[&str], topics: &[&[&str]]) -> LogFilter {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        LogFilter { addresses: texts(addresses), topics: topics.iter().map(|topic| texts(topic)).collect() }
    }

    #[test]
    fn all_that_is_wrong_with_a_filter_is_said() {
        let topic = format!("0x{}", "a".repeat(64));
        assert_eq!(filter(&[CONTRACT], &[&[], &[&topic]]).problems(), []);
        let many: Vec<&str> = vec![CONTRACT; 21];
        for (filter, fields) in [
            (filter(&[], &[]), vec!["filter.addresses"]),
            (filter(&many, &[]), vec!["filter.addresses"]),
            (filter(&[CONTRACT, "0x1"], &[&["0x1"], &[]]), vec!["filter.addresses.1", "filter.topics.0"]),
            (filter(&[CONTRACT], &[&[], &[], &[], &[], &[]]), vec!["filter.topics"]),
        ] {
            let found: Vec<String> = filter.problems().iter().map(|problem| problem.path.join(".")).collect();
            assert_eq!(found, fields);
        }
    }

    #[test]
    fn a_filter_is_the_same_however_it_is_typed() {
        let (one, other) = (filter(&[CONTRACT], &[]), filter(&[&CONTRACT.to_lowercase()], &[]));
        assert_eq!(one.fingerprint("ethereum"), other.fingerprint("ethereum"));
        assert_ne!(one.fingerprint("ethereum"), one.fingerprint("base"));
        assert_eq!(logs_of("0x1", &filter(&[CONTRACT], &[&[]])).params[0]["topics"], json!([null]));
    }

    #[test]
    fn logs_are_put_in_order_and_counted_within_their_block() {
        let hash = |digit: &str| format!("0x{}", digit.repeat(64));
        let log = |block: &str, index: &str| {
            json!({"address": CONTRACT, "topics": [hash("1")], "data": "0x01", "blockNumber": block, "blockHash": hash("b"),
                "transactionHash": hash("c"), "logIndex": index, "removed": false})
        };
        let found = logs(&json!([log("0x2", "0x0"), log("0x1", "0x5"), log("0x1", "0x3")])).unwrap();
        let order: Vec<_> = found.iter().map(|log| (log.block_number, log.index, log.position)).collect();
        assert_eq!(order, [(1, 3, 0), (1, 5, 1), (2, 0, 0)]);
        for bad in [json!(null), json!([null]), json!([{"address": "0x1"}])] {
            assert_eq!(logs(&bad), None);
        }
    }
}
