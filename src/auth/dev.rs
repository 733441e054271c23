//! Tokens for development: signed with the configured secret, for `tidegate token` and the sandbox.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::{
    config::AuthConfig,
    model::{Role, Timestamp},
};

/// A token for `subject` that an [`Authenticator`](super::Authenticator) with the same `config` accepts from `now`
/// for `lifetime`, as long as `config` uses a secret and not `jwks_url`.
///
/// # Panics
/// Never: HMAC takes a key of any length, and the claims are texts and whole numbers.
#[must_use]
pub fn mint(config: &AuthConfig, subject: &str, role: Role, lifetime: Duration, now: Timestamp) -> String {
    let issued_at = now.timestamp();
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut claims = json!({ "sub": subject, "iat": issued_at, "exp": issued_at.saturating_add(lifetime) });
    claims[config.role_claim.as_str()] = json!(role);
    if let Some(issuer) = &config.issuer {
        claims["iss"] = json!(issuer);
    }
    if let Some(audience) = &config.audience {
        claims["aud"] = json!(audience);
    }
    let key = EncodingKey::from_secret(config.secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("HMAC signs any JSON object")
}
