//! From an `Authorization` header to a principal.

use std::sync::Arc;

use metrics::counter;

use super::{
    AuthError,
    claims::Expectations,
    keys::{KeySet, KeySource},
    token::{self, UnverifiedToken},
    verified::VerifiedTokens,
};
use crate::{
    config::AuthConfig,
    model::{Clock, Principal, Timestamp},
    resilience::{Outbound, Upstreams},
};

/// Turns bearer tokens into principals. Cheap to clone; clones share keys and memory.
#[derive(Debug, Clone)]
pub struct Authenticator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    expectations: Expectations,
    keys: KeySource,
    verified: VerifiedTokens,
}

impl Authenticator {
    /// An authenticator that believes what `config` says. Published keys are fetched through `outbound` as the
    /// upstream `jwks`, when the first token comes.
    #[must_use]
    pub fn new(config: &AuthConfig, clock: Clock, upstreams: &Upstreams, outbound: Outbound) -> Self {
        Self(Arc::new(Inner {
            expectations: Expectations::new(config),
            keys: KeySource::new(config, clock.clone(), upstreams, outbound),
            verified: VerifiedTokens::new(config.token_cache_entries),
            clock,
        }))
    }

    /// The principal behind an `Authorization` header's value; none without a header.
    ///
    /// # Errors
    /// Every reason not to believe the token, each a variant of its own. A bad token is never treated as no token.
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Option<Principal>, AuthError> {
        let Some(authorization) = authorization else { return Ok(None) };
        let outcome = match token::bearer(authorization) {
            Ok(token) => self.0.verify(token).await,
            Err(error) => Err(error),
        };
        let label = outcome.as_ref().map_or_else(AuthError::label, |_| "accepted");
        counter!("tidegate_auth_tokens_total", "outcome" => label).increment(1);
        outcome.map(Some)
    }
}

impl Inner {
    async fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        let unverified = UnverifiedToken::read(token)?;
        self.keys.check_algorithm(&unverified)?;
        let keys = self.keys.current().await?;
        let fingerprint = VerifiedTokens::fingerprint(token);
        if let Some(principal) = self.verified.find(&fingerprint, keys.version, self.clock.now()).await {
            return Ok(principal);
        }
        let (keys, principal) = self.check(&unverified, keys).await?;
        self.verified.remember(fingerprint, keys.version, principal.clone()).await;
        Ok(principal)
    }

    /// Signature first, claims after; a token whose key is not among `keys` may be checked with newer ones.
    async fn check(
        &self,
        token: &UnverifiedToken<'_>,
        keys: Arc<KeySet>,
    ) -> Result<(Arc<KeySet>, Principal), AuthError> {
        let keys = if keys.find(token).is_ok() { keys } else { self.keys.beyond(keys).await? };
        let key = keys.find(token)?;
        let claims = token.verify(&key.decoding, key.algorithm)?;
        let now: Timestamp = self.clock.now();
        let principal = self.expectations.principal(&claims, now)?;
        Ok((keys, principal))
    }
}
