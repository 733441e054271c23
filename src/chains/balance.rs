//! How much somebody has of something.

use std::{borrow::Cow, sync::Arc};

use super::{ChainError, Consistency, Finality, Provenance, provenance::Source};
use crate::{
    cache::{CacheKey, CacheValue},
    model::{ChainId, Token, Units},
};

/// How much an address has of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The address, as the chain's explorers write it.
    pub address: Arc<str>,
    /// The token.
    pub token: Arc<Token>,
    /// In base units.
    pub amount: Units,
    /// Who said so.
    pub provenance: Provenance,
}

/// Whose balance of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// The address, as it is kept.
    pub(super) address: Arc<str>,
    /// The token's address; none for the native token.
    pub(super) token: Option<Arc<str>>,
}

/// What was read of a balance, and whose word it is.
pub(super) type BalanceRead = Result<(Units, Source), ChainError>;

/// A balance at one block. The block's hash is in it, so that a block that was undone has no balances.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BalanceKey {
    pub(super) chain: ChainId,
    pub(super) wanted: Wanted,
    pub(super) finality: Finality,
    pub(super) consistency: Consistency,
    pub(super) block: u64,
    pub(super) hash: Option<Arc<str>>,
}

impl CacheKey for BalanceKey {
    fn shared_name(&self) -> Cow<'_, str> {
        let Self { chain, wanted: Wanted { address, token }, finality, consistency, block, hash } = self;
        let (token, hash) = (token.as_deref().unwrap_or_default(), hash.as_deref().unwrap_or_default());
        format!("{chain}/{address}/{token}/{finality:?}/{consistency:?}/{block}/{hash}").into()
    }
}

/// Kept on this node only: the next block makes it worthless.
impl CacheValue for Arc<Balance> {
    fn weight(&self) -> u32 {
        u32::try_from(size_of::<Balance>() + 3 * self.address.len()).unwrap_or(u32::MAX)
    }
}
