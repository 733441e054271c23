//! The keys that count at one moment.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    auth::{AuthError, token::UnverifiedToken},
    config::Secret,
};

/// More keys than this are not read; issuers publish two or three.
const MOST_KEYS: usize = 64;

/// RSA keys from 2048 to 8192 bits, in bytes. Shorter ones can be broken, longer ones cost too much to check.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// The keys that count at one moment.
#[derive(Debug)]
pub(in crate::auth) struct KeySet {
    /// Differs between any two sets; what another set vouched for is checked again.
    pub(in crate::auth) version: u64,
    keys: Vec<Key>,
}

#[derive(Debug)]
pub(in crate::auth) struct Key {
    id: Option<String>,
    /// The one algorithm that the key is for. The key says it, never the token.
    pub(in crate::auth) algorithm: Algorithm,
    pub(in crate::auth) decoding: DecodingKey,
}

/// An issuer's answer. Keys are read one by one, so that one of a new kind does not hide the others.
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    pub(super) fn of_secret(secret: &Secret) -> Self {
        let decoding = DecodingKey::from_secret(secret.expose().as_bytes());
        Self { version: 0, keys: vec![Key { id: None, algorithm: Algorithm::HS256, decoding }] }
    }

    /// The usable keys of a JWKS document; none when the document cannot be read or holds no usable key.
    pub(super) fn of_jwks(document: &[u8], version: u64, accepted: &[Algorithm]) -> Option<Self> {
        let jwks: Jwks = serde_json::from_slice(document).ok()?;
        let usable = |value| Key::of_jwk(&serde_json::from_value(value).ok()?);
        let keys = jwks.keys.into_iter().take(MOST_KEYS).filter_map(usable);
        let keys: Vec<Key> = keys.filter(|key| accepted.contains(&key.algorithm)).collect();
        (!keys.is_empty()).then_some(Self { version, keys })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that `token` names, or the only one it can mean when it names none.
    pub(in crate::auth) fn find(&self, token: &UnverifiedToken<'_>) -> Result<&Key, AuthError> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == token.algorithm && key.answers_to(token));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(AuthError::UnknownKey),
        }
    }
}

impl Key {
    fn of_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = common.key_operations.as_ref().is_none_or(|uses| uses.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let (algorithm, declared) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            _ => return None,
        };
        if common.key_algorithm.is_some_and(|algorithm| algorithm != declared) {
            return None;
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = decoding.kind()
            && !RSA_MODULUS_BYTES.contains(&n.len())
        {
            return None;
        }
        Some(Self { id: common.key_id.clone(), algorithm, decoding })
    }

    fn answers_to(&self, token: &UnverifiedToken<'_>) -> bool {
        // A secret has no id, and tokens for it may carry any.
        self.algorithm == Algorithm::HS256 || token.key_id.is_none() || self.id == token.key_id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOTH: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

    fn ec(extra: &Value) -> Value {
        let mut key = json!({ "kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43), "kid": "a" });
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    fn usable(keys: &[Value]) -> usize {
        let document = serde_json::to_vec(&json!({ "keys": keys })).unwrap();
        KeySet::of_jwks(&document, 1, &BOTH).map_or(0, |set| set.len())
    }

    #[test]
    fn only_keys_for_checking_our_algorithms_are_used() {
        assert_eq!(usable(&[ec(&json!({})), ec(&json!({ "use": "sig" })), ec(&json!({ "alg": "ES256" }))]), 3);
        for unfit in [
            ec(&json!({ "use": "enc" })),
            ec(&json!({ "key_ops": ["sign"] })),
            ec(&json!({ "alg": "ES384" })),
            ec(&json!({ "alg": "something new" })),
            ec(&json!({ "crv": "P-384" })),
            json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
            json!({ "kty": "RSA", "n": "A".repeat(170), "e": "AQAB" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43) }),
            json!({ "kty": "new" }),
            json!("nonsense"),
        ] {
            assert_eq!(usable(std::slice::from_ref(&unfit)), 0, "{unfit}");
            assert_eq!(usable(&[unfit.clone(), ec(&json!({}))]), 1, "{unfit} hides a good key");
        }
    }

    #[test]
    fn a_document_without_a_usable_key_is_no_set() {
        for document in ["", "<html>", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}"] {
            assert!(KeySet::of_jwks(document.as_bytes(), 1, &BOTH).is_none(), "{document}");
        }
    }

    #[test]
    fn the_allow_list_holds_for_keys_too() {
        let document = serde_json::to_vec(&json!({ "keys": [ec(&json!({}))] })).unwrap();
        assert!(KeySet::of_jwks(&document, 1, &[Algorithm::RS256]).is_none());
    }
}
