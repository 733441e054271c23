//! Who is asking: a bearer token becomes a [`Principal`](crate::model::Principal), or a reason why not.
//!
//! Owns tokens, their keys and the memory of good tokens, API keys, and the second factor. It never decides what a role
//! may do (`graphql/` does), never trusts a claim before the signature, and never puts a part of a token into a message.
//! A new kind of key gets a file in `keys/`; a new claim is checked in `claims.rs`; a new way to prove that one is there
//! gets a file in `factor/`. `tests/` beside this file holds the tables of bad tokens.

mod api_key;
mod authenticator;
mod claims;
pub mod dev;
mod error;
mod factor;
mod keys;
#[cfg(test)]
mod tests;
mod token;
mod verified;

pub use api_key::{ApiKey, ApiKeyDigest, MalformedApiKey};
pub use authenticator::Authenticator;
pub use error::AuthError;
pub use factor::{
    CodeError, IssuedRecoveryCode, RECOVERY_CODES, RecoveryCodes, RecoveryHash, Step, StepUp, StepUpError, StepUpToken,
    TotpSeal, TotpSecret,
};
