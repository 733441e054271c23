//! What must stay secret, and what is proved with it: the master key, keys made from it, sealing, signing, random
//! bytes, and comparisons that take the same time whatever they find.
//!
//! Owns the library that computes these. It keeps nothing, decides nothing, and never puts a key into a message: all
//! its types print as nothing. Randomness is no parameter here, because nobody may be able to seed it. A new
//! computation gets a file named after it; each file is tested against the published vectors of its standard.

mod constant_time;
mod error;
mod hmac;
mod key;
mod key_file;
mod master;
mod random;
mod seal;
mod shown_once;
mod signer;

pub use constant_time::constant_time_eq;
pub use error::{KeyError, Unreadable};
pub use hmac::{KeyedHash, hmac_sha1};
pub use key::Key;
pub use master::MasterKey;
pub use random::random;
pub use seal::Seal;
pub use shown_once::ShownOnce;
pub use signer::{PublicKey, Signature, Signer, is_signed_by};
