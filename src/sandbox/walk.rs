//! Simulated prices: a seeded random walk per coin that every vendor sees almost alike.

use std::{collections::HashMap, time::Duration};

use crate::model::{AssetId, Clock, Decimal, Timestamp};

/// How long a simulated price stands still.
const TICK: Duration = Duration::from_millis(500);
/// The most ticks that a walk makes up for after nobody looked.
const MAX_CATCH_UP: u64 = 1_000;
/// The longest step of a tick, in hundredths of a percent.
const STEP_BPS: i64 = 5;
/// How far a vendor may be off the walk, in hundredths of a percent.
const SKEW_BPS: i64 = 8;
/// How far a walk may stray from where it began, as a share.
const LEASH: Decimal = Decimal::from_parts(2, 0, 0, false, 1);

/// What a vendor says about a coin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quote {
    pub(super) amount: Decimal,
    /// In percent.
    pub(super) change24h: Decimal,
}

/// The simulated market.
pub(super) struct Walks {
    seed: u64,
    began: Timestamp,
    clock: Clock,
    coins: HashMap<AssetId, Walk>,
}

struct Walk {
    chance: fastrand::Rng,
    origin: Decimal,
    amount: Decimal,
    skews: [Decimal; 3],
    tick: u64,
}

impl Walks {
    pub(super) fn new(clock: Clock, seed: u64) -> Self {
        Self { seed, began: clock.now(), clock, coins: HashMap::new() }
    }

    /// What the vendor with this number says about the coin now.
    pub(super) fn quote(&mut self, coin: &AssetId, vendor: usize) -> Quote {
        let walk = self.walk(coin);
        let moved = (walk.amount - walk.origin) / walk.origin * Decimal::ONE_HUNDRED;
        let amount = digits(walk.amount + walk.amount * walk.skews[vendor]);
        Quote { amount, change24h: moved.round_dp(4).normalize() }
    }

    /// What the coin is worth now, in the middle of what the vendors say.
    pub(super) fn middle(&mut self, coin: &AssetId) -> Decimal {
        self.walk(coin).amount
    }

    fn walk(&mut self, coin: &AssetId) -> &Walk {
        let elapsed = (self.clock.now() - self.began).to_std().unwrap_or_default();
        let tick = u64::try_from(elapsed.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
        let seed = self.seed;
        let walk = self.coins.entry(coin.clone()).or_insert_with(|| Walk::new(coin, seed));
        walk.advance(tick);
        walk
    }
}

impl Walk {
    fn new(coin: &AssetId, seed: u64) -> Self {
        let own = coin.as_str().bytes().fold(seed, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let mut chance = fastrand::Rng::with_seed(own);
        let origin = match coin.as_str() {
            "bitcoin" | "wrapped-bitcoin" => Decimal::from(97_500),
            "ethereum" => Decimal::from(3_420),
            "solana" => Decimal::from(182),
            "ripple" => Decimal::new(214, 2),
            "dogecoin" => Decimal::new(187, 3),
            "tether" | "usd-coin" | "dai" => Decimal::ONE,
            "shiba-inu" | "pepe" | "bonk" => Decimal::new(1_234, 8),
            _ => Decimal::new(chance.i64(1_000..100_000), 3),
        };
        let mut walk = Self { chance, origin, amount: origin, skews: [Decimal::ZERO; 3], tick: 0 };
        walk.step();
        walk
    }

    fn advance(&mut self, tick: u64) {
        let missed = tick.saturating_sub(self.tick).min(MAX_CATCH_UP);
        self.tick = self.tick.max(tick);
        for _ in 0..missed {
            self.step();
        }
    }

    fn step(&mut self) {
        let bps = |share: i64| Decimal::new(share, 4);
        let strayed = (self.amount - self.origin) / self.origin;
        let step = match self.chance.i64(-STEP_BPS..=STEP_BPS) {
            step if strayed > LEASH => -step.abs(),
            step if strayed < -LEASH => step.abs(),
            step => step,
        };
        self.amount = digits(self.amount + self.amount * bps(step));
        for skew in &mut self.skews {
            *skew = bps(self.chance.i64(-SKEW_BPS..=SKEW_BPS));
        }
    }
}

/// As many digits as a market would quote.
fn digits(amount: Decimal) -> Decimal {
    amount.round_sf(8).unwrap_or(amount).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn walks_are_seeded_move_and_agree_between_vendors() {
        let clock = Clock::stepped_from(Timestamp::UNIX_EPOCH);
        let (mut one, mut same) = (Walks::new(clock.clone(), 7), Walks::new(clock.clone(), 7));
        let mut other = Walks::new(clock, 8);
        let bitcoin = AssetId::new("bitcoin").unwrap();
        let mut seen = Vec::new();
        for _ in 0..50 {
            let quotes = [0, 1, 2].map(|vendor| one.quote(&bitcoin, vendor).amount);
            assert_eq!(quotes[1], same.quote(&bitcoin, 1).amount);
            let (low, high) = (quotes.iter().min().unwrap(), quotes.iter().max().unwrap());
            assert!(high - low <= low * Decimal::new(2, 3), "{quotes:?}");
            seen.push(quotes[0]);
            tokio::time::advance(TICK).await;
        }
        let still = one.quote(&bitcoin, 0).amount;
        assert_eq!(still, one.quote(&bitcoin, 0).amount, "a price moved without time");
        assert_ne!(still, other.quote(&bitcoin, 0).amount);
        seen.dedup();
        assert!(seen.len() > 25, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_stays_on_its_leash() {
        let mut walk = Walk::new(&AssetId::new("solana").unwrap(), 3);
        for _ in 0..50_000 {
            walk.step();
            let strayed = ((walk.amount - walk.origin) / walk.origin).abs();
            assert!(strayed < Decimal::new(21, 2), "{strayed}");
        }
    }
}
