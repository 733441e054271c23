//! Slots: names of keys, tags and whole caches, folded into a space of fixed size.
//!
//! Every entry carries the slots of its key, its cache and its tags, and is dead once one of them was revoked after it
//! began. Names that share a slot are revoked together, which costs a load and nothing else. The same name has the
//! same slot on every node and in every version, as slots travel between nodes: a change of the hash or of the layout
//! is a new `FORMAT` in `shared/envelope.rs`. The tests below pin both.

use std::ops::Range;

use crate::model::stable_hash;

/// A place in the tables of revocations.
pub(super) type Slot = u16;

/// Under 1,000 invalidations of keys a second, one load of 100 ms in 160 is not kept for another's sake.
const KEYS: Range<Slot> = 0..16_384;
const TAGS: Range<Slot> = 16_384..20_480;
const CACHES: Range<Slot> = 20_480..20_544;

/// How many slots there are.
pub(super) const SLOTS: usize = CACHES.end as usize;

pub(super) fn of_key(cache: &str, key: &str) -> Slot {
    // 0xff is in no UTF-8, so no two pairs of names read the same.
    place(&KEYS, &[cache.as_bytes(), &[0xff], key.as_bytes()])
}

pub(super) fn of_tag(tag: &str) -> Slot {
    place(&TAGS, &[tag.as_bytes()])
}

pub(super) fn of_cache(cache: &str) -> Slot {
    place(&CACHES, &[cache.as_bytes()])
}

pub(super) fn is_tag(slot: Slot) -> bool {
    TAGS.contains(&slot)
}

/// The slots of all whole caches: every entry carries one of them.
pub(super) fn of_everything() -> Range<Slot> {
    CACHES
}

fn place(among: &Range<Slot>, parts: &[&[u8]]) -> Slot {
    let hash = stable_hash(parts.iter().copied().flatten());
    // Its low bits alone mix badly.
    let folded = hash ^ (hash >> 32);
    let size = u64::from(among.end - among.start);
    among.start + Slot::try_from(folded % size).expect("less than the size, which is a slot's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_stays_in_its_part() {
        for number in 0..50_000 {
            let name = format!("name-{number}");
            assert!(KEYS.contains(&of_key("prices", &name)));
            assert!(is_tag(of_tag(&name)) && !is_tag(of_key("prices", &name)));
            assert!(of_everything().contains(&of_cache(&name)));
        }
    }

    #[test]
    fn names_spread_evenly() {
        let mut held = vec![0_u32; usize::from(KEYS.end)];
        for number in 0..16_384 * 8 {
            held[usize::from(of_key("prices", &format!("coin-{number}")))] += 1;
        }
        let (emptiest, fullest) = (held.iter().min().unwrap(), held.iter().max().unwrap());
        assert!(*fullest <= 30, "8 on average, {emptiest} to {fullest}");
    }

    /// What other nodes and later versions compute too.
    #[test]
    fn the_same_name_has_the_same_slot_for_ever() {
        let slots = [of_key("prices", "bitcoin"), of_key("prices", ""), of_tag("price:bitcoin"), of_cache("prices")];
        assert_eq!(slots, [271, 14_941, 19_186, 20_513]);
    }
}
