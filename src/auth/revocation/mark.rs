//! By what a token is known once it is revoked.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    auth::{AuthError, claims::time_claim, token::UnverifiedToken},
    model::Timestamp,
};

/// A digest of what the token's signature signs, or of its `jti`. The signature itself is left out: those of ES256 can be
/// rewritten without the key, and the token would be another text.
pub(super) type Mark = [u8; 32];

/// What is remembered of a good token, to find it among revoked ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) struct TokenMarks {
    pub(super) signed: Mark,
    pub(super) jti: Option<Mark>,
    pub(super) issued_at: Option<Timestamp>,
}

impl TokenMarks {
    /// Those of a token whose claims were checked.
    pub(in crate::auth) fn new(token: &UnverifiedToken<'_>, claims: &Map<String, Value>) -> Result<Self, AuthError> {
        Ok(Self {
            signed: of_signed(token.signed),
            jti: claims.get("jti").and_then(Value::as_str).map(of_jti),
            issued_at: time_claim(claims, "iat")?,
        })
    }
}

pub(super) fn of_signed(signed: &str) -> Mark {
    Sha256::new().chain_update("signed").chain_update([0]).chain_update(signed).finalize().into()
}

pub(super) fn of_jti(jti: &str) -> Mark {
    Sha256::new().chain_update("jti").chain_update([0]).chain_update(jti).finalize().into()
}
