//! What all followers of a chain have in common: their bounds, and what is counted of them.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
};

use metrics::{counter, gauge};
use parking_lot::Mutex;

use super::Seen;
use crate::{config::ChainsConfig, model::ChainId};

/// As many reorganisations are remembered, so that each is counted once however many follow the chain.
const REMEMBERED: usize = 64;

/// What all followers of a chain have in common. Clones share everything.
#[derive(Debug, Clone)]
pub(in crate::chains) struct Following(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_backfill: u64,
    window: usize,
    newest: AtomicU64,
    /// The lowest block of each branch that was undone of late.
    undone: Mutex<VecDeque<Seen>>,
}

/// One that follows, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Counted(ChainId);

impl Following {
    /// `pace` blocks of the family are one of the settings' blocks.
    pub(in crate::chains) fn new(config: &ChainsConfig, pace: u64) -> Self {
        Self(Arc::new(Shared {
            max_backfill: config.max_backfill_blocks * pace,
            window: config.window_blocks,
            newest: AtomicU64::new(0),
            undone: Mutex::default(),
        }))
    }

    /// Who is more blocks behind is turned away.
    pub(super) fn max_backfill(&self) -> u64 {
        self.0.max_backfill
    }

    /// As many blocks are remembered.
    pub(super) fn window(&self) -> usize {
        self.0.window
    }

    /// A follower has told everything up to a block.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people, and is exact up to 2^53")]
    pub(super) fn reached(&self, chain: &ChainId, number: u64) {
        // The furthest one counts; others may be catching up.
        let furthest = self.0.newest.fetch_max(number, Relaxed).max(number);
        gauge!("tidegate_chain_followed_block", "chain" => chain.to_string()).set(furthest as f64);
    }

    /// A follower was told that so many blocks were undone, `first` being the lowest of them.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people, and is exact up to 2^53")]
    pub(super) fn undone(&self, chain: &ChainId, first: &Seen, depth: u64) {
        let mut undone = self.0.undone.lock();
        if undone.iter().any(|known| known.is(first.number, &first.hash)) {
            return;
        }
        undone.push_back(first.clone());
        if undone.len() > REMEMBERED {
            undone.pop_front();
        }
        drop(undone);
        counter!("tidegate_chain_reorgs_total", "chain" => chain.to_string()).increment(1);
        gauge!("tidegate_chain_reorg_depth", "chain" => chain.to_string()).set(depth as f64);
        tracing::info!(%chain, depth, first = first.number, "blocks were undone");
    }
}

impl Counted {
    pub(super) fn new(chain: &ChainId) -> Self {
        gauge!("tidegate_chain_followers", "chain" => chain.to_string()).increment(1.0);
        Self(chain.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!("tidegate_chain_followers", "chain" => self.0.to_string()).decrement(1.0);
    }
}
