//! Whether the audit log is as it was written, and where it first is not.

use std::fmt;

use super::{
    Audit, AuditRow,
    checkpoint::{Checkpoint, hex},
    row::{LANES, ORIGIN, lane_of},
    store::{self, Unreadable},
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

/// What the checkpoints say.
#[derive(Debug, Default)]
struct Vouched {
    /// How many are good.
    checkpoints: u64,
    /// The first that is not genuine.
    flaw: Option<Flaw>,
    /// The lanes that are not as the first one says that does not fit the rows.
    departures: Vec<Departure>,
}

/// A lane that is not as a checkpoint says.
#[derive(Debug)]
pub(super) struct Departure {
    lane: i16,
    checkpoint: i64,
    /// The checkpoints before vouch for the lane up to this number, and are right.
    sound: i64,
    /// This one vouches for it up to this number.
    upto: i64,
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
        let vouched = self.verify_checkpoints().await?;
        let (mut flaws, mut rows) = (Vec::new(), 0);
        for lane in 0..LANES {
            let (good, flaw) = self.verify_lane(lane).await?;
            rows += good.unsigned_abs();
            flaws.extend(match vouched.departures.iter().find(|departure| departure.lane == lane) {
                Some(departure) if departure.upto <= good => Some(self.rewritten(departure).await?),
                // What a lane says of a row is more than what a checkpoint does.
                Some(departure) => flaw.or_else(|| Some(cut_off(departure))),
                None => flaw,
            });
        }
        if let Some(row) = store::outside(self.log()).await? {
            let what = "it is in no lane: its lane or number was changed, or it was put in".to_owned();
            flaws.push(Flaw { row: Some(row), what });
        }
        flaws.extend(vouched.flaw);
        // A missing end has no row to be named by, so it comes last.
        let first = flaws.into_iter().min_by_key(|flaw| flaw.row.unwrap_or(i64::MAX));
        Ok(first.map_or(Verdict::Sound { rows, checkpoints: vouched.checkpoints }, Verdict::Broken))
    }

    /// The number up to which a lane's rows follow each other, and what is wrong with the next.
    async fn verify_lane(&self, lane: i16) -> Result<(i64, Option<Flaw>), DatabaseError> {
        let (mut before, mut number): (Option<AuditRow>, i64) = (None, 0);
        loop {
            let rows = store::lane(self.log(), lane, number).await?;
            if rows.is_empty() {
                return Ok((number, None));
            }
            for row in rows {
                let (id, what) = match &row {
                    Ok(row) => (row.id, flaw(row, before.as_ref())),
                    Err(Unreadable { id, column }) => {
                        let what = format!("its column {column} cannot be read, after number {number} of lane {lane}");
                        (*id, Some(what))
                    }
                };
                if let Some(what) = what {
                    return Ok((number, Some(Flaw { row: Some(id), what })));
                }
                before = row.ok();
                number += 1;
            }
        }
    }

    /// Every checkpoint is signed and follows the one before, and what it vouches for is still there: whoever rewrites a
    /// whole chain makes it fit, but not that.
    async fn verify_checkpoints(&self) -> Result<Vouched, DatabaseError> {
        let key = self.public_key();
        let (mut newest, mut checkpoints): (Option<Checkpoint>, u64) = (None, 0);
        loop {
            let page = store::checkpoints(self.log(), newest.as_ref().map_or(0, |before| before.id)).await?;
            if page.is_empty() {
                return Ok(Vouched { checkpoints, ..Vouched::default() });
            }
            for found in page {
                let checkpoint = match found {
                    Ok(checkpoint) if checkpoint.is_genuine(&key, newest.as_ref()) => checkpoint,
                    Ok(Checkpoint { id, .. }) | Err(Unreadable { id, .. }) => {
                        let what = format!("checkpoint {id} is not signed as the one that follows");
                        let flaw = Some(Flaw { row: None, what });
                        return Ok(Vouched { checkpoints, flaw, ..Vouched::default() });
                    }
                };
                let departures = self.astray(&checkpoint, newest.as_ref()).await?;
                if !departures.is_empty() {
                    return Ok(Vouched { checkpoints, departures, ..Vouched::default() });
                }
                checkpoints += 1;
                newest = Some(checkpoint);
            }
        }
    }

    /// Where the rows are not what a checkpoint vouches for. `good` is an earlier one, from which they do not depart.
    pub(super) async fn astray(
        &self,
        checkpoint: &Checkpoint,
        good: Option<&Checkpoint>,
    ) -> Result<Vec<Departure>, DatabaseError> {
        let mut departures = Vec::new();
        for (lane, head) in &checkpoint.heads {
            let before = good.and_then(|good| good.heads.get(lane));
            if before == Some(head) {
                continue;
            }
            let found = store::find(self.log(), *lane, head.number).await?;
            if !found.is_some_and(|found| found.is_ok_and(|row| hex(&row.hash) == head.hash)) {
                let sound = before.map_or(0, |head| head.number);
                departures.push(Departure { lane: *lane, checkpoint: checkpoint.id, sound, upto: head.number });
            }
        }
        Ok(departures)
    }

    /// A lane that fits up to where a checkpoint has another row.
    async fn rewritten(&self, departure: &Departure) -> Result<Flaw, DatabaseError> {
        let Departure { lane, checkpoint, sound, .. } = departure;
        let first = store::find(self.log(), *lane, sound + 1).await?;
        let row = first.and_then(Result::ok).map(|row| row.id);
        let what =
            format!("of lane {lane}, what checkpoint {checkpoint} vouched for after number {sound} was rewritten");
        Ok(Flaw { row, what })
    }
}

fn cut_off(Departure { lane, checkpoint, upto, .. }: &Departure) -> Flaw {
    let what = format!("lane {lane} was cut off: checkpoint {checkpoint} vouches for it up to number {upto}");
    Flaw { row: None, what }
}

/// What is wrong with a row that should follow this one, or begin its lane.
fn flaw(row: &AuditRow, before: Option<&AuditRow>) -> Option<String> {
    let place = format!("number {} of lane {}", row.number, row.lane);
    let (number, hash) = before.map_or((0, &ORIGIN[..]), |before| (before.number, &before.hash));
    if row.number != number + 1 {
        Some(format!("{place} follows number {number}: what was between is missing"))
    } else if row.hash != row.computed_hash() || row.lane != lane_of(&row.user_id) {
        Some(format!("{place} is not as it was written"))
    } else if row.previous_hash != hash {
        // Each fits its own hash: whoever changed one of the two changed its hash, too.
        Some(match before {
            Some(before) => format!("{place} does not follow row {}: one of the two was changed", before.id),
            None => format!("{place} is not as it was written"),
        })
    } else {
        None
    }
}
