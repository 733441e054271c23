//! From an `Authorization` header to a principal.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use metrics::counter;

use super::{
    ApiKey, AuthError, AuthState,
    api_keys::KeyRing,
    claims::Expectations,
    keys::{KeySet, KeySource},
    revocation::{RevocationList, TokenMarks},
    token::{self, UnverifiedToken},
    verified::{Verified, VerifiedTokens},
};
use crate::{
    config::AuthConfig,
    model::{Clock, Principal, Timestamp},
    resilience::{Outbound, Upstreams},
};

/// Turns bearer tokens and API keys into principals. Cheap to clone; clones share keys and memory.
#[derive(Debug, Clone)]
pub struct Authenticator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    expectations: Expectations,
    keys: KeySource,
    verified: VerifiedTokens,
    revocations: RevocationList,
    api_keys: KeyRing,
}

impl Authenticator {
    /// An authenticator that believes what `config` says, where nothing is kept: no token is revoked, and there are no API
    /// keys. Published keys are fetched through `outbound` as the upstream `jwks`, when the first token comes.
    #[must_use]
    pub fn new(config: &AuthConfig, clock: Clock, upstreams: &Upstreams, outbound: Outbound) -> Self {
        let known = (RevocationList::empty(), KeyRing::empty(clock.clone()));
        Self::of(config, clock, upstreams, outbound, known)
    }

    /// Like [`new`](Self::new), and knows which tokens are revoked and which API keys there are.
    #[must_use]
    pub fn with_state(
        config: &AuthConfig,
        clock: Clock,
        upstreams: &Upstreams,
        outbound: Outbound,
        state: &AuthState,
    ) -> Self {
        Self::of(config, clock, upstreams, outbound, (state.revocations.list(), state.api_keys.ring()))
    }

    fn of(
        config: &AuthConfig,
        clock: Clock,
        upstreams: &Upstreams,
        outbound: Outbound,
        (revocations, api_keys): (RevocationList, KeyRing),
    ) -> Self {
        Self(Arc::new(Inner {
            expectations: Expectations::new(config),
            keys: KeySource::new(config, clock.clone(), upstreams, outbound),
            verified: VerifiedTokens::new(config.token_cache_entries),
            clock,
            revocations,
            api_keys,
        }))
    }

    /// Like [`authenticate_from`](Self::authenticate_from), where nobody knows the address: all who come so are one.
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Option<Principal>, AuthError> {
        self.authenticate_from(authorization, Ipv4Addr::UNSPECIFIED.into()).await
    }

    /// The principal behind an `Authorization` header's value that came from an address; none without a header.
    ///
    /// # Errors
    /// Every reason not to believe the token, each a variant of its own. A bad token is never treated as no token.
    pub async fn authenticate_from(
        &self,
        authorization: Option<&str>,
        address: IpAddr,
    ) -> Result<Option<Principal>, AuthError> {
        let Some(authorization) = authorization else { return Ok(None) };
        let outcome = match token::bearer(authorization) {
            Ok(key) if ApiKey::is_meant(key) => self.0.api_keys.principal(key, address).await,
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
        let remembered = self.verified.find(&fingerprint, keys.version, self.clock.now()).await;
        let verified = if let Some(verified) = remembered {
            verified
        } else {
            let (keys, verified) = self.check(&unverified, keys).await?;
            self.verified.remember(fingerprint, keys.version, verified.clone()).await;
            verified
        };
        // Every time: what is remembered may have been revoked since.
        self.revocations.check(&verified.marks, &verified.principal.subject)?;
        Ok(verified.principal)
    }

    /// Signature first, claims after; a token whose key is not among `keys` may be checked with newer ones.
    async fn check(
        &self,
        token: &UnverifiedToken<'_>,
        keys: Arc<KeySet>,
    ) -> Result<(Arc<KeySet>, Verified), AuthError> {
        let keys = if keys.find(token).is_ok() { keys } else { self.keys.beyond(keys).await? };
        let key = keys.find(token)?;
        let claims = token.verify(&key.decoding, key.algorithm)?;
        let now: Timestamp = self.clock.now();
        let principal = self.expectations.principal(&claims, now)?;
        Ok((keys, Verified { principal, marks: TokenMarks::new(token, &claims)? }))
    }
}
