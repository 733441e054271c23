//! The clock that the nodes share, and what they tell each other by it.

use crate::{
    cache::slots::{SLOTS, Slot},
    store::NodeId,
};

/// A point on the shared clock. Every revocation is one step, so the steps number the messages too.
///
/// The epoch is new, and later, whenever Redis has lost its table: clocks of different epochs cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cache) struct Stamp {
    pub(in crate::cache) epoch: u64,
    pub(in crate::cache) clock: u64,
}

impl Stamp {
    /// A point that Redis or another node tells of. The scripts count exactly below 2^53 only: a later epoch would be one
    /// that no table can ever follow.
    fn told(epoch: u64, clock: u64) -> Option<Self> {
        (epoch < 1 << 53 && clock < 1 << 53).then_some(Self { epoch, clock })
    }
}

/// One step of the clock, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bulletin {
    pub(super) node: NodeId,
    pub(super) stamp: Stamp,
    pub(super) slots: Vec<Slot>,
}

/// What Redis knows beyond what it was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) stamp: Stamp,
    /// Slots and the clock of their latest revocation.
    pub(super) revoked: Vec<(Slot, u64)>,
}

impl Bulletin {
    /// Reads what `revoke.lua` and `table.lua` publish: node, epoch, clock, slots.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(message).ok()?.split(' ');
        let node = NodeId(u64::from_str_radix(words.next()?, 16).ok()?);
        let stamp = Stamp::told(words.next()?.parse().ok()?, words.next()?.parse().ok()?)?;
        let slots = words.map(|word| word.parse().ok().and_then(known)).collect::<Option<_>>()?;
        Some(Self { node, stamp, slots })
    }
}

impl Table {
    /// Reads what `table.lua` returns: epoch, clock, then slots and clocks in turn.
    pub(super) fn parse(numbers: &[u64]) -> Option<Self> {
        let (&[epoch, clock], pairs) = numbers.split_first_chunk()?;
        let pair = |pair: &[u64]| Some((known(*pair.first()?)?, *pair.get(1)?));
        let revoked = pairs.chunks(2).map(pair).collect::<Option<_>>()?;
        Some(Self { stamp: Stamp::told(epoch, clock)?, revoked })
    }
}

/// Another version may have more slots; then neither message nor table can be understood here.
pub(super) fn known(number: u64) -> Option<Slot> {
    Slot::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulletins_and_tables_are_read_as_the_scripts_write_them() {
        let stamp = Stamp { epoch: 1_800_000_000_000_001, clock: 7 };
        let read = Bulletin::parse(b"00000000000000ff 1800000000000001 7 3 20543");
        assert_eq!(read, Some(Bulletin { node: NodeId(255), stamp, slots: vec![3, 20_543] }));
        assert!(Bulletin::parse(b"ff 5 0").unwrap().slots.is_empty());
        for bad in [&b""[..], b"ff 5", b"ff 5 x", b"ff 5 6 20544", b"ff 5 6 ", b"ff 9007199254740992 1", b"\xff 5 6"] {
            assert_eq!(Bulletin::parse(bad), None, "{bad:?}");
        }
        assert_eq!(
            Table::parse(&[9, 8, 3, 7]),
            Some(Table { stamp: Stamp { epoch: 9, clock: 8 }, revoked: vec![(3, 7)] })
        );
        for bad in [&[][..], &[9], &[9, 8, 3], &[9, 8, 20_544, 7]] {
            assert_eq!(Table::parse(bad), None, "{bad:?}");
        }
    }
}
