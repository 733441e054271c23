//! What a swap through one pool of Uniswap v3 would bring, by the word of its quoter (`QuoterV2`).

use alloy_primitives::{Address, B256, U256, Uint, aliases::U160, b256, keccak256, uint};
use alloy_sol_types::{SolValue, sol};

use super::{
    call::{eth_call, returned},
    fee::TRANSFER_GAS,
    revert,
};
use crate::{
    chains::{
        ChainError, PoolContracts, PoolQuote,
        family::Reading,
        rpc::{Agreement, Answer, Call},
    },
    model::Units,
};

/// The fee tiers of pools, in hundredths of a basis point.
const TIERS: [u32; 4] = [100, 500, 3_000, 10_000];
/// All of it, in the same.
const WHOLE: u32 = 1_000_000;
const BPS_IN_WHOLE: u32 = 10_000;
/// What every pool is made of, which its address depends on.
const POOL_CODE: B256 = b256!("e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54");
/// The square roots of prices between which pools trade, the ends excluded. The quoter swaps until one of the ends if it
/// must, and does not say how much of the amount was left.
const PRICE_ENDS: [U160; 2] =
    uint!([4_295_128_740_U160, 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_341_U160]);

/// Wide enough for the product of an amount, a square of a square root and a share.
type Wide = Uint<640, 10>;

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

    /// A pool, as far as it is asked.
    interface Pool {
        function slot0() external view returns (uint160 sqrtPriceX96, int24 tick, uint16 observationIndex,
            uint16 observationCardinality, uint16 observationCardinalityNext, uint8 feeProtocol, bool unlocked);
    }
}

/// An amount of one token, for another one.
#[derive(Debug, Clone, Copy)]
struct Swap {
    from: Address,
    to: Address,
    amount: U256,
}

