//! Up to where a follower of an account on Solana was told.
//!
//! Blocks are not known by hashes here. What tells whether something that was told is still so is what was told itself, of
//! each slot that is not final: how much, and a digest of it.

use crate::{chains::solana::log::Mention, model::stable_hash};

/// Slots that are remembered with something in them; after that nothing is told until some of them are final. A chain that
/// is well has some 32 slots that are not.
const MOST: usize = 256;

/// Up to where a follower of an account was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    /// What is up to here is final, and was told or was there before.
    pub(super) base: u64,
    /// The newest final slot that was told.
    pub(super) finalized: u64,
    /// Everything up to here was told, as it was then.
    pub(super) reached: u64,
    /// What was told above the base, the oldest first.
    pub(super) told: Vec<Told>,
}

/// What was told of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) slot: u64,
    pub(super) count: u32,
    pub(super) digest: u64,
}

impl Told {
    fn add(&mut self, mention: &Mention) {
        self.count += 1;
        self.digest = stable_hash(self.digest.to_be_bytes().iter().chain(mention.signature.as_bytes()));
    }

    fn of(slot: u64, mentions: &[Mention]) -> Self {
        let mut told = Self { slot, count: 0, digest: 0 };
        for mention in mentions {
            told.add(mention);
        }
        told
    }
}

impl Slots {
    /// Begins after this slot.
    pub(super) fn at(slot: u64) -> Self {
        Self { base: slot, finalized: slot, reached: slot, told: Vec::new() }
    }

    /// Compares what was told with all that is there now above the base, in order. Returns how much of it was told, and
    /// where that is not the beginning of what is there, the newest slot up to which it is.
    pub(super) fn compare(&self, there: &[Mention]) -> (usize, Option<u64>) {
        let mut known = 0;
        for (place, told) in self.told.iter().enumerate() {
            let rest = &there[known..];
            let here = rest.iter().take_while(|mention| mention.slot == told.slot).count();
            let count = told.count as usize;
            // Of the last one more may have come, or only a part was told.
            let is_right = if place + 1 == self.told.len() { here >= count } else { here == count };
            if !is_right || Told::of(told.slot, &rest[..count]) != *told {
                let first = rest.first().map_or(told.slot, |mention| mention.slot.min(told.slot));
                return (known, Some(first - 1));
            }
            known += count;
        }
        (known, None)
    }

    pub(super) fn back_to(&mut self, slot: u64) {
        self.told.retain(|told| told.slot <= slot);
        self.reached = slot;
    }

    /// Goes on to what is told next. Not if too much would have to be remembered.
    pub(super) fn enter(&mut self, mention: &Mention) -> bool {
        let remembered = self.told.len();
        match self.told.last_mut() {
            Some(last) if last.slot == mention.slot => last.add(mention),
            _ if remembered >= MOST => return false,
            _ => self.told.push(Told::of(mention.slot, std::slice::from_ref(mention))),
        }
        self.reached = mention.slot;
        true
    }

    /// What is final need not be remembered.
    pub(super) fn finalize(&mut self, slot: u64) {
        self.finalized = slot;
        self.base = self.base.max(slot);
        self.told.retain(|told| told.slot > self.base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mention(slot: u64, signature: &str) -> Mention {
        Mention { signature: signature.into(), slot, error: None }
    }

    fn told(mentions: &[Mention]) -> Slots {
        let mut slots = Slots::at(10);
        assert!(mentions.iter().all(|mention| slots.enter(mention)));
        slots
    }

    #[test]
    fn what_is_there_still_is_told_from_what_is_not() {
        let (a, b, c) = (mention(11, "a"), mention(11, "b"), mention(13, "c"));
        let slots = told(&[a.clone(), b.clone(), c.clone()]);
        for (there, expected) in [
            (vec![a.clone(), b.clone(), c.clone()], (3, None)),
            (vec![a.clone(), b.clone(), c.clone(), mention(13, "d"), mention(14, "e")], (3, None)),
            (vec![a.clone(), b.clone()], (2, Some(12))),
            (vec![a.clone(), b.clone(), mention(15, "c")], (2, Some(12))),
            (vec![a.clone(), b.clone(), mention(12, "d"), c.clone()], (2, Some(11))),
            (vec![a.clone(), c.clone()], (0, Some(10))),
            (vec![b.clone(), a.clone(), c.clone()], (0, Some(10))),
            (vec![a.clone(), b.clone(), mention(11, "d"), c.clone()], (0, Some(10))),
            (vec![], (0, Some(10))),
        ] {
            let (known, undone) = slots.compare(&there);
            assert_eq!((known, undone), expected, "{there:?}");
        }
        // Cut off in the middle of a slot.
        assert_eq!(told(std::slice::from_ref(&a)).compare(&[a, b, c]), (1, None));
    }

    #[test]
    fn no_more_is_remembered_than_is_not_final_and_not_too_much() {
        let mut slots = told(&[]);
        for slot in 11..11 + MOST as u64 {
            assert!(slots.enter(&mention(slot, "a")));
        }
        assert!(!slots.enter(&mention(900, "a")));
        slots.finalize(100);
        assert_eq!((slots.base, slots.told.len(), slots.reached), (100, MOST - 90, 266));
        assert!(slots.enter(&mention(900, "a")));
        slots.back_to(104);
        assert_eq!((slots.told.len(), slots.reached), (4, 104));
    }
}
