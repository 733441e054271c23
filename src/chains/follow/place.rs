//! Up to where a follower was told.

use std::{collections::VecDeque, sync::Arc};

/// So many characters of a hash tell blocks of one number apart: `0x` and eight bytes.
const SHORT: usize = 18;

/// A block that a follower was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// Its hash, or the first eight bytes of it where it was read from a cursor.
    pub hash: Arc<str>,
}

/// Up to where a follower was told. There is always a newest block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chains) struct Place {
    /// Blocks, the newest last; between those of a cursor some are missing.
    seen: VecDeque<Seen>,
    /// How many events of the newest block were told.
    pub(in crate::chains) told: u32,
    /// The newest final block that was told.
    pub(in crate::chains) finalized: u64,
}

impl Seen {
    pub(in crate::chains) fn is(&self, number: u64, hash: &str) -> bool {
        self.number == number && self.short() == short(hash)
    }

    pub(super) fn short(&self) -> &str {
        short(&self.hash)
    }
}

fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}

impl Place {
    /// Nothing if there is no block, or they are not in order.
    pub(super) fn of(seen: Vec<Seen>, told: u32, finalized: u64) -> Option<Self> {
        let is_ordered = seen.windows(2).all(|pair| pair[0].number < pair[1].number);
        (is_ordered && !seen.is_empty()).then(|| Self { seen: seen.into(), told, finalized })
    }

    /// By which it is found again.
    pub(super) fn cursor(&self, of: u64) -> String {
        super::cursor::write(self, of)
    }

    pub(in crate::chains) fn newest(&self) -> &Seen {
        self.seen.back().expect("there is always one")
    }

    pub(in crate::chains) fn oldest(&self) -> &Seen {
        self.seen.front().expect("there is always one")
    }

    pub(in crate::chains) fn knows(&self, number: u64, hash: &str) -> bool {
        self.seen.iter().rev().any(|seen| seen.is(number, hash))
    }

    /// Newest first.
    pub(in crate::chains) fn blocks(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().rev()
    }

    /// The oldest block above this number.
    pub(in crate::chains) fn first_above(&self, number: u64) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.number > number)
    }

    /// Goes on to the next block, of which nothing was told yet, and remembers at most so many.
    pub(in crate::chains) fn enter(&mut self, block: Seen, window: usize) {
        self.seen.push_back(block);
        self.told = 0;
        while self.seen.len() > window {
            self.seen.pop_front();
        }
    }

    /// Goes back to a block that is known, of which everything was told, or which was there before.
    pub(in crate::chains) fn back_to(&mut self, block: &Seen) {
        while self.newest().number > block.number {
            self.seen.pop_back();
        }
        self.told = u32::MAX;
    }

    /// The newest blocks, and older ones at growing distances: enough to find an ancestor not far above the true one.
    pub(super) fn thinned(&self) -> Vec<&Seen> {
        let mut kept: Vec<&Seen> = Vec::new();
        let mut next = 0;
        for (distance, seen) in self.seen.iter().rev().enumerate() {
            if distance >= next || distance + 1 == self.seen.len() {
                kept.push(seen);
                next = if distance < 8 { distance + 1 } else { distance * 2 };
            }
        }
        kept.reverse();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> Seen {
        Seen { number, hash: format!("0x{number:016x}{}", "0".repeat(48)).into() }
    }

    #[test]
    fn it_goes_on_and_back_and_forgets_what_is_old() {
        let mut place = Place::of(vec![block(9), block(10)], u32::MAX, 0).unwrap();
        for number in 11..=400 {
            place.enter(block(number), 256);
        }
        assert_eq!((place.newest().number, place.oldest().number, place.told), (400, 145, 0));
        assert!(place.knows(399, &block(399).hash) && !place.knows(399, &block(398).hash));
        place.back_to(&block(390));
        assert_eq!((place.newest().number, place.told), (390, u32::MAX));
        for bad in [vec![], vec![block(2), block(2)], vec![block(2), block(1)]] {
            assert_eq!(Place::of(bad, 0, 0), None);
        }
        let numbers: Vec<u64> = place.thinned().iter().map(|seen| seen.number).collect();
        assert_eq!(numbers, [145, 262, 326, 358, 374, 382, 383, 384, 385, 386, 387, 388, 389, 390]);
    }
}
