//! Simulated wealth: how much everybody has of everything, which follows from the address alone and never changes.

use super::blocks::digest;
use crate::{
    market::Tokens,
    model::{ChainId, Token},
};

/// Well-known addresses, with more of everything than others.
const RICH: [&str; 4] = [
    // vitalik.eth
    "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045",
    // The first account of development nodes.
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    // Two wallets of an exchange.
    "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
    "5tzFkiKscXHK5ZXCGbXZxdw7gTjjD1mBwuoFbhUvuAi9",
];
/// So many whole tokens more, and up to ten times as many.
const RICHER_BY: u128 = 100_000;
/// A part of a whole token, or of ten, a hundred, a thousand of them, is this fine.
const PARTS: u64 = 10_000_000;

/// What there is to have on a chain.
#[derive(Debug, Clone)]
pub(super) struct Holdings {
    tokens: Vec<Token>,
    pub(super) native: Token,
}

impl Holdings {
    /// The tokens that swaps know, too.
    ///
    /// # Panics
    /// Where the chain is not in the embedded list.
    pub(super) fn of(chain: &ChainId) -> Self {
        let tokens = Tokens::embedded();
        let (native, tokens): (Vec<Token>, Vec<Token>) =
            tokens.iter().filter(|token| token.chain == *chain).cloned().partition(|token| token.address.is_none());
        Self { tokens, native: native.into_iter().next().expect("every chain has a native token") }
    }

    /// The tokens that have an address.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (&Token, &str)> {
        self.tokens.iter().filter_map(|token| Some((token, token.address.as_deref()?)))
    }
}

/// How much somebody has of a token, in base units. Addresses that may be written in several ways come in one.
pub(super) fn holding(token: &Token, owner: &str) -> u128 {
    let address = token.address.as_deref().unwrap_or_default();
    let hash = digest(&[token.chain.as_str().as_bytes(), address.as_bytes(), owner.as_bytes()]);
    let chance = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let part = u128::from(chance % PARTS + 1);
    let magnitude = [1, 10, 100, 1_000][usize::from(hash[31] % 4)];
    let whole = 10_u128.pow(token.decimals.into());
    let some = part * whole * magnitude / u128::from(PARTS);
    let is_rich = RICH.iter().any(|rich| rich.eq_ignore_ascii_case(owner));
    some + if is_rich { (RICHER_BY + part % (9 * RICHER_BY)) * whole } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_something_and_a_few_have_much() {
        for chain in ["ethereum", "solana"] {
            let holdings = Holdings::of(&ChainId::new(chain).unwrap());
            assert!(holdings.tokens().count() > 3);
            for token in holdings.tokens().map(|(token, _)| token).chain([&holdings.native]) {
                let whole = 10_u128.pow(token.decimals.into());
                let some: Vec<u128> = (0..100).map(|number| holding(token, &format!("address-{number}"))).collect();
                assert!(some.iter().all(|some| (1..=1_000 * whole).contains(some)), "{some:?}");
                assert!(some.iter().any(|some| some > &whole) && some[0] != some[1], "{some:?}");
                assert!(RICH.iter().all(|rich| holding(token, rich) >= RICHER_BY * whole));
                assert_eq!(some[0], holding(token, "address-0"));
            }
        }
    }
}
