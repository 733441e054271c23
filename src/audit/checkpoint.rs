//! Signed words about how far the lanes have come.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    events::canonical,
    model::Timestamp,
    secrets::{PublicKey, Signer, is_signed_by},
};

/// What was there at some time, and who says so.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    /// 1, 2, 3, without holes.
    pub(super) id: i64,
    pub(super) time: Timestamp,
    /// The newest row of each lane that has any.
    pub(super) heads: BTreeMap<i16, Head>,
    /// How many rows there are up to these.
    pub(super) rows: i64,
    pub(super) signature: Vec<u8>,
    pub(super) public_key: Vec<u8>,
}

/// The newest row of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) number: i64,
    /// In hexadecimal.
    pub(super) hash: String,
}

impl Checkpoint {
    /// Signs what is there now, after the checkpoint before.
    /// Nothing where numbers are so large that somebody has tampered with them.
    pub(super) fn sign(
        signer: &Signer,
        before: Option<&Self>,
        time: Timestamp,
        heads: BTreeMap<i16, Head>,
    ) -> Option<Self> {
        let rows = rows(&heads)?;
        let id = before.map_or(0, |before| before.id).checked_add(1)?;
        let public_key = signer.public_key().to_vec();
        let mut checkpoint = Self { id, time, heads, rows, signature: Vec::new(), public_key };
        checkpoint.signature = signer.sign(checkpoint.message(before).as_bytes()).to_vec();
        Some(checkpoint)
    }

    /// Whether whoever has this key signed it, as the one after `before`.
    pub(super) fn is_genuine(&self, key: &PublicKey, before: Option<&Self>) -> bool {
        Some(self.id) == before.map_or(0, |before| before.id).checked_add(1)
            && Some(self.rows) == rows(&self.heads)
            && self.public_key == key.as_ref()
            && is_signed_by(key, self.message(before).as_bytes(), &self.signature)
    }

    /// Whether it is from less than this long ago. One from later than now is not: it would hold up all until then.
    pub(super) fn is_younger(&self, than: Duration, now: Timestamp) -> bool {
        (now - self.time).to_std().is_ok_and(|age| age < than)
    }

    fn message(&self, before: Option<&Self>) -> String {
        let before = before.map(|before| hex(&before.signature));
        canonical(&json!({
            "id": self.id,
            "time": self.time.timestamp_micros(),
            "heads": self.heads,
            "rows": self.rows,
            "previousSignature": before,
        }))
    }
}

fn rows(heads: &BTreeMap<i16, Head>) -> Option<i64> {
    heads.values().try_fold(0_i64, |rows, head| rows.checked_add(head.number))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
