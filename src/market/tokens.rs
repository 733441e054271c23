//! The tokens that swaps know by heart, by chain, and what a caller may have meant by any other text.
//!
//! An address is a key, a symbol is not: anybody can issue a token of any symbol, so a symbol only ever leads to
//! candidates. The next token is a line in `tokens.toml`.

use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use crate::model::{AssetId, ChainId, Token};

/// The word for the token of a chain that has no address.
pub(super) const NATIVE: &str = "native";
/// The most addresses that an unknown token's error suggests.
const MAX_CANDIDATES: usize = 5;
/// The fewest letters of a symbol that are looked for within other symbols.
const MIN_PART: usize = 2;

/// How a chain writes its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `0x` and 40 hexadecimal digits, in any case.
    Evm,
    /// 32 to 44 digits of base 58.
    Solana,
}

impl Family {
    /// Whether the text has the shape of an address. Whether there is anything at it is not asked.
    #[must_use]
    pub fn is_address(self, text: &str) -> bool {
        match self {
            Self::Evm => text
                .strip_prefix("0x")
                .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())),
            Self::Solana => {
                let is_digit = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
                (32..=44).contains(&text.len()) && text.bytes().all(is_digit)
            }
        }
    }

    fn same_address(self, one: &str, other: &str) -> bool {
        match self {
            Self::Evm => one.eq_ignore_ascii_case(other),
            Self::Solana => one == other,
        }
    }

    /// What an address of the family looks like, for people.
    #[must_use]
    pub fn shape(self) -> &'static str {
        match self {
            Self::Evm => "0x and 40 hexadecimal digits",
            Self::Solana => "32 to 44 digits of base 58",
        }
    }
}

/// Why a text names no token that is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// There is no such chain here.
    #[error("unknown chain; known are {}", names(known))]
    UnknownChain {
        /// Every chain that is known.
        known: Vec<ChainId>,
    },
    /// The text has the shape of an address, and no token here has it.
    #[error("no token known here has this address")]
    UnknownAddress,
    /// The text is neither `native` nor an address.
    #[error("expected `native` or the address of a token, {shape}; symbols are shared by many tokens")]
    NoAddress {
        /// What an address of the chain looks like.
        shape: &'static str,
        /// At most five addresses of tokens that may have been meant, the likeliest first.
        candidates: Vec<Arc<str>>,
    },
}

fn names(chains: &[ChainId]) -> String {
    chains.iter().map(ChainId::as_str).collect::<Vec<_>>().join(", ")
}

/// The known tokens of every known chain; clones share them.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<[ChainTokens]>);

/// The known tokens of one chain.
#[derive(Debug)]
pub(super) struct ChainTokens {
    pub(super) id: ChainId,
    pub(super) family: Family,
    /// The native token first.
    tokens: Vec<Token>,
}

impl Tokens {
    /// The tokens that come with the server.
    ///
    /// # Panics
    /// Never: a test reads the same file.
    #[must_use]
    pub fn embedded() -> Self {
        let document: Document = toml::from_str(include_str!("tokens.toml")).expect("a test reads the same file");
        Self(document.chains.into_iter().map(ChainTokens::from).collect())
    }

    pub(super) fn chain(&self, id: &str) -> Result<&ChainTokens, TokenError> {
        let unknown = || TokenError::UnknownChain { known: self.0.iter().map(|chain| chain.id.clone()).collect() };
        self.0.iter().find(|chain| chain.id.as_str() == id).ok_or_else(unknown)
    }

    /// Every known token of every chain, the native ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter().flat_map(|chain| &chain.tokens)
    }
}

impl ChainTokens {
    pub(super) fn native(&self) -> &Token {
        &self.tokens[0]
    }

    /// The token that a caller's text names: `native`, or an address.
    pub(super) fn find(&self, text: &str) -> Result<&Token, TokenError> {
        if text == NATIVE {
            return Ok(self.native());
        }
        if self.family.is_address(text) {
            let has_it =
                |token: &&Token| token.address.as_ref().is_some_and(|address| self.family.same_address(address, text));
            return self.tokens.iter().find(has_it).ok_or(TokenError::UnknownAddress);
        }
        Err(TokenError::NoAddress { shape: self.family.shape(), candidates: self.candidates(text) })
    }

