//! How far a node has come.

use std::sync::Arc;

use serde_json::{Value, json};

use super::hex::number;
use crate::chains::rpc::{BlockRef, Call, HeadProbe, Heads, Probed};

/// Asks for the chain's number, the newest block and the newest final one, in one request.
pub(in crate::chains) fn probe(chain_number: u64) -> HeadProbe {
    let block = |tag: &str| Call { method: "eth_getBlockByNumber", params: json!([tag, false]) };
    let calls = vec![block("latest"), block("finalized"), Call { method: "eth_chainId", params: json!([]) }];
    HeadProbe { calls, read, identity: chain_number.to_string() }
}

fn read(answers: &[Value], expected: &str) -> Result<Probed, String> {
    let [latest, finalized, chain] = answers else { return Err("three answers were expected".to_owned()) };
    let found = number(chain).ok_or("its chain number is no number")?.to_string();
    if found != expected {
        return Ok(Probed::WrongChain(found));
    }
    let timestamp = number(&latest["timestamp"]).and_then(|seconds| i64::try_from(seconds).ok());
    let latest = block(latest).ok_or("its newest block has no number or hash")?;
    // A young chain has none yet: its first block is as good as final.
    let finalized = block(finalized).unwrap_or(BlockRef { number: 0, hash: None });
    Ok(Probed::Heads(Heads { latest, finalized, timestamp }))
}

fn block(block: &Value) -> Option<BlockRef> {
    let hash: Arc<str> = block["hash"].as_str().filter(|hash| hash.len() == 66 && hash.starts_with("0x"))?.into();
    Some(BlockRef { number: number(&block["number"])?, hash: Some(hash) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(answers: &[Value]) -> Heads {
        match read(answers, "1") {
            Ok(Probed::Heads(heads)) => heads,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn heads_are_read_and_another_chain_is_told() {
        let block =
            |number: &str| json!({"number": number, "hash": format!("0x{}", "a".repeat(64)), "timestamp": "0x10"});
        let old = heads(&[block("0x20"), block("0x5"), json!("0x1")]);
        assert_eq!((old.latest.number, old.finalized.number, old.timestamp), (32, 5, Some(16)));
        let young = heads(&[block("0x2"), Value::Null, json!("0x1")]);
        assert_eq!(young.finalized, BlockRef { number: 0, hash: None });
        let other = read(&[block("0x2"), Value::Null, json!("0x2105")], "1");
        assert_eq!(other, Ok(Probed::WrongChain("8453".to_owned())));
        for bad in [json!(null), json!({}), json!({"number": "0x1", "hash": "0x"}), json!({"number": 1, "hash": "a"})] {
            assert!(read(&[bad, Value::Null, json!("0x1")], "1").is_err());
        }
        assert!(read(&[block("0x1"), Value::Null, json!("one")], "1").is_err());
    }
}
