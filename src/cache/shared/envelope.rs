//! The envelope: how an entry travels between nodes, byte by byte.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | format |
//! | 1–2 | schema of the value's type |
//! | 3 | flags: 1 missing, 2 compressed, 4 tombstone |
//! | 4–27 | epoch, clock, created at (ms since 1970): in this order `put.lua` compares them |
//! | 28–43 | fresh until, stale until (ms since 1970) |
//! | 44–47 | how long the load took, in ms |
//! | 48–49 | how many tags, then their slots, two bytes each |
//! | then | the value, compressed above [`PLAIN_BYTES`] |
//!
//! Numbers begin with their highest byte. Times are absolute and nothing derives them again. What cannot be read, for
//! whatever reason, is not an error: it is nothing. A change of this, or of the slots, is a new [`FORMAT`].

use std::time::Duration;

use super::stamp::{Stamp, known};
use crate::{cache::slots::Slot, model::Timestamp};

const FORMAT: u8 = 1;
const MISSING: u8 = 1;
const COMPRESSED: u8 = 2;
const TOMBSTONE: u8 = 4;
/// Values up to this size travel as they are.
const PLAIN_BYTES: usize = 1_024;
/// Larger ones stay in the process, and are not believed when they come from elsewhere.
const MAX_BYTES: usize = 4 << 20;

/// An entry on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) struct Envelope {
    pub(in crate::cache) stamp: Stamp,
    pub(in crate::cache) created_at: Timestamp,
    pub(in crate::cache) fresh_until: Timestamp,
    pub(in crate::cache) stale_until: Timestamp,
    pub(in crate::cache) load_took: Duration,
    pub(in crate::cache) tags: Vec<Slot>,
    pub(in crate::cache) content: Content,
}

/// What an envelope says about its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) enum Content {
    /// The value, as its type encodes it.
    Value(Vec<u8>),
    /// There is none.
    Missing,
    /// It was invalidated, and nothing stamped earlier may be kept.
    Tombstone,
}

impl Envelope {
    /// What stays behind where a key was invalidated.
    pub(super) fn tombstone(stamp: Stamp) -> Self {
        let never = Timestamp::UNIX_EPOCH;
        Self {
            stamp,
            created_at: never,
            fresh_until: never,
            stale_until: never,
            load_took: Duration::ZERO,
            tags: Vec::new(),
            content: Content::Tombstone,
        }
    }

