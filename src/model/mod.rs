//! Plain values shared by every room: identifiers, amounts, principals, time and chance.
//!
//! Nothing here does I/O or knows a framework. The wall clock is read in `clock.rs` and nowhere else.
//! A new shared value gets a file named after it. `tests/it/architecture.rs` holds the room to this.

mod amount;
mod asset;
mod chain_id;
mod chance;
mod clock;
mod edits;
mod field_error;
mod hash;
mod nul;
mod origin;
mod principal;
mod redactor;
mod token;
mod units;

pub use amount::{AmountError, Decimal, parse_decimal};
pub use asset::{AssetId, InvalidAssetId};
pub use chain_id::{ChainId, InvalidChainId};
pub use chance::Chance;
pub use clock::{Clock, Instant, Timestamp};
pub use edits::edits;
pub use field_error::FieldError;
pub use hash::stable_hash;
pub use nul::without_nul;
pub use origin::Origin;
pub use principal::{Principal, Role, UnknownRole, is_subject};
pub use redactor::Redactor;
pub use token::Token;
pub use units::{InvalidUnits, Units};
