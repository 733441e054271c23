//! How far a node has come.

use serde_json::{Value, json};

use crate::chains::rpc::{BlockRef, Call, HeadProbe, Heads, Probed};

/// Asks for the first block's hash, and the newest confirmed and finalized slots, in one request.
pub(in crate::chains) fn probe(genesis: &str) -> HeadProbe {
    let slot = |commitment: &str| Call { method: "getSlot", params: json!([{ "commitment": commitment }]) };
    let calls = vec![slot("confirmed"), slot("finalized"), Call { method: "getGenesisHash", params: json!([]) }];
    HeadProbe { calls, read, identity: genesis.to_owned() }
}

fn read(answers: &[Value], expected: &str) -> Result<Probed, String> {
    let [confirmed, finalized, genesis] = answers else { return Err("three answers were expected".to_owned()) };
    let found = genesis.as_str().ok_or("its first block has no hash")?;
    if found != expected {
        return Ok(Probed::WrongChain(found.chars().take(44).collect()));
    }
    let slot = |value: &Value| value.as_u64().map(|number| BlockRef { number, hash: None });
    let (latest, finalized) = slot(confirmed).zip(slot(finalized)).ok_or("its slot is no number")?;
    Ok(Probed::Heads(Heads { latest, finalized, timestamp: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_and_another_chain_is_told() {
        let slot = |number| BlockRef { number, hash: None };
        let heads = Heads { latest: slot(40), finalized: slot(8), timestamp: None };
        assert_eq!(read(&[json!(40), json!(8), json!("first")], "first"), Ok(Probed::Heads(heads)));
        let other = read(&[json!(40), json!(8), json!("other")], "first");
        assert_eq!(other, Ok(Probed::WrongChain("other".to_owned())));
        assert!(read(&[json!("40"), json!(8), json!("first")], "first").is_err());
        assert!(read(&[json!(40), json!(8), json!(null)], "first").is_err());
    }
}
