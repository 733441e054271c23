//! What a swap through one pool of Uniswap v3 would bring, by the word of its quoter (`QuoterV2`).

use alloy_primitives::{Address, U256, Uint};
use alloy_sol_types::sol;

use super::call::{eth_call, returned};
use crate::{
    chains::{ChainError, PoolQuote, family::Reading, rpc::Call},
    model::Units,
};

/// The fee tiers of pools, in hundredths of a basis point.
const TIERS: [u32; 4] = [100, 500, 3_000, 10_000];

sol! {
    /// `QuoterV2`, as far as it is asked.
    interface Quoter {
        struct ExactInput {
            address tokenIn;
            address tokenOut;
            uint256 amountIn;
            uint24 fee;
            uint160 sqrtPriceLimitX96;
        }

        function quoteExactInputSingle(ExactInput params) external
            returns (uint256 amountOut, uint160 sqrtPriceX96After, uint32 initializedTicksCrossed, uint256 gasEstimate);
    }
}

/// One quote for each tier that has a pool which can fill the swap, all at one block and in one request.
pub(in crate::chains) async fn read(
    reading: &Reading<'_>,
    contract: &str,
    (from, to): (&str, &str),
    amount: Units,
) -> Result<Vec<PoolQuote>, ChainError> {
    let address = |text: &str| text.parse::<Address>().expect("the address was checked");
    let calls: Vec<Call> =
        TIERS.iter().map(|fee| ask(contract, address(from), address(to), amount, *fee, reading)).collect();
    let answers = reading.read(&calls, "").await;
    let mut quotes = Vec::new();
    for (fee, answer) in TIERS.into_iter().zip(answers) {
        let (answer, _) = match answer {
            Ok(answer) => answer,
            // There is no pool of the tier, or too little in it: the quoter reverts.
            Err(ChainError::Refused { .. }) => continue,
            Err(error) => return Err(error),
        };
        let quote = returned::<Quoter::quoteExactInputSingleCall>(&answer.value)
            .ok_or_else(|| ChainError::nonsense(&answer.endpoint, "there is no quoter at its address"))?;
        // More gas than a block holds is none that anybody pays.
        let gas_units = u64::try_from(quote.gasEstimate).ok();
        let block_number = reading.block.number;
        if !quote.amountOut.is_zero() {
            quotes.push(PoolQuote { fee, amount_out: Units(quote.amountOut), gas_units, block_number });
        }
    }
    Ok(quotes)
}

fn ask(contract: &str, from: Address, to: Address, amount: Units, fee: u32, reading: &Reading<'_>) -> Call {
    let (amount, fee): (U256, Uint<24, 1>) = (amount.0, Uint::from(fee));
    let params = Quoter::ExactInput {
        tokenIn: from,
        tokenOut: to,
        amountIn: amount,
        fee,
        // No limit: however far the price moves.
        sqrtPriceLimitX96: Uint::ZERO,
    };
    eth_call(contract, &Quoter::quoteExactInputSingleCall { params }, reading.block)
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolCall;

    use super::*;

    #[test]
    fn the_quoter_is_asked_by_the_selector_that_is_documented() {
        assert_eq!(Quoter::quoteExactInputSingleCall::SELECTOR, [0xc6, 0xa5, 0x02, 0x6a]);
    }
}
