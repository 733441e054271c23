//! Chance as a parameter: jitter and early refresh draw from a seedable source.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

/// A shared source of random numbers. Not for secrets.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Mutex<fastrand::Rng>>);

impl Chance {
    /// A source that differs on every start.
    #[must_use]
    pub fn from_entropy() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    /// A source that gives the same numbers for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A number in `[0, 1)`.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.0.lock().f64()
    }

    /// Any number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.lock().u64(..)
    }

    /// A duration in `[duration × (1 − spread), duration × (1 + spread)]`.
    #[must_use]
    pub fn spread(&self, duration: Duration, spread: f64) -> Duration {
        let factor = 1.0 + spread.clamp(0.0, 1.0) * (2.0 * self.fraction() - 1.0);
        duration.mul_f64(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_stays_within_its_bounds() {
        let chance = Chance::seeded(7);
        let base = Duration::from_secs(10);
        for _ in 0..1_000 {
            let drawn = chance.spread(base, 0.1);
            assert!(drawn >= Duration::from_secs(9) && drawn <= Duration::from_secs(11), "{drawn:?}");
        }
    }
}
