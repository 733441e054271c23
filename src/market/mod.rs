//! What coins are worth: the sources that say so, how they are weighed against each other, and the feed.
//!
//! [`Prices`] is the way in. No price is ever invented: where too few sources agree, the last one on which enough
//! did is given, flagged stale, or a typed error. Amounts are exact decimals from the wire to the caller.
//! A new source is a file in `sources/`; a new way of weighing quotes belongs in `aggregate/`.
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
#[cfg(test)]
mod tests;
mod updates;
mod wire;

pub use catalogue::{Catalogue, Coin, Listing};
pub use cursor::{Cursor, InvalidCursor};
pub use desk::{PriceCache, price_tag};
pub use error::PriceError;
pub use leadership::Leadership;
pub use lease::Lease;
pub use price::{Confidence, Currency, Price, PriceUpdate, Quorum, RejectReason, SourcePrice, Stamp};
pub use prices::{PriceParts, Prices};
pub use updates::{PriceTick, PriceUpdates};
