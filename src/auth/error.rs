//! Why a caller is not believed.

use std::time::Duration;

use thiserror::Error;

/// Why a token was refused. Messages are safe to send: they never repeat any part of the token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// The header is not `Bearer <token>`.
    #[error("expected an Authorization header of the form Bearer <token>")]
    NotBearer,
    /// The token is longer than any that we would read.
    #[error("the token is longer than 8192 bytes")]
    TooLong,
    /// The token is not a signed JWT with a JSON object as claims.
    #[error("the token is malformed")]
    Malformed,
    /// The token's algorithm is not accepted here.
    #[error("the token's signature algorithm is not accepted")]
    WrongAlgorithm,
    /// The token names a key that its issuer does not publish.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The signature does not match.
    #[error("the token's signature does not match")]
    BadSignature,
    /// The token carries no `exp`.
    #[error("the token has no expiry")]
    NoExpiry,
    /// The token's time has passed.
    #[error("the token has expired")]
    Expired,
    /// The token's time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token comes from another issuer.
    #[error("the token's issuer is not accepted")]
    WrongIssuer,
    /// The token is meant for somebody else.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// The token's `sub` is missing, empty or longer than 256 characters.
    #[error("the token's subject must have 1 to 256 characters")]
    BadSubject,
    /// The issuer's keys cannot be had at present: the caller may be right, so this is our fault, not theirs.
    #[error("the keys to check tokens with are not available at present")]
    KeysUnavailable {
        /// When trying again makes sense.
        retry_after: Option<Duration>,
    },
}

impl AuthError {
    /// Whether the fault is ours and passes by itself (answer 503), instead of the token's (answer 401).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::KeysUnavailable { .. })
    }

    /// When trying again makes sense.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::KeysUnavailable { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// The label under which refusals are counted.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NotBearer => "not_bearer",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::BadSubject => "bad_subject",
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }
}
