//! What a simulated swap brings: the walking prices, less what the venue keeps.

use std::collections::HashMap;

use url::form_urlencoded::parse;

use super::Fault;
use crate::{
    market::Tokens,
    model::{AssetId, Decimal, Token, Units},
};

/// A swap as a stand-in is asked for it.
pub(super) struct Swap {
    pub(super) sell: Token,
    pub(super) buy: Token,
    pub(super) amount: Units,
    /// What the venue keeps, fee and spread together, in hundredths of a percent.
    pub(super) kept_bps: u32,
}

impl Swap {
    /// How much comes out at these prices, rounded down; none where it cannot be told.
    pub(super) fn brings(&self, mut price: impl FnMut(&AssetId) -> Decimal, fault: &Fault) -> Option<Units> {
        let (given, wanted) = (price(self.sell.coin.as_ref()?), price(self.buy.coin.as_ref()?));
        // Both sides in whole numbers: amount × given × 10^(digits of wanted) over wanted × 10^(digits of given).
        let over =
            power(u32::from(self.buy.decimals) + wanted.scale())?.mul_div(mantissa(given)?, Units::from(1_u64))?;
        let under =
            power(u32::from(self.sell.decimals) + given.scale())?.mul_div(mantissa(wanted)?, Units::from(1_u64))?;
        let whole = self.amount.mul_div(over, under)?;
        let out = whole.basis_points(10_000_u32.checked_sub(self.kept_bps)?)?;
        match fault {
            Fault::Lie { factor } => out.mul_div(mantissa(*factor)?, power(factor.scale())?),
            _ => Some(out),
        }
    }
}

fn mantissa(number: Decimal) -> Option<Units> {
    u128::try_from(number.mantissa()).ok().map(Units::from)
}

fn power(exponent: u32) -> Option<Units> {
    (0..exponent).try_fold(Units::from(1_u64), |power, _| power.checked_mul(10))
}

/// The token of a chain that a vendor's text names; `native` is how the vendor writes the one without an address.
pub(super) fn token(tokens: &Tokens, chain: &str, text: &str, native: &str) -> Option<Token> {
    let named = |token: &&Token| {
        let address = token.address.as_deref().unwrap_or(native);
        token.chain.as_str() == chain && address.eq_ignore_ascii_case(text)
    };
    tokens.iter().find(named).cloned()
}

/// The arguments of a query, by name.
pub(super) fn arguments(query: Option<String>) -> HashMap<String, String> {
    parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_brings_its_worth_less_what_is_kept() {
        let tokens = Tokens::embedded();
        let usdc = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
        let token = |text| token(&tokens, "ethereum", text, "E").unwrap();
        let swap =
            |amount: &str| Swap { sell: token("E"), buy: token(usdc), amount: amount.parse().unwrap(), kept_bps: 10 };
        let price = |coin: &AssetId| if coin.as_str() == "ethereum" { "3420.5" } else { "1.0" }.parse().unwrap();
        for (amount, fault, expected) in [
            ("1000000000000000000", Fault::None, "3417079500"),
            ("1", Fault::None, "0"),
            ("1000000000000000000", Fault::Lie { factor: "1.1".parse().unwrap() }, "3758787450"),
        ] {
            assert_eq!(swap(amount).brings(price, &fault), Some(expected.parse().unwrap()), "{amount} {fault:?}");
        }
    }
}
