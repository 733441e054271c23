//! The coins that the market knows by heart, and what a caller may have meant by any other text.
//!
//! An id is a key, a symbol is not: several coins may share one, so a symbol only ever leads to candidates.
//! The next coin is a line in `coins.toml`.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;

use super::PriceError;
use crate::model::AssetId;

/// The most ids that an unknown coin's error suggests.
const MAX_CANDIDATES: usize = 5;
/// How many letters a mistyped id may be off.
const MAX_TYPOS: usize = 2;
/// The most characters of an unknown text that its error repeats, and that are compared.
const MAX_TEXT: usize = 64;

/// A coin, as the price sources are asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coin {
    /// The coin's id, which is CoinGecko's.
    pub id: AssetId,
    /// What is known about it; `None` for a coin outside the catalogue.
    pub listing: Option<Arc<Listing>>,
}

/// What the catalogue knows about a coin.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// The coin's id.
    pub id: AssetId,
    /// The ticker symbol, upper case; not unique.
    pub symbol: String,
    /// The name as its makers write it.
    pub name: String,
    /// Coinbase's product against the dollar, where it lists the coin.
    pub coinbase: Option<String>,
}

/// The coins that the market knows by heart.
#[derive(Debug, Clone)]
pub struct Catalogue(Arc<HashMap<AssetId, Arc<Listing>>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    coins: Vec<Listing>,
}

impl Catalogue {
    /// The catalogue that comes with the server.
    ///
    /// # Panics
    /// Never: a test reads the same file.
    #[must_use]
    pub fn embedded() -> Self {
        let document: Document = toml::from_str(include_str!("coins.toml")).expect("a test reads the same file");
        Self::of(document.coins)
    }

    /// A catalogue of these coins.
    #[must_use]
    pub fn of(coins: Vec<Listing>) -> Self {
        Self(Arc::new(coins.into_iter().map(|coin| (coin.id.clone(), Arc::new(coin))).collect()))
    }

    /// The coin with this id, whether or not the catalogue lists it.
    #[must_use]
    pub fn coin(&self, id: &AssetId) -> Coin {
        Coin { id: id.clone(), listing: self.0.get(id).cloned() }
    }

    /// The listed coin with exactly this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Listing> {
        self.0.get(id).map(AsRef::as_ref)
    }

    /// Every listed coin, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Listing> {
        self.0.values().map(AsRef::as_ref)
    }

    /// The error for a text that is no known coin, with what may have been meant.
    #[must_use]
    pub fn unknown(&self, text: &str) -> PriceError {
        let coin: String = text.chars().take(MAX_TEXT).collect();
        PriceError::UnknownCoin { candidates: self.candidates(&coin), coin }
    }

    /// Coins of that symbol or name first, then ids that are a typing error away.
    fn candidates(&self, text: &str) -> Vec<AssetId> {
        let wanted = text.trim().to_lowercase();
        let mut ranked: Vec<(usize, &AssetId)> = self
            .0
            .values()
            .filter_map(|coin| {
                let meant = coin.id.as_str() == wanted
                    || coin.symbol.to_lowercase() == wanted
                    || coin.name.to_lowercase() == wanted;
                let rank = if meant { 0 } else { typos(&wanted, coin.id.as_str())? };
                Some((rank, &coin.id))
            })
            .collect();
        ranked.sort();
        // Who names a coin does not mean its neighbours in spelling.
        if ranked.first().is_some_and(|(rank, _)| *rank == 0) {
            ranked.retain(|(rank, _)| *rank == 0);
        }
        ranked.into_iter().take(MAX_CANDIDATES).map(|(_, id)| id.clone()).collect()
    }
}

/// The edits between two texts, when they are few enough to be a typing error in a text of this length.
fn typos(typed: &str, id: &str) -> Option<usize> {
    let typed: Vec<char> = typed.chars().collect();
    let allowed = MAX_TYPOS.min(typed.len() / 3);
    if typed.len().abs_diff(id.len()) > allowed {
        return None;
    }
    let mut row: Vec<usize> = (0..=typed.len()).collect();
    for (line, letter) in id.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for column in 0..typed.len() {
            let replaced = diagonal + usize::from(typed[column] != letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    (1..=allowed).contains(&row[typed.len()]).then_some(row[typed.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(catalogue: &Catalogue, text: &str) -> Vec<String> {
        match catalogue.unknown(text) {
            PriceError::UnknownCoin { candidates, .. } => candidates.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_embedded_catalogue_reads_and_has_no_twins() {
        let lines = include_str!("coins.toml").lines().filter(|line| line.contains("id = ")).count();
        let catalogue = Catalogue::embedded();
        assert_eq!(catalogue.iter().count(), lines);
        assert!(lines >= 60, "{lines}");
        assert_eq!(catalogue.find("bitcoin").unwrap().coinbase.as_deref(), Some("BTC-USD"));
        assert!(catalogue.find("BTC").is_none());
    }

    #[test]
    fn symbols_names_and_typing_errors_lead_to_candidates() {
        let catalogue = Catalogue::embedded();
        for (text, expected) in [
            ("BTC", vec!["bitcoin"]),
            ("btc", vec!["bitcoin"]),
            ("Bitcoin", vec!["bitcoin"]),
            ("Shiba Inu", vec!["shiba-inu"]),
            ("bitcion", vec!["bitcoin"]),
            ("etherum", vec!["ethereum"]),
            ("🚀", vec![]),
            ("", vec![]),
            ("x", vec![]),
            ("no-such-coin-at-all", vec![]),
        ] {
            assert_eq!(candidates(&catalogue, text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_ambiguous_symbol_lists_its_coins_and_never_more_than_five() {
        let coin =
            |id: String| Listing { id: AssetId::new(&id).unwrap(), symbol: "UNI".into(), name: id, coinbase: None };
        let two = Catalogue::of(vec![coin("uniswap".into()), coin("unicorn-token".into())]);
        assert_eq!(candidates(&two, "uni"), ["unicorn-token", "uniswap"]);
        let many = Catalogue::of((0..20).map(|n| coin(format!("uni-{n}"))).collect());
        assert_eq!(candidates(&many, "UNI").len(), MAX_CANDIDATES);
    }

    #[test]
    fn a_long_text_is_cut() {
        let PriceError::UnknownCoin { coin, .. } = Catalogue::embedded().unknown(&"é".repeat(10_000)) else {
            panic!()
        };
        assert_eq!(coin.chars().count(), MAX_TEXT);
    }
}
