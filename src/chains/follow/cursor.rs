//! A place as a text that means nothing to its holder. It is of one chain and filter, and of another it is none.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    place::{Place, Seen},
    slots::{Slots, Told},
};

/// The first byte says what follows, and in which form.
const BLOCKS: u8 = 1;
const SLOTS: u8 = 2;
/// No cursor is longer.
const LONGEST: usize = 8_192;

/// Whether a text looks like a cursor of whatever chain and filter.
pub(super) fn is_one(text: &str) -> bool {
    bytes(text).is_some_and(|bytes| matches!(bytes.first(), Some(&(BLOCKS | SLOTS))))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    (text.len() <= LONGEST).then(|| BASE64_URL_SAFE_NO_PAD.decode(text).ok()).flatten()
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u8,
    of: u64,
    told: u32,
    finalized: u64,
    blocks: Vec<(u64, [u8; 8])>,
}

pub(super) fn write(place: &Place, of: u64) -> String {
    let bytes = |seen: &Seen| {
        let digits = u64::from_str_radix(seen.short().trim_start_matches("0x"), 16).unwrap_or_default();
        (seen.number, digits.to_be_bytes())
    };
    let blocks = place.thinned().into_iter().map(bytes).collect();
    let wire = Wire { version: BLOCKS, of, told: place.told, finalized: place.finalized, blocks };
    BASE64_URL_SAFE_NO_PAD.encode(postcard::to_stdvec(&wire).expect("numbers can always be written"))
}

pub(super) fn read(text: &str, of: u64) -> Option<Place> {
    let bytes = bytes(text)?;
    let (wire, rest): (Wire, _) = postcard::take_from_bytes(&bytes).ok()?;
    if wire.version != BLOCKS || wire.of != of || !rest.is_empty() {
        return None;
    }
    let seen =
        |(number, hash): (u64, [u8; 8])| Seen { number, hash: format!("0x{:016x}", u64::from_be_bytes(hash)).into() };
    Place::of(wire.blocks.into_iter().map(seen).collect(), wire.told, wire.finalized)
}

#[derive(Serialize, Deserialize)]
struct SlotsWire {
    version: u8,
    of: u64,
    base: u64,
    finalized: u64,
    reached: u64,
    told: Vec<(u64, u32, [u8; 8])>,
}

pub(super) fn write_slots(slots: &Slots, of: u64) -> String {
    let Slots { base, finalized, reached, ref told } = *slots;
    // Distances are shorter than slots.
    let told = told.iter().map(|told| (told.slot.wrapping_sub(base), told.count, told.digest.to_be_bytes())).collect();
    let wire = SlotsWire { version: SLOTS, of, base, finalized, reached, told };
    BASE64_URL_SAFE_NO_PAD.encode(postcard::to_stdvec(&wire).expect("numbers can always be written"))
}

pub(super) fn read_slots(text: &str, of: u64) -> Option<Slots> {
    let bytes = bytes(text)?;
    let (wire, rest): (SlotsWire, _) = postcard::take_from_bytes(&bytes).ok()?;
    let SlotsWire { version, of: whose, base, finalized, reached, told } = wire;
    let told = told.into_iter().map(|(distance, count, digest)| {
        Some(Told { slot: base.checked_add(distance)?, count, digest: u64::from_be_bytes(digest) })
    });
    let told = told.collect::<Option<Vec<Told>>>()?;
    let is_ordered = told.windows(2).all(|pair| pair[0].slot < pair[1].slot);
    let is_within = told.iter().all(|told| told.slot > base && told.slot <= reached && told.count > 0);
    let is_good = version == SLOTS && whose == of && rest.is_empty() && is_ordered && is_within && base <= reached;
    is_good.then_some(Slots { base, finalized, reached, told })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_far_as_it_was_written() {
        let block = |number: u64| Seen { number, hash: format!("0x{:0>64x}", u128::from(number) << 100).into() };
        let mut place = Place::of(vec![block(1)], u32::MAX, 1).unwrap();
        for number in 2..300 {
            place.enter(block(number), 256);
        }
        (place.told, place.finalized) = (7, 200);
        let text = write(&place, 42);
        assert!(text.len() < 300, "{}", text.len());
        let back = read(&text, 42).unwrap();
        assert_eq!((back.told, back.finalized, back.newest().number), (7, 200, 299));
        assert!(back.newest().is(299, &block(299).hash) && back.knows(298, &block(298).hash));
        for (bad, of) in [(text.as_str(), 43), (&text[1..], 42), ("", 42), ("AAAA", 42), (&"A".repeat(5_000), 42)] {
            assert_eq!(read(bad, of), None, "{bad}");
        }
        let nothing = Wire { version: BLOCKS, of: 42, told: 0, finalized: 0, blocks: Vec::new() };
        let nothing = BASE64_URL_SAFE_NO_PAD.encode(postcard::to_stdvec(&nothing).unwrap());
        assert_eq!(read(&nothing, 42), None);
    }

    #[test]
    fn slots_come_back_too() {
        let told = |slot: u64| Told { slot, count: 3, digest: u64::MAX - slot };
        let mut slots = Slots { base: 400_000_000, finalized: 399_999_990, reached: 400_000_300, told: Vec::new() };
        slots.told = (400_000_001..400_000_257).map(told).collect();
        let text = write_slots(&slots, 42);
        assert!(text.len() < LONGEST / 2, "{}", text.len());
        assert_eq!(read_slots(&text, 42).as_ref(), Some(&slots));
        assert_eq!((read_slots(&text, 43), read(&text, 42)), (None, None));
        slots.told.reverse();
        let place = Place::of(vec![Seen { number: 1, hash: "0x01".into() }], 0, 0).unwrap();
        for bad in [write_slots(&slots, 42), write(&place, 42)] {
            assert_eq!(read_slots(&bad, 42), None, "{bad}");
        }
    }
}
