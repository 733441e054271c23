//! Where a value of a chain comes from.

use std::sync::Arc;

use super::rpc::{Agreement, BlockRef};
use crate::model::Timestamp;

/// Where a value comes from, and how far it can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The endpoint that said so, by its name in the configuration.
    pub endpoint: Arc<str>,
    /// The number of the block, or the slot on Solana, at which the value holds.
    pub block_number: u64,
    /// The hash of that block, where the chain is read by hash.
    pub block_hash: Option<Arc<str>>,
    /// Whether that block can be undone.
    pub finality: Finality,
    /// When it was fetched.
    pub fetched_at: Timestamp,
    /// Endpoints that were asked.
    pub asked: usize,
    /// Endpoints that said so.
    pub agreed: usize,
    /// It was made up by a stand-in.
    pub simulated: bool,
}

/// Whether a block can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finality {
    /// It is among the newest: a reorganisation may undo it.
    Latest,
    /// It cannot be undone.
    Finalized,
}

/// How many endpoints must say the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// One is believed.
    #[default]
    One,
    /// More than half of the chain's endpoints must agree, and at least two.
    Quorum,
}

/// Who said something, at which block, and who else did.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub(super) endpoint: Arc<str>,
    pub(super) block: BlockRef,
    pub(super) agreement: Agreement,
}

impl Source {
    pub(super) fn into_provenance(self, finality: Finality, fetched_at: Timestamp, simulated: bool) -> Provenance {
        let Self { endpoint, block: BlockRef { number, hash }, agreement: Agreement { asked, agreed } } = self;
        let (block_number, block_hash) = (number, hash);
        Provenance { endpoint, block_number, block_hash, finality, fetched_at, asked, agreed, simulated }
    }
}