    /// The tokens of that symbol; without any, those whose symbol has it as a part, as `WETH` has `ETH`.
    fn candidates(&self, text: &str) -> Vec<Arc<str>> {
        let wanted = text.trim().to_lowercase();
        let of = |meant: &dyn Fn(&str) -> bool| -> Vec<Arc<str>> {
            let tokens = self.tokens.iter().filter(|token| meant(&token.symbol.to_lowercase()));
            tokens.map(|token| token.address.clone().unwrap_or_else(|| NATIVE.into())).take(MAX_CANDIDATES).collect()
        };
        let exact = of(&|symbol| symbol == wanted);
        if !exact.is_empty() || wanted.len() < MIN_PART { exact } else { of(&|symbol| symbol.contains(&wanted)) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    chains: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    id: ChainId,
    family: Family,
    native: ListedToken,
    tokens: Vec<ListedToken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedToken {
    symbol: Arc<str>,
    address: Option<Arc<str>>,
    decimals: u8,
    coin: Option<AssetId>,
}

impl From<Listed> for ChainTokens {
    fn from(Listed { id, family, native, tokens }: Listed) -> Self {
        let listed = std::iter::once(native).chain(tokens);
        let token = |ListedToken { symbol, address, decimals, coin }| Token {
            chain: id.clone(),
            address,
            symbol,
            decimals,
            coin,
        };
        Self { tokens: listed.map(token).collect(), id: id.clone(), family }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::market::Catalogue;

    fn tokens() -> Tokens {
        Tokens::embedded()
    }

    #[test]
    fn the_embedded_list_reads_and_contradicts_nothing() {
        let (tokens, catalogue) = (tokens(), Catalogue::embedded());
        for chain in ["ethereum", "base", "arbitrum", "optimism", "polygon", "solana"] {
            let chain = tokens.chain(chain).unwrap();
            assert_eq!(chain.native().address, None);
            for symbol in ["USDC", "USDT", "DAI", "WBTC", &format!("W{}", chain.native().symbol)] {
                assert_eq!(chain.candidates(symbol).len(), 1, "{symbol} on {}", chain.id);
            }
            let mut seen = HashSet::new();
            for token in &chain.tokens[1..] {
                let address = token.address.as_deref().unwrap();
                assert!(chain.family.is_address(address), "{address} on {}", chain.id);
                assert!(seen.insert(address.to_lowercase()), "{address} is listed twice on {}", chain.id);
            }
        }
        for token in tokens.iter() {
            let coin = token.coin.as_ref().unwrap();
            assert!(catalogue.find(coin.as_str()).is_some(), "{coin} of {token:?} is not in coins.toml");
            assert!(token.decimals <= 18, "{token:?}");
        }
    }

    #[test]
    fn tokens_go_by_address_and_native() {
        let tokens = tokens();
        let ethereum = tokens.chain("ethereum").unwrap();
        for text in ["0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"] {
            let token = ethereum.find(text).unwrap();
            assert_eq!((&*token.symbol, token.decimals), ("USDC", 6));
        }
        assert_eq!(&*ethereum.find("native").unwrap().symbol, "ETH");
        let solana = tokens.chain("solana").unwrap();
        let mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
        assert_eq!(&*solana.find(mint).unwrap().symbol, "USDC");
        assert_eq!(solana.find(&mint.replace("EPj", "EPJ")), Err(TokenError::UnknownAddress), "its case counts");
        assert_eq!(ethereum.find(&format!("0x{}", "1".repeat(40))), Err(TokenError::UnknownAddress));
    }

    #[test]
    fn symbols_lead_to_candidates_and_chains_to_those_known() {
        let tokens = tokens();
        let candidates = |chain: &str, text: &str| match tokens.chain(chain).unwrap().find(text) {
            Err(TokenError::NoAddress { candidates, .. }) => {
                candidates.iter().map(ToString::to_string).collect::<Vec<_>>()
            }
            other => panic!("{text} on {chain}: {other:?}"),
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(candidates("ethereum", "usdc"), ["0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"]);
        assert_eq!(candidates("ethereum", "ETH"), ["native"]);
        assert_eq!(candidates("polygon", "ETH"), ["0x7ceB23fD6bC0adD59E62ac25578270cFf1b9f619"]);
        assert_eq!(candidates("polygon", "USDC"), ["0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359"]);
        for text in ["", "x", "🚀", "0x12", &"A".repeat(10_000)] {
            assert_eq!(candidates("ethereum", text), none, "{text:?}");
        }
        let unknown = tokens.chain("Ethereum").unwrap_err().to_string();
        assert_eq!(unknown, "unknown chain; known are ethereum, base, arbitrum, optimism, polygon, solana");
    }
}
