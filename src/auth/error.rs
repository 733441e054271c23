//! Why a caller is not believed.

use std::time::Duration;

use thiserror::Error;

/// How soon a database may be back.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// Why a token or an API key was refused. Messages are safe to send: they never repeat any part of either.
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
    /// The token's `sub` is missing, empty, longer than 256 characters or has a NUL in it.
    #[error("the token's subject must have 1 to 256 characters, and no NUL")]
    BadSubject,
    /// The token was revoked, or all tokens of its subject that are as old.
    #[error("the token was revoked")]
    Revoked,
    /// The list of revoked tokens was never read since the start: the token may be on it.
    #[error("whether the token was revoked cannot be told at present")]
    RevocationsUnavailable,
    /// It is meant to be an API key and has not the form of one.
    #[error("the API key is malformed")]
    MalformedApiKey,
    /// There is no such API key.
    #[error("the API key is unknown")]
    UnknownApiKey,
    /// The API key's time has passed.
    #[error("the API key has expired")]
    ExpiredApiKey,
    /// The API key was revoked.
    #[error("the API key was revoked")]
    RevokedApiKey,
    /// API keys cannot be looked up at present.
    #[error("API keys cannot be checked at present")]
    ApiKeysUnavailable,
    /// Too many bad API keys came from this address.
    #[error("too many bad API keys came from this address")]
    TooManyApiKeys {
        /// When trying again makes sense.
        retry_after: Duration,
    },
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
        matches!(self, Self::KeysUnavailable { .. } | Self::RevocationsUnavailable | Self::ApiKeysUnavailable)
    }

    /// Whether there were too many bad ones before (answer 429).
    #[must_use]
    pub fn is_limited(&self) -> bool {
        matches!(self, Self::TooManyApiKeys { .. })
    }

    /// When trying again makes sense.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::KeysUnavailable { retry_after } => *retry_after,
            Self::TooManyApiKeys { retry_after } => Some(*retry_after),
            Self::RevocationsUnavailable | Self::ApiKeysUnavailable => Some(DATABASE_PAUSE),
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
            Self::Revoked => "revoked",
            Self::RevocationsUnavailable => "revocations_unavailable",
            Self::MalformedApiKey => "malformed_api_key",
            Self::UnknownApiKey => "unknown_api_key",
            Self::ExpiredApiKey => "expired_api_key",
            Self::RevokedApiKey => "revoked_api_key",
            Self::ApiKeysUnavailable => "api_keys_unavailable",
            Self::TooManyApiKeys { .. } => "too_many_api_keys",
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }
}
