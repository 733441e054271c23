//! What coins are worth: the sources that say so, how they are weighed against each other, and the feed. And what swaps
//! would bring: the venues that quote them, and how their quotes are compared.
//!
//! [`Prices`] is the way in, [`Swaps`] the one for swaps. No price is ever invented: where too few sources agree, the last one on which enough
//! did is given, flagged stale, or a typed error. Amounts are exact decimals from the wire to the caller.
//! A new source is a file in `sources/`, a new venue one in `venues/`; a new way of weighing quotes belongs in `aggregate/`.
//! The promises are tested in `tests/` of this room and, over the stand-ins, in `tests/it/`.

mod aggregate;
mod catalogue;
mod cursor;
mod demand;
mod desk;
mod error;
mod feed;
mod leadership;
mod lease;
mod panel;
mod price;
mod prices;
#[cfg(test)]
mod recorded;
pub mod sources;
mod swaps;
#[cfg(test)]
mod tests;
mod tokens;
mod updates;
pub mod venues;
mod wire;

pub use catalogue::{Catalogue, Coin, Listing};
pub use cursor::{Cursor, InvalidCursor};
pub use desk::{PriceCache, price_tag};
pub use error::PriceError;
pub use leadership::Leadership;
pub use lease::Lease;
pub use price::{Confidence, Currency, Price, PriceUpdate, Quorum, RejectReason, SourcePrice, Stamp};
pub use prices::{PriceParts, Prices};
pub use swaps::{
    FailureCode, Gas, Issue, IssueCode, RankedBy, SwapError, SwapFailure, SwapParts, SwapQuote, SwapRequest, SwapRound,
    Swaps,
};
pub use tokens::{Family, TokenError, Tokens};
pub use updates::{PriceTick, PriceUpdates};