    /// The bytes; `None` for what is too large to travel.
    pub(in crate::cache) fn seal(&self, schema: u16) -> Option<Vec<u8>> {
        let (flags, payload) = match &self.content {
            Content::Value(value) if value.len() > MAX_BYTES => return None,
            Content::Value(value) if value.len() > PLAIN_BYTES => (COMPRESSED, lz4_flex::compress_prepend_size(value)),
            Content::Value(value) => (0, value.clone()),
            Content::Missing => (MISSING, Vec::new()),
            Content::Tombstone => (TOMBSTONE, Vec::new()),
        };
        let count = u16::try_from(self.tags.len()).ok()?;
        let took = u32::try_from(self.load_took.as_millis()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(50 + 2 * self.tags.len() + payload.len());
        bytes.push(FORMAT);
        bytes.extend(schema.to_be_bytes());
        bytes.push(flags);
        bytes.extend(self.stamp.epoch.to_be_bytes());
        bytes.extend(self.stamp.clock.to_be_bytes());
        for time in [self.created_at, self.fresh_until, self.stale_until] {
            // Before 1970 there was nothing to keep; a negative number would compare as the largest.
            bytes.extend(time.timestamp_millis().max(0).to_be_bytes());
        }
        bytes.extend(took.to_be_bytes());
        bytes.extend(count.to_be_bytes());
        bytes.extend(self.tags.iter().flat_map(|slot| slot.to_be_bytes()));
        bytes.extend(payload);
        Some(bytes)
    }

    /// Reads what [`seal`](Self::seal) wrote; `None` for anything else.
    pub(in crate::cache) fn open(bytes: &[u8], schema: u16) -> Option<Self> {
        let mut rest = bytes;
        if take(&mut rest)? != [FORMAT] {
            return None;
        }
        let written = u16::from_be_bytes(take(&mut rest)?);
        let [flags] = take(&mut rest)?;
        // A tombstone holds nothing of the type.
        if written != schema && flags != TOMBSTONE {
            return None;
        }
        let stamp = Stamp { epoch: u64::from_be_bytes(take(&mut rest)?), clock: u64::from_be_bytes(take(&mut rest)?) };
        let [created_at, fresh_until, stale_until] = [time(&mut rest)?, time(&mut rest)?, time(&mut rest)?];
        let load_took = Duration::from_millis(u32::from_be_bytes(take(&mut rest)?).into());
        let count = u16::from_be_bytes(take(&mut rest)?);
        let tag = |_| known(u16::from_be_bytes(take(&mut rest)?).into());
        let tags = (0..count).map(tag).collect::<Option<_>>()?;
        let content = match flags {
            0 => Content::Value(rest.to_vec()),
            COMPRESSED => Content::Value(decompress(rest)?),
            MISSING if rest.is_empty() => Content::Missing,
            TOMBSTONE if rest.is_empty() => Content::Tombstone,
            _ => return None,
        };
        Some(Self { stamp, created_at, fresh_until, stale_until, load_took, tags, content })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn time(rest: &mut &[u8]) -> Option<Timestamp> {
    Timestamp::from_timestamp_millis(i64::from_be_bytes(take(rest)?))
}

fn decompress(bytes: &[u8]) -> Option<Vec<u8>> {
    let (size, _) = lz4_flex::block::uncompressed_size(bytes).ok()?;
    // The size is allocated before the first byte is looked at.
    (size <= MAX_BYTES).then(|| lz4_flex::decompress_size_prepended(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_timestamp_millis(ms).unwrap()
    }

    fn envelope(content: Content) -> Envelope {
        Envelope {
            stamp: Stamp { epoch: 0x0102, clock: 0x0304 },
            created_at: at(0x0506),
            fresh_until: at(0x0708),
            stale_until: at(0x090a),
            load_took: Duration::from_millis(0x0b0c),
            tags: vec![0x4000, 0x4fff],
            content,
        }
    }

    /// What other nodes have in Redis while this version is rolled out. A change here needs a new format.
    #[test]
    fn the_format_is_pinned_to_the_byte() {
        let golden = [
            &[1, 0, 7, 0][..],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 0, 0, 0, 3, 4],
            &[0, 0, 0, 0, 0, 0, 5, 6],
            &[0, 0, 0, 0, 0, 0, 7, 8],
            &[0, 0, 0, 0, 0, 0, 9, 10],
            &[0, 0, 11, 12, 0, 2, 0x40, 0, 0x4f, 0xff],
            b"value",
        ]
        .concat();
        let value = envelope(Content::Value(b"value".to_vec()));
        assert_eq!(value.seal(7).unwrap(), golden);
        assert_eq!(Envelope::open(&golden, 7), Some(value));
        let flags = |content| envelope(content).seal(7).unwrap()[3];
        assert_eq!([flags(Content::Missing), flags(Content::Tombstone)], [1, 4]);
        assert_eq!(flags(Content::Value(vec![0; 1_025])), 2);
    }

    #[test]
    fn a_tombstone_is_one_for_every_type() {
        let tombstone = Envelope::tombstone(Stamp { epoch: 1, clock: 2 });
        let sealed = tombstone.seal(0).unwrap();
        assert_eq!(
            [Envelope::open(&sealed, 7), Envelope::open(&sealed, 8)],
            [Some(tombstone.clone()), Some(tombstone)]
        );
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let sealed = envelope(Content::Value(vec![7; 2_000])).seal(7).unwrap();
        assert_eq!(Envelope::open(&sealed, 8), None, "another schema");
        for (at, wrong) in [(0, 2), (3, 3), (3, 1), (3, 255)] {
            let mut other = sealed.clone();
            other[at] = wrong;
            assert_eq!(Envelope::open(&other, 7), None, "byte {at} is {wrong}");
        }
        let mut huge = sealed.clone();
        huge[54..58].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Envelope::open(&huge, 7), None, "a size that nobody wrote");
        assert_eq!(envelope(Content::Value(vec![7; MAX_BYTES + 1])).seal(7), None);
    }

    proptest! {
        #[test]
        fn any_value_comes_back(value: Vec<u8>, repeats in 1_usize..200) {
            let content = envelope(Content::Value(value.repeat(repeats)));
            prop_assert_eq!(Envelope::open(&content.seal(1).unwrap(), 1), Some(content));
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, flags in 0_u8..8) {
            if bytes.len() > 3 {
                bytes[..4].copy_from_slice(&[FORMAT, 0, 1, flags]);
            }
            let _ = Envelope::open(&bytes, 1);
        }
    }
}
