//! Whether the audit log is as it was written, and where it first is not.

use std::fmt;

use super::{
    Audit, AuditRow,
    checkpoint::{Checkpoint, Head, hex},
    row::{LANES, ORIGIN},
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
        let (mut flaws, checkpoints, newest) = self.verify_checkpoints().await?;
        let mut rows = 0;
        for lane in 0..LANES {
            let (count, flaw) = self.verify_lane(i16::try_from(lane).unwrap_or_default()).await?;
            rows += count;
            flaws.extend(flaw);
        }
        if let Some(newest) = newest {
            flaws.extend(self.verify_heads(&newest).await?);
        }
        // A missing end has no row to be named by, so it comes last.
        let first = flaws.into_iter().min_by_key(|flaw| flaw.row.unwrap_or(i64::MAX));
        Ok(first.map_or(Verdict::Sound { rows, checkpoints }, Verdict::Broken))
    }

    async fn verify_lane(&self, lane: i16) -> Result<(u64, Option<Flaw>), DatabaseError> {
        let (mut number, mut hash) = (0, ORIGIN.to_vec());
        loop {
            let rows = store::lane(self.log(), lane, number).await?;
            if rows.is_empty() {
                return Ok((number.unsigned_abs(), None));
            }
            for row in rows {
                if let Some(what) = flaw(&row, number, &hash) {
                    return Ok((number.unsigned_abs(), Some(Flaw { row: Some(row.id), what })));
                }
                (number, hash) = (row.number, row.hash);
            }
        }
    }

    /// Every checkpoint is signed and follows the one before. Gives the flaw, how many there are, and the newest good one.
    async fn verify_checkpoints(&self) -> Result<(Vec<Flaw>, u64, Option<Checkpoint>), DatabaseError> {
        let key = self.public_key();
        let (mut newest, mut count): (Option<Checkpoint>, u64) = (None, 0);
        loop {
            let page = store::checkpoints(self.log(), newest.as_ref().map_or(0, |before| before.id)).await?;
            if page.is_empty() {
                return Ok((Vec::new(), count, newest));
            }
            for checkpoint in page {
                if !checkpoint.is_genuine(&key, newest.as_ref()) {
                    let what = format!("checkpoint {} is not signed as the one that follows", checkpoint.id);
                    return Ok((vec![Flaw { row: None, what }], count, newest));
                }
                count += 1;
                newest = Some(checkpoint);
            }
        }
    }

    /// What a checkpoint vouches for is still there. Who rewrites a whole chain makes it fit, but not this.
    async fn verify_heads(&self, newest: &Checkpoint) -> Result<Vec<Flaw>, DatabaseError> {
        let mut flaws = Vec::new();
        for (lane, head) in &newest.heads {
            match store::find(self.log(), *lane, head.number).await? {
                Some(row) if hex(&row.hash) == head.hash => continue,
                Some(_) => {}
                None => {
                    let (number, id) = (head.number, newest.id);
                    let what = format!("lane {lane} was cut off: checkpoint {id} vouches for it up to number {number}");
                    flaws.push(Flaw { row: None, what });
                    continue;
                }
            }
            let sound = self.last_sound_number(*lane).await?;
            let row = store::lane(self.log(), *lane, sound).await?.first().map(|row| row.id);
            let what =
                format!("of lane {lane}, what checkpoint {} vouched for after number {sound} was rewritten", newest.id);
            flaws.push(Flaw { row, what });
        }
        Ok(flaws)
    }

    async fn is_there(&self, lane: i16, head: &Head) -> Result<bool, DatabaseError> {
        let found = store::find(self.log(), lane, head.number).await?;
        Ok(found.is_some_and(|row| hex(&row.hash) == head.hash))
    }

    /// Up to which number of a lane the checkpoints still agree with what is there.
    async fn last_sound_number(&self, lane: i16) -> Result<i64, DatabaseError> {
        let (mut after, mut sound) = (0, 0);
        loop {
            let page = store::checkpoints(self.log(), after).await?;
            let Some(last) = page.last() else { return Ok(sound) };
            after = last.id;
            for head in page.iter().filter_map(|checkpoint| checkpoint.heads.get(&lane)) {
                if !self.is_there(lane, head).await? {
                    return Ok(sound);
                }
                sound = head.number;
            }
        }
    }
}

/// What is wrong with a row that should follow this one.
fn flaw(row: &AuditRow, before: i64, hash: &[u8]) -> Option<String> {
    let place = format!("number {} of lane {}", row.number, row.lane);
    if row.number != before + 1 {
        Some(format!("{place} follows number {before}: what was between is missing"))
    } else if row.previous_hash != hash {
        Some(format!("{place} does not follow the row before it: one of the two was exchanged"))
    } else if row.hash != row.computed_hash() {
        Some(format!("{place} is not as it was written"))
    } else {
        None
    }
}
