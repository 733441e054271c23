//! How long tries took, counted so that recording and reading cost the same however many there were.

use std::time::Duration;

use super::Latency;

/// Steps per doubling; a quantile is at most an eighth too high.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Doublings of a microsecond that are told apart: up to 67 s, beyond the longest sensible try.
const DOUBLINGS: usize = 26;
const CELLS: usize = DOUBLINGS * STEPS;

/// A histogram of durations in logarithmic cells.
#[derive(Debug, Clone)]
pub(super) struct Durations {
    cells: [u32; CELLS],
    count: u64,
    sum: Duration,
}

impl Durations {
    pub(super) fn new() -> Self {
        Self { cells: [0; CELLS], count: 0, sum: Duration::ZERO }
    }

    pub(super) fn record(&mut self, duration: Duration) {
        self.cells[cell_of(duration)] += 1;
        self.count += 1;
        self.sum += duration;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(super) fn summary(&self) -> Latency {
        if self.count == 0 {
            return Latency::default();
        }
        let mean = self.sum / u32::try_from(self.count).unwrap_or(u32::MAX);
        Latency {
            mean,
            p50: self.quantile(self.count.div_ceil(2)),
            p95: self.quantile((self.count * 95).div_ceil(100)),
            p99: self.quantile((self.count * 99).div_ceil(100)),
        }
    }

    /// The upper bound of the cell that holds the `rank`-th shortest duration, counted from 1.
    fn quantile(&self, rank: u64) -> Duration {
        let mut seen = 0;
        let cell = self.cells.iter().position(|&count| {
            seen += u64::from(count);
            seen >= rank
        });
        Duration::from_micros(upper_bound(cell.unwrap_or(CELLS - 1)))
    }
}

fn cell_of(duration: Duration) -> usize {
    let micros = usize::try_from(duration.as_micros()).unwrap_or(usize::MAX);
    if micros < STEPS {
        return micros;
    }
    let doubling = micros.ilog2() - STEP_BITS;
    let step = (micros >> doubling) & (STEPS - 1);
    ((doubling as usize + 1) * STEPS + step).min(CELLS - 1)
}

/// The longest duration of a cell, in microseconds.
fn upper_bound(cell: usize) -> u64 {
    if cell < STEPS {
        return cell as u64;
    }
    let doubling = cell / STEPS - 1;
    let step = cell % STEPS;
    ((STEPS + step + 1) as u64 * (1 << doubling)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_cell_and_within_an_eighth_of_its_bound() {
        for micros in (0..2_000).chain((1..26).map(|bit| (1_u64 << bit) + 1)).chain([59_999_999]) {
            let bound = upper_bound(cell_of(Duration::from_micros(micros)));
            assert!(bound >= micros && bound - micros <= micros / 8, "{micros} µs got the bound {bound}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_recorded_durations() {
        let mut durations = Durations::new();
        assert_eq!(durations.summary(), Latency::default());
        for milli in 1..=100 {
            durations.record(Duration::from_millis(milli));
        }
        let latency = durations.summary();
        assert_eq!(latency.mean, Duration::from_micros(50_500));
        let near = |got: Duration, milli: u64| {
            let exact = Duration::from_millis(milli);
            got >= exact && got <= exact + exact / 8
        };
        assert!(near(latency.p50, 50) && near(latency.p99, 99), "{latency:?}");
    }

    #[test]
    fn a_hang_beyond_the_scale_lands_in_the_last_cell() {
        assert_eq!(cell_of(Duration::from_hours(1)), CELLS - 1);
    }
}
