//! What swaps through single pools of a chain would bring.

use super::{Chain, ChainError, ChainFamily, evm::quoter, family::Reading};
use crate::model::Units;

/// Where Uniswap v3, or one of its kin, is on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolContracts {
    /// Who is asked (`QuoterV2`).
    pub quoter: &'static str,
    /// Who makes the pools (`UniswapV3Factory`).
    pub factory: &'static str,
}

/// What a swap through one pool would bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolQuote {
    /// The pool's fee, in hundredths of a basis point.
    pub fee: u32,
    /// How much comes out, in base units, more than zero.
    pub amount_out: Units,
    /// How much less that is than at the pool's price before the swap, apart from its fee: in hundredths of a percent, rounded up. Nothing where
    /// the pool does not say its price.
    pub price_impact_bps: Option<u32>,
    /// Units of gas of a transaction that swaps, where that makes sense.
    pub gas_units: Option<u64>,
    /// The block whose state was asked.
    pub block_number: u64,
}

impl Chain {
    /// Asks a quoter what each pool of two tokens would give for all of an amount of the first. Empty where none can fill the swap; so on
    /// chains that have no quoters.
    ///
    /// # Errors
    /// No pool has a quote, and of one at least nobody could say; or no quoter at the address.
    pub async fn pool_quotes(
        &self,
        contracts: &PoolContracts,
        (from, to): (&str, &str),
        amount: Units,
    ) -> Result<Vec<PoolQuote>, ChainError> {
        if self.family() != ChainFamily::Evm {
            return Ok(Vec::new());
        }
        let head = self.rpc.head().await?;
        quoter::read(&Reading::newest(&self.rpc, &head), contracts, (from, to), amount).await
    }
}
