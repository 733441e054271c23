//! How far a subscriber has heard each coin, as a text that means nothing to it.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{bus::Position, model::AssetId};

/// The version of the text. Another one is not understood.
const VERSION: u8 = 1;
/// Most characters that the text of one coin takes, and that of none.
const LONGEST_COIN: usize = 34;
const LONGEST_REST: usize = 16;

/// A place in no history: whoever resumes from it is told that updates may be lost.
pub(super) const NOWHERE: Position = Position { epoch: 0, offset: 1 };

/// Up to where the updates of some coins were delivered. Clones are cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(Arc<BTreeMap<AssetId, Position>>);

/// The text is no cursor of these coins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a cursor of these coins")]
pub struct InvalidCursor;

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u8,
    places: Vec<(u32, Position)>,
}

impl Cursor {
    /// Where nothing was delivered yet.
    #[must_use]
    pub fn start() -> Self {
        Self::default()
    }

    /// Reads the text of a cursor of some or all of these coins.
    pub fn decode(text: &str, coins: &[AssetId]) -> Result<Self, InvalidCursor> {
        if text.len() > LONGEST_REST + coins.len() * LONGEST_COIN {
            return Err(InvalidCursor);
        }
        let bytes = BASE64.decode(text).map_err(|_| InvalidCursor)?;
        let (wire, rest): (Wire, _) = postcard::take_from_bytes(&bytes).map_err(|_| InvalidCursor)?;
        if wire.version != VERSION || !rest.is_empty() {
            return Err(InvalidCursor);
        }
        let named: BTreeMap<u32, &AssetId> = coins.iter().map(|coin| (short(coin), coin)).collect();
        let places: Option<BTreeMap<AssetId, Position>> =
            wire.places.iter().map(|(name, place)| Some(((*named.get(name)?).clone(), *place))).collect();
        let places = places.filter(|places| places.len() == wire.places.len()).ok_or(InvalidCursor)?;
        Ok(Self(Arc::new(places)))
    }

    /// The text: about 24 characters for each coin that was heard.
    ///
    /// # Panics
    /// Never: numbers can always be written.
    #[must_use]
    pub fn encode(&self) -> String {
        let places = self.0.iter().map(|(coin, place)| (short(coin), *place)).collect();
        let bytes = postcard::to_stdvec(&Wire { version: VERSION, places }).expect("numbers can always be written");
        BASE64.encode(bytes)
    }

    pub(super) fn place(&self, coin: &AssetId) -> Option<Position> {
        self.0.get(coin).copied()
    }

    pub(super) fn advance(&mut self, coin: &AssetId, place: Position) {
        Arc::make_mut(&mut self.0).insert(coin.clone(), place);
    }
}

/// A coin's name in cursors (FNV-1a). Two coins of one name would cost their subscriber a gap, and nothing else.
fn short(coin: &AssetId) -> u32 {
    coin.as_str().bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coins(names: &[&str]) -> Vec<AssetId> {
        names.iter().map(|name| AssetId::new(name).unwrap()).collect()
    }

    fn cursor(names: &[&str]) -> Cursor {
        let mut cursor = Cursor::start();
        for (coin, offset) in coins(names).iter().zip(1..) {
            cursor.advance(coin, Position { epoch: u64::MAX, offset });
        }
        cursor
    }

    #[test]
    fn cursors_are_read_as_written_for_the_same_coins_or_more() {
        for (heard, asked) in [
            (vec![], vec!["bitcoin"]),
            (vec!["bitcoin"], vec!["bitcoin"]),
            (vec!["bitcoin", "ethereum"], vec!["ethereum", "bitcoin", "solana"]),
        ] {
            let written = cursor(&heard);
            assert_eq!(Cursor::decode(&written.encode(), &coins(&asked)), Ok(written), "{heard:?} {asked:?}");
        }
    }

    #[test]
    fn a_hundred_coins_far_along_still_fit() {
        let many: Vec<AssetId> = (0..100).map(|number| AssetId::new(&format!("coin-{number}")).unwrap()).collect();
        let mut cursor = Cursor::start();
        for coin in &many {
            cursor.advance(coin, Position { epoch: u64::MAX, offset: u64::MAX });
        }
        assert_eq!(Cursor::decode(&cursor.encode(), &many), Ok(cursor));
    }

    #[test]
    fn everything_else_is_refused() {
        let bitcoin = coins(&["bitcoin"]);
        let version = |version| BASE64.encode(postcard::to_stdvec(&Wire { version, places: vec![] }).unwrap());
        let place = (short(&bitcoin[0]), Position { epoch: 1, offset: 1 });
        let twice = BASE64.encode(postcard::to_stdvec(&Wire { version: 1, places: vec![place, place] }).unwrap());
        assert!(Cursor::decode(&version(1), &bitcoin).is_ok());
        for text in [
            "",
            "?",
            "AA",
            "MTIzNDU2Nzg5MA",
            &version(2),
            &twice,
            &format!("{}AA", version(1)),
            &cursor(&["ethereum"]).encode(),
            &cursor(&["bitcoin", "ethereum"]).encode(),
            &"A".repeat(100_000),
        ] {
            assert_eq!(Cursor::decode(text, &bitcoin), Err(InvalidCursor), "{}", &text[..text.len().min(40)]);
        }
    }
}
