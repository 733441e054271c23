//! Who is asking: a bearer token becomes a [`Principal`](crate::model::Principal), or a reason why not.
//!
//! Owns tokens, their keys, the memory of good tokens and the list of revoked ones, API keys, and the second factor. It
//! never decides what a role may do (`graphql/` does), never trusts a claim before the signature, and never puts a part
//! of a token into a message. A new kind of key gets a file in `keys/`; a new claim is checked in `claims.rs`; a new way
//! to prove that one is there gets a file in `factor/`. What is kept stands in the tables of `migrations/log/`
//! `0003_auth`, and every change of it goes through `changes.rs`. `tests/` beside this file holds the tables of bad
//! tokens, `tests/it/auth_state.rs` what is kept, on both databases.

mod api_keys;
mod attempts;
mod authenticator;
mod changes;
mod claims;
pub mod dev;
mod error;
mod factor;
mod keys;
mod revocation;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod verified;

pub use api_keys::{
    API_KEYS_OF_A_PAGE, ApiKey, ApiKeyDigest, ApiKeyDraft, ApiKeyError, ApiKeyPage, ApiKeyPlace, ApiKeyRecord, ApiKeys,
    CreatedApiKey, MalformedApiKey,
};
pub use authenticator::Authenticator;
pub use error::AuthError;
pub use factor::{
    CodeError, Enrolment, FactorError, IssuedRecoveryCode, RECOVERY_CODES, RecoveryCodes, RecoveryHash, SecondFactors,
    Step, StepUpError, StepUpToken, SteppedUp, TotpSeal, TotpSecret,
};
pub use revocation::{RevocationError, TokenName, TokenRevocations};
pub use state::{AuthParts, AuthState};
