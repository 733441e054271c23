//! Whether the audit log is as it was written, and where it first is not.

use std::fmt;

use super::{
    Audit, AuditRow,
    checkpoint::{Checkpoint, hex},
    row::{LANES, ORIGIN, lane_of},
    store,
};
use crate::store::DatabaseError;

/// What an inspection of the audit log has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was written.
    Sound {
        /// How many rows there are.
        rows: u64,
        /// How many checkpoints there are.
        checkpoints: u64,
    },
    /// Something was changed; this comes first.
    Broken(Flaw),
}

/// Where the audit log is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The first bad row's id; the one after the hole for a row that is missing. None where rows are missing at the end, or
    /// where it is a checkpoint that is bad.
    pub row: Option<i64>,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "row {row}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl Audit {
    /// Looks at every row and every checkpoint.
    pub async fn verify(&self) -> Result<Verdict, DatabaseError> {
        // Before the rows: what is written meanwhile is in no checkpoint yet.
        let (vouched, checkpoints) = self.verify_checkpoints().await?;
        let mut flaws = Vec::new();
        if let Some(row) = store::outside(self.log()).await? {
            flaws.push(Flaw { row: Some(row), what: "it is in no lane: it was put in".to_owned() });
        }
        let mut rows = 0;
        for lane in 0..LANES {
            let (count, flaw) = self.verify_lane(i16::try_from(lane).unwrap_or_default()).await?;
            rows += count;
            flaws.extend(flaw);
        }
        // What a lane says of a row is more than what a checkpoint does.
        flaws.extend(vouched);
        // A missing end has no row to be named by, so it comes last.
        let first = flaws.into_iter().min_by_key(|flaw| flaw.row.unwrap_or(i64::MAX));
        Ok(first.map_or(Verdict::Sound { rows, checkpoints }, Verdict::Broken))
    }

    async fn verify_lane(&self, lane: i16) -> Result<(u64, Option<Flaw>), DatabaseError> {
        let (mut id, mut number, mut hash) = (0, 0, ORIGIN.to_vec());
        loop {
            let rows = store::lane(self.log(), lane, number).await?;
            if rows.is_empty() {
                return Ok((number.unsigned_abs(), None));
            }
            for row in rows {
                if let Some(what) = flaw(&row, (id, number), &hash) {
                    return Ok((number.unsigned_abs(), Some(Flaw { row: Some(row.id), what })));
                }
                (id, number, hash) = (row.id, row.number, row.hash);
            }
        }
    }

    /// Every checkpoint is signed and follows the one before, and what it vouches for is still there: whoever rewrites a
    /// whole chain makes it fit, but not that. Gives what is wrong, and how many there are.
    async fn verify_checkpoints(&self) -> Result<(Vec<Flaw>, u64), DatabaseError> {
        let key = self.public_key();
        let (mut newest, mut count): (Option<Checkpoint>, u64) = (None, 0);
        loop {
            let page = store::checkpoints(self.log(), newest.as_ref().map_or(0, |before| before.id)).await?;
            if page.is_empty() {
                return Ok((Vec::new(), count));
            }
            for checkpoint in page {
                if !checkpoint.is_genuine(&key, newest.as_ref()) {
                    let what = format!("checkpoint {} is not signed as the one that follows", checkpoint.id);
                    return Ok((vec![Flaw { row: None, what }], count));
                }
                let flaws = self.verify_heads(&checkpoint, newest.as_ref()).await?;
                if !flaws.is_empty() {
                    return Ok((flaws, count));
                }
                count += 1;
                newest = Some(checkpoint);
            }
        }
    }

    /// What is wrong with what a checkpoint vouches for, after the last good one.
    async fn verify_heads(
        &self,
        checkpoint: &Checkpoint,
        good: Option<&Checkpoint>,
    ) -> Result<Vec<Flaw>, DatabaseError> {
        let (mut flaws, id) = (Vec::new(), checkpoint.id);
        for (lane, head) in &checkpoint.heads {
            let sound = good.and_then(|good| good.heads.get(lane)).map_or(0, |head| head.number);
            match store::find(self.log(), *lane, head.number).await? {
                Some(row) if hex(&row.hash) == head.hash => {}
                Some(_) => {
                    let row = store::lane(self.log(), *lane, sound).await?.first().map(|row| row.id);
                    let what =
                        format!("of lane {lane}, what checkpoint {id} vouched for after number {sound} was rewritten");
                    flaws.push(Flaw { row, what });
                }
                None => {
                    let number = head.number;
                    let what = format!("lane {lane} was cut off: checkpoint {id} vouches for it up to number {number}");
                    flaws.push(Flaw { row: None, what });
                }
            }
        }
        Ok(flaws)
    }
}

/// What is wrong with a row that should follow this one.
fn flaw(row: &AuditRow, (id, before): (i64, i64), hash: &[u8]) -> Option<String> {
    let place = format!("number {} of lane {}", row.number, row.lane);
    if row.number != before + 1 {
        Some(format!("{place} follows number {before}: what was between is missing"))
    } else if row.previous_hash != hash {
        Some(format!("{place} does not follow the row before it: one of the two was exchanged"))
    } else if row.hash != row.computed_hash() || row.lane != lane_of(&row.user_id) {
        Some(format!("{place} is not as it was written"))
    } else if row.id <= id {
        Some(format!("{place} has another id than it was given"))
    } else {
        None
    }
}
