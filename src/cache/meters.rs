//! The cache's metrics, as handles taken once so that a hit costs one addition.

use metrics::{Counter, Gauge, counter, gauge};

use super::entry::Lookup;
use crate::store::RedisError;

pub(super) struct Meters {
    hit: Counter,
    stale: Counter,
    negative: Counter,
    miss: Counter,
    joined: Counter,
    found: Counter,
    missing: Counter,
    failed: Counter,
    invalidations: Counter,
    entries: Gauge,
    weight: Gauge,
    pub(super) shared: SharedMeters,
}

/// What passes between this process and the shared tier.
pub(super) struct SharedMeters {
    hit: Counter,
    miss: Counter,
    dead: Counter,
    failed_read: Counter,
    kept: Counter,
    refused: Counter,
    failed_write: Counter,
    skipped: Counter,
}

impl SharedMeters {
    fn new(cache: &'static str) -> Self {
        let shared = |op: &'static str, outcome: &'static str| counter!("tidegate_cache_shared_total", "cache" => cache, "op" => op, "outcome" => outcome);
        Self {
            hit: shared("read", "hit"),
            miss: shared("read", "miss"),
            dead: shared("read", "dead"),
            failed_read: shared("read", "failed"),
            kept: shared("write", "kept"),
            refused: shared("write", "refused"),
            failed_write: shared("write", "failed"),
            skipped: shared("any", "skipped"),
        }
    }

    pub(super) fn hit(&self) {
        self.hit.increment(1);
    }

    /// Nothing is there, or nothing of any use.
    pub(super) fn missed<T>(&self) -> Option<T> {
        self.miss.increment(1);
        None
    }

    pub(super) fn found_dead<T>(&self) -> Option<T> {
        self.dead.increment(1);
        None
    }

    pub(super) fn failed_read<T>(&self) -> Option<T> {
        self.failed_read.increment(1);
        None
    }

    /// Nothing was asked or written, as the mirror is blind or too much is under way.
    pub(super) fn skipped(&self) {
        self.skipped.increment(1);
    }

    pub(super) fn wrote(&self, outcome: &Result<bool, RedisError>) {
        match outcome {
            Ok(true) => self.kept.increment(1),
            Ok(false) => self.refused.increment(1),
            Err(_) => self.failed_write.increment(1),
        }
    }
}

impl Meters {
    pub(super) fn new(cache: &'static str) -> Self {
        let lookups =
            |outcome: &'static str| counter!("tidegate_cache_lookups_total", "cache" => cache, "outcome" => outcome);
        let loads =
            |outcome: &'static str| counter!("tidegate_cache_loads_total", "cache" => cache, "outcome" => outcome);
        Self {
            hit: lookups("hit"),
            stale: lookups("stale"),
            negative: lookups("negative"),
            miss: lookups("miss"),
            joined: lookups("joined"),
            found: loads("found"),
            missing: loads("missing"),
            failed: loads("failed"),
            invalidations: counter!("tidegate_cache_invalidations_total", "cache" => cache),
            entries: gauge!("tidegate_cache_entries", "cache" => cache),
            weight: gauge!("tidegate_cache_weight_bytes", "cache" => cache),
            shared: SharedMeters::new(cache),
        }
    }

    /// A lookup answered from what was kept.
    pub(super) fn answered<V>(&self, lookup: &Lookup<V>) {
        match lookup {
            Lookup::Found(hit) if hit.stale => self.stale.increment(1),
            Lookup::Found(_) => self.hit.increment(1),
            Lookup::Missing => self.negative.increment(1),
        }
    }

    /// A lookup that had to wait for a load: its own, or one that was under way.
    pub(super) fn waited(&self, joined: bool) {
        if joined { self.joined.increment(1) } else { self.miss.increment(1) }
    }

    /// One key of a load came back: with a value, with none, or (`None`) with an error.
    pub(super) fn loaded(&self, found: Option<bool>) {
        match found {
            Some(true) => self.found.increment(1),
            Some(false) => self.missing.increment(1),
            None => self.failed.increment(1),
        }
    }

    pub(super) fn invalidated(&self) {
        self.invalidations.increment(1);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge of more than 2^52 bytes is not expected")]
    pub(super) fn sized(&self, (entries, weight): (u64, u64)) {
        self.entries.set(entries as f64);
        self.weight.set(weight as f64);
    }
}
