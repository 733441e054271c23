//! Where in a cluster a name lives: slots, and the partitions that spread topics evenly over them.

use std::sync::LazyLock;

use crate::model::stable_hash;

/// How many partitions topics are spread over. The same on every node and for ever: it decides where things are.
pub const PARTITIONS: u16 = 32;

/// How many slots a cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// The partition of a name, which no node and no version computes differently.
#[must_use]
pub fn partition_of(name: &str) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder is below its divisor")]
    let partition = (stable_hash(name.as_bytes()) % u64::from(PARTITIONS)) as u16;
    partition
}

/// The hash tag of a partition: the first number whose slot lies in the partition's share of all slots.
pub(super) fn tag(partition: u16) -> &'static str {
    static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let share = SLOTS / PARTITIONS;
        let lies_in = |tag: &String, partition| slot(tag.as_bytes()) / share == partition;
        let first = |partition| (0..u32::MAX).map(|number| number.to_string()).find(|tag| lies_in(tag, partition));
        (0..PARTITIONS).map(|partition| first(partition).expect("there are enough numbers for every slot")).collect()
    });
    &TAGS[usize::from(partition % PARTITIONS)]
}

/// The slot of a key or channel: that of its hash tag, if it has one.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let length = key[open + 1..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &key[open + 1..open + 1 + length])
}

/// CRC-16/XMODEM, as the cluster specification says.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The slots that `CLUSTER KEYSLOT` of a real server gives.
    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        for (key, expected) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("user:{foo}:1", 12_182),
            ("{foo}{bar}", 12_182),
            ("foo{}", 5_542),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key:?}");
        }
    }

    #[test]
    fn the_tags_spread_evenly_and_never_change() {
        let slots: Vec<u16> = (0..PARTITIONS).map(|partition| slot(tag(partition).as_bytes())).collect();
        for (partition, slot) in slots.iter().enumerate() {
            assert_eq!(usize::from(*slot) / 512, partition);
        }
        assert_eq!(slots.iter().collect::<HashSet<_>>().len(), 32);
        assert_eq!([tag(0), tag(1), tag(31)], ["10", "113", "40"]);
    }

    #[test]
    fn a_names_partition_never_changes() {
        assert_eq!(["price:bitcoin", "price:ethereum", ""].map(partition_of), [30, 17, 5]);
    }
}
