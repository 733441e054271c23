//! What swaps through single pools of a chain would bring.

use super::{Chain, ChainError, ChainFamily, evm::quoter, family::Reading};
use crate::model::Units;

/// What a swap through one pool would bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolQuote {
    /// The pool's fee, in hundredths of a basis point.
    pub fee: u32,
    /// How much comes out, in base units, more than zero.
    pub amount_out: Units,
    /// Units of gas that the swap takes, where that makes sense.
    pub gas_units: Option<u64>,
    /// The block whose state was asked.
    pub block_number: u64,
}

impl Chain {
    /// Asks the quoter at an address (Uniswap's `QuoterV2`) what each pool of two tokens would give for an amount of the first. Empty where
    /// none can fill the swap; so on chains that have no quoters.
    ///
    /// # Errors
    /// No endpoint that could say, or no quoter at the address.
    pub async fn pool_quotes(
        &self,
        contract: &str,
        (from, to): (&str, &str),
        amount: Units,
    ) -> Result<Vec<PoolQuote>, ChainError> {
        if self.family() != ChainFamily::Evm {
            return Ok(Vec::new());
        }
        let head = self.rpc.head().await?;
        quoter::read(&Reading::newest(&self.rpc, &head), contract, (from, to), amount).await
    }
}
