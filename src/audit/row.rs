//! A row of the audit log, and the hash that ties it to the one before.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Deed, Entry};
use crate::{
    events::canonical,
    model::{Timestamp, stable_hash, without_nul},
};

/// How many chains there are. Whoever writes holds one of them until the transaction ends, and the others go on.
pub(super) const LANES: i16 = 16;

/// A link of the chain.
pub(super) type Hash = [u8; 32];

/// What the first row of a lane follows.
pub(super) const ORIGIN: Hash = [0; 32];

/// Something that was done, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Its number among all rows; larger ones were begun later.
    pub id: i64,
    /// Which chain it belongs to.
    pub lane: i16,
    /// Which row of that chain it is.
    pub number: i64,
    /// When.
    pub time: Timestamp,
    /// The subject who did it.
    pub user_id: String,
    /// What, such as `api_key.create`.
    pub action: String,
    /// To whom or what.
    pub resource: String,
    /// How it ended: `SUCCESS`, `REFUSED` or `FAILED`.
    pub result: String,
    /// What else there is to say.
    pub metadata: Value,
    /// Where the request came from.
    pub source_address: String,
    /// What the client called itself.
    pub user_agent: Option<String>,
    pub(super) previous_hash: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl AuditRow {
    /// The row of a deed, after the lane's newest: its number and hash.
    pub(super) fn following(
        (number, previous_hash): &(i64, Vec<u8>),
        id: i64,
        lane: i16,
        time: Timestamp,
        Deed { subject, origin, entry }: Deed<'_>,
    ) -> Self {
        let Entry { action, resource, result, metadata } = entry.storable();
        let mut row = Self {
            id,
            lane,
            // One that was tampered up to the largest number is followed by nothing, and nothing is put in.
            number: number.saturating_add(1),
            time,
            user_id: subject.to_owned(),
            action: action.to_owned(),
            resource,
            result: result.as_str().to_owned(),
            metadata,
            source_address: origin.address.to_string(),
            user_agent: origin.user_agent.as_deref().map(without_nul),
            previous_hash: previous_hash.clone(),
            hash: Vec::new(),
        };
        row.hash = row.computed_hash().to_vec();
        row
    }

    /// The hash over everything in the row.
    pub(super) fn computed_hash(&self) -> Hash {
        let content = json!({
            "id": self.id,
            "lane": self.lane,
            "number": self.number,
            "time": self.time.timestamp_micros(),
            "userId": self.user_id,
            "action": self.action,
            "resource": self.resource,
            "result": self.result,
            "metadata": self.metadata,
            "sourceAddress": self.source_address,
            "userAgent": self.user_agent,
        });
        Sha256::new().chain_update(&self.previous_hash).chain_update(canonical(&content)).finalize().into()
    }
}

/// The lane of a subject's rows.
pub(super) fn lane_of(user_id: &str) -> i16 {
    i16::try_from(stable_hash(user_id.as_bytes()) % u64::from(LANES.unsigned_abs())).unwrap_or_default()
}
