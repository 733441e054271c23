//! Simulated blocks: one for every so many milliseconds since 1970, each with a hash of its own.

use sha2::{Digest, Sha256};

use crate::model::{Clock, Timestamp};

/// The blocks of a chain. They follow from the seed and the clock, so that they are the same after a restart.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    pub(super) clock: Clock,
    pub(super) seed: u64,
    pub(super) chain: &'static str,
    /// How long it takes to make one.
    pub(super) pace_ms: u64,
}

impl Blocks {
    /// The number of the newest one.
    pub(super) fn newest(&self) -> u64 {
        number_at(self.clock.now(), self.pace_ms)
    }

    pub(super) fn hash(&self, number: u64) -> [u8; 32] {
        digest(&[self.chain.as_bytes(), &self.seed.to_le_bytes(), &number.to_le_bytes()])
    }

    /// When it was made, in seconds since 1970.
    pub(super) fn seconds(&self, number: u64) -> u64 {
        number.saturating_mul(self.pace_ms) / 1_000
    }
}

/// The number of the newest block at a time, of a chain that makes one in so many milliseconds.
pub(super) fn number_at(now: Timestamp, pace_ms: u64) -> u64 {
    u64::try_from(now.timestamp_millis()).unwrap_or_default() / pace_ms
}

/// 32 bytes that depend on each of the parts.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn blocks_follow_the_clock_and_the_seed() {
        let clock = Clock::stepped_from(Timestamp::from_timestamp(1_000_000, 0).unwrap());
        let blocks = |seed| Blocks { clock: clock.clone(), seed, chain: "ethereum", pace_ms: 2_000 };
        let (one, same, other) = (blocks(7), blocks(7), blocks(8));
        assert_eq!((one.newest(), one.seconds(one.newest())), (500_000, 1_000_000));
        tokio::time::advance(Duration::from_millis(3_999)).await;
        assert_eq!(one.newest(), 500_001);
        assert_eq!(one.hash(5), same.hash(5));
        assert_ne!(one.hash(5), other.hash(5));
        assert_ne!(one.hash(5), one.hash(6));
    }
}
