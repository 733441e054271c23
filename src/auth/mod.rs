//! Who is asking: a bearer token becomes a [`Principal`](crate::model::Principal), or a reason why not.
//!
//! Owns tokens, their keys and the memory of good tokens. It never decides what a role may do (`graphql/` does), never
//! trusts a claim before the signature, and never puts a part of a token into a message. A new kind of key gets a file
//! in `keys/`; a new claim is checked in `claims.rs`. `tests/` beside this file holds the table of bad tokens.

mod authenticator;
mod claims;
pub mod dev;
mod error;
mod keys;
#[cfg(test)]
mod tests;
mod token;
mod verified;

pub use authenticator::Authenticator;
pub use error::AuthError;
