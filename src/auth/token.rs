//! A token's text, taken apart without believing any of it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::AuthError;

/// Longer tokens are refused unread; real ones have one to two kilobytes.
pub(super) const LONGEST_TOKEN_BYTES: usize = 8 * 1_024;

/// A token whose header was read and whose signature was not yet checked.
#[derive(Debug)]
pub(super) struct UnverifiedToken<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// Header and claims: what the signature is of.
    pub(super) signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a verifier must understand (RFC 7515, 4.1.11). We understand none.
    crit: Option<Value>,
}

/// Takes the token out of an `Authorization` header.
pub(super) fn bearer(authorization: &str) -> Result<&str, AuthError> {
    let (scheme, token) = authorization.trim().split_once(' ').ok_or(AuthError::NotBearer)?;
    let token = token.trim_start();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(AuthError::NotBearer);
    }
    if token.len() > LONGEST_TOKEN_BYTES {
        return Err(AuthError::TooLong);
    }
    Ok(token)
}

impl<'a> UnverifiedToken<'a> {
    /// Reads the header of a compact JWS.
    pub(super) fn read(token: &'a str) -> Result<Self, AuthError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        if claims.contains('.') {
            return Err(AuthError::Malformed);
        }
        let header: Header = decode(header)?;
        if header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        let algorithm = match header.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            _ => return Err(AuthError::WrongAlgorithm),
        };
        Ok(Self { algorithm, key_id: header.kid, signed, claims, signature })
    }

    /// Checks the signature and, only then, reads the claims. The key decides the algorithm, never the token.
    pub(super) fn verify(&self, key: &DecodingKey, algorithm: Algorithm) -> Result<Map<String, Value>, AuthError> {
        match crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm) {
            Ok(true) => decode(self.claims),
            Ok(false) | Err(_) => Err(AuthError::BadSignature),
        }
    }
}

impl UnverifiedToken<'_> {
    /// What the token says of itself, which nobody has checked.
    pub(super) fn unverified_claims(&self) -> Result<Map<String, Value>, AuthError> {
        decode(self.claims)
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, AuthError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| AuthError::Malformed)
}
