//! What is counted on a chain.

use std::sync::Arc;

use super::{AssetId, ChainId};

/// A token of a chain: its native one, or one that a contract or a mint keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// The chain.
    pub chain: ChainId,
    /// The contract or the mint, as the chain's explorers write it; none for the native token.
    pub address: Option<Arc<str>>,
    /// What people call it. Several tokens of a chain may share one.
    pub symbol: Arc<str>,
    /// How many digits of its base units lie after the point.
    pub decimals: u8,
    /// The coin that it is one of, where that is known: what one whole token is worth.
    pub coin: Option<AssetId>,
}