/// One quote for each tier that has a pool which can fill the swap, all at one block and in one request.
pub(in crate::chains) async fn read(
    reading: &Reading<'_>,
    contracts: &PoolContracts,
    (from, to): (&str, &str),
    amount: Units,
) -> Result<Vec<PoolQuote>, ChainError> {
    let address = |text: &str| text.parse::<Address>().expect("the address was checked");
    let swap = Swap { from: address(from), to: address(to), amount: amount.0 };
    let factory = address(contracts.factory);
    let asked = TIERS.into_iter().map(|fee| swap.ask(contracts.quoter, fee, reading));
    let spots = TIERS.into_iter().map(|fee| spot(swap.pool(factory, fee), reading));
    let mut answers = reading.read(&asked.chain(spots).collect::<Vec<_>>(), "").await;
    let spots = answers.split_off(TIERS.len());
    let (mut quotes, mut trouble) = (Vec::new(), None);
    for ((fee, answer), spot) in TIERS.into_iter().zip(answers).zip(spots) {
        match swap.quoted(fee, answer, spot, reading.block.number) {
            Ok(quote) => quotes.extend(quote),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match trouble {
        // A pool of which nobody could say may be the one that fills the swap.
        Some(error) if quotes.is_empty() => Err(error),
        _ => Ok(quotes),
    }
}

/// Asks a pool for its price.
fn spot(pool: Address, reading: &Reading<'_>) -> Call {
    eth_call(&pool.to_checksum(None), &Pool::slot0Call {}, reading.block)
}

impl Swap {
    /// Whether the token that is given is the pool's first: they are ordered by their addresses.
    fn sells_first(&self) -> bool {
        self.from < self.to
    }

    /// Where the pool of a tier is, if there is one.
    fn pool(&self, factory: Address, fee: u32) -> Address {
        let (first, second) = if self.sells_first() { (self.from, self.to) } else { (self.to, self.from) };
        let salt = keccak256((first, second, U256::from(fee)).abi_encode());
        factory.create2(salt, POOL_CODE)
    }

    fn ask(&self, quoter: &str, fee: u32, reading: &Reading<'_>) -> Call {
        let params = Quoter::ExactInput {
            tokenIn: self.from,
            tokenOut: self.to,
            amountIn: self.amount,
            fee: Uint::from(fee),
            // No limit: however far the price moves.
            sqrtPriceLimitX96: Uint::ZERO,
        };
        eth_call(quoter, &Quoter::quoteExactInputSingleCall { params }, reading.block)
    }

    /// What the quoter has said of a tier; nothing where the tier has no pool, or one that cannot fill the swap.
    fn quoted(
        &self,
        fee: u32,
        answer: Result<(Answer, Agreement), ChainError>,
        spot: Result<(Answer, Agreement), ChainError>,
        block_number: u64,
    ) -> Result<Option<PoolQuote>, ChainError> {
        let answer = match answer.map_err(revert::told) {
            Ok((answer, _)) => answer,
            // The quoter reverts where there is no pool, or nothing in it.
            Err(ChainError::Reverted { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let quote = returned::<Quoter::quoteExactInputSingleCall>(&answer.value)
            .ok_or_else(|| ChainError::nonsense(&answer.endpoint, "there is no quoter at its address"))?;
        let ran_dry = PRICE_ENDS.contains(&quote.sqrtPriceX96After);
        if ran_dry || quote.amountOut.is_zero() {
            return Ok(None);
        }
        // It is no part of the quote: without it, the quote stands.
        let spot = spot.ok().and_then(|(answer, _)| returned::<Pool::slot0Call>(&answer.value));
        Ok(Some(PoolQuote {
            fee,
            amount_out: Units(quote.amountOut),
            price_impact_bps: spot.and_then(|spot| self.impact_bps(quote.amountOut, fee, spot.sqrtPriceX96)),
            // The quoter counts what the pool does. More gas than a block holds is none that anybody pays.
            gas_units: u64::try_from(quote.gasEstimate).ok().and_then(|units| units.checked_add(TRANSFER_GAS)),
            block_number,
        }))
    }

    /// How much less came out than at the price before the swap: `1 - out / (in * (1 - fee) * price)`.
    fn impact_bps(&self, out: U256, fee: u32, sqrt_price: U160) -> Option<u32> {
        let root = Wide::from(sqrt_price);
        let given = Wide::from(self.amount) * Wide::from(WHOLE - fee);
        let got = Wide::from(out) * Wide::from(WHOLE);
        // The price is that of the first token, as a square with 192 binary places.
        let (square, one) = (root * root, Wide::from(1) << 192);
        let (price, unit) = if self.sells_first() { (square, one) } else { (one, square) };
        let kept = (got * unit * Wide::from(BPS_IN_WHOLE)).checked_div(given * price)?;
        let kept = u32::try_from(kept).unwrap_or(BPS_IN_WHOLE).min(BPS_IN_WHOLE);
        Some(BPS_IN_WHOLE - kept)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bytes, address};
    use alloy_sol_types::SolCall;
    use serde_json::json;

    use super::*;

    const USDC: Address = address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");
    const WETH: Address = address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");
    const FACTORY: Address = address!("1F98431c8aD98523631AE4a59f267346ea31F984");

    type Said = Result<(Answer, Agreement), ChainError>;
    /// The amount and the gas of a quote, or a part of the error's message.
    type Expected = Result<Option<(u64, Option<u64>)>, &'static str>;

    fn swap(from: Address, to: Address, amount: u128) -> Swap {
        Swap { from, to, amount: U256::from(amount) }
    }

    fn refused(code: i64, message: &str) -> ChainError {
        ChainError::Refused { code, message: message.into(), data: None }
    }

    #[test]
    fn the_quoter_is_asked_by_the_selector_that_is_documented() {
        assert_eq!(Quoter::quoteExactInputSingleCall::SELECTOR, [0xc6, 0xa5, 0x02, 0x6a]);
        assert_eq!(Pool::slot0Call::SELECTOR, [0x38, 0x50, 0xc7, 0xbd]);
    }

    #[test]
    fn pools_are_where_ethereum_has_them_whichever_token_is_given() {
        for (fee, expected) in [
            (500, address!("88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640")),
            (3_000, address!("8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8")),
        ] {
            for (from, to) in [(USDC, WETH), (WETH, USDC)] {
                assert_eq!(swap(from, to, 1).pool(FACTORY, fee), expected, "{fee}");
            }
        }
    }

    #[test]
    fn the_impact_is_what_is_missing_at_the_price_before_apart_from_the_fee() {
        // One second token for four first ones and the other way around.
        let (half, two) = (U160::from(1) << 95, U160::from(1) << 97);
        let max = u128::MAX;
        for (from, to, amount, out, fee, root, expected) in [
            (USDC, WETH, 4_000_000, 1_000_000, 0, half, Some(0)),
            (WETH, USDC, 1_000_000, 4_000_000, 0, half, Some(0)),
            (USDC, WETH, 1_000_000, 4_000_000, 0, two, Some(0)),
            (USDC, WETH, 4_000_000, 997_000, 3_000, half, Some(0)),
            (USDC, WETH, 4_000_000, 996_999, 3_000, half, Some(1)),
            (WETH, USDC, 1_000_000, 3_600_000, 0, half, Some(1_000)),
            (USDC, WETH, 4_000_000, 2_000_000, 0, half, Some(0)),
            (USDC, WETH, 4_000_000, 1, 0, half, Some(10_000)),
            (USDC, WETH, max, max, 100, U160::MAX, Some(10_000)),
            (USDC, WETH, 4_000_000, 1_000_000, 0, U160::ZERO, None),
        ] {
            let impact = swap(from, to, amount).impact_bps(U256::from(out), fee, root);
            assert_eq!(impact, expected, "{amount} for {out}");
        }
        let all = Swap { amount: U256::MAX, ..swap(WETH, USDC, 0) };
        assert_eq!(all.impact_bps(U256::MAX, 0, U160::MAX), Some(0), "nothing overflows");
    }

    #[test]
    fn a_tier_has_a_quote_or_none_or_nobody_could_say() {
        let said = |value| Ok((Answer { value, endpoint: "one".into() }, Agreement::ALONE));
        let quoted = |out: u64, after: U160, gas: U256| {
            let returns = (U256::from(out), after, 1_u32, gas);
            let returns = Quoter::quoteExactInputSingleCall::abi_encode_returns_tuple(&returns);
            said(json!(Bytes::from(returns)))
        };
        let price = U160::from(1) << 96;
        let gas = U256::from(90_000);
        let cases: [(&str, Said, Expected); 10] = [
            ("a pool", quoted(7, price, gas), Ok(Some((7, Some(111_000))))),
            ("gas beyond all measure", quoted(7, price, U256::MAX), Ok(Some((7, None)))),
            ("nothing comes out", quoted(0, price, gas), Ok(None)),
            ("dry at the lower end", quoted(7, PRICE_ENDS[0], gas), Ok(None)),
            ("dry at the upper end", quoted(7, PRICE_ENDS[1], gas), Ok(None)),
            ("no pool", Err(refused(3, "execution reverted")), Ok(None)),
            ("no pool, in another node's words", Err(refused(-32_000, "execution reverted: SPL")), Ok(None)),
            ("too much work for the node", Err(refused(-32_000, "out of gas")), Err("refuses")),
            ("nobody answers", Err(ChainError::TimedOut), Err("in time")),
            ("no quoter", said(json!("0x")), Err("no quoter")),
        ];
        for (what, answer, expected) in cases {
            let spot = Err(ChainError::TimedOut);
            let found = swap(USDC, WETH, 7).quoted(500, answer, spot, 9);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let expected = expected.map(|(out, gas_units)| PoolQuote {
                        fee: 500,
                        amount_out: Units::from(out),
                        price_impact_bps: None,
                        gas_units,
                        block_number: 9,
                    });
                    assert_eq!(found, expected, "{what}");
                }
                (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{what}: {found}"),
                (found, _) => panic!("{what}: {found:?}"),
            }
        }
    }
}
