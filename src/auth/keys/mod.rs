//! Where the keys come from that tokens are checked with: one shared secret, or an issuer's published set.

mod published;
mod set;

use std::sync::Arc;

use self::published::PublishedKeys;
pub(super) use self::set::KeySet;
use super::{AuthError, token::UnverifiedToken};
use crate::{
    config::AuthConfig,
    model::Clock,
    resilience::{Outbound, Upstreams},
};

/// The source of keys. There is one, chosen by the configuration: a secret is never tried where keys are published,
/// so nobody can sign with a public key as the secret.
#[derive(Debug)]
pub(super) enum KeySource {
    /// One shared secret: HS256 and nothing else.
    Secret(Arc<KeySet>),
    /// An issuer's JWKS address: RS256 and ES256.
    Published(Arc<PublishedKeys>),
}

impl KeySource {
    pub(super) fn new(config: &AuthConfig, clock: Clock, upstreams: &Upstreams, outbound: Outbound) -> Self {
        match &config.jwks_url {
            None => Self::Secret(Arc::new(KeySet::of_secret(&config.secret))),
            Some(url) => Self::Published(PublishedKeys::new(url.clone(), config, clock, upstreams, outbound)),
        }
    }

    /// The keys that count now.
    pub(super) async fn current(&self) -> Result<Arc<KeySet>, AuthError> {
        match self {
            Self::Secret(keys) => Ok(Arc::clone(keys)),
            Self::Published(published) => published.current().await,
        }
    }

    /// The keys that count once the issuer was asked for a key that `keys` lack; `keys` again when nobody asks.
    pub(super) async fn beyond(&self, keys: Arc<KeySet>) -> Result<Arc<KeySet>, AuthError> {
        match self {
            Self::Secret(_) => Ok(keys),
            Self::Published(published) => published.beyond(keys).await,
        }
    }

    /// Refuses algorithms that no key of this source can have, before anybody is asked for keys.
    pub(super) fn check_algorithm(&self, token: &UnverifiedToken<'_>) -> Result<(), AuthError> {
        let accepted = match self {
            Self::Secret(_) => token.algorithm == jsonwebtoken::Algorithm::HS256,
            Self::Published(published) => published.accepts(token.algorithm),
        };
        if accepted { Ok(()) } else { Err(AuthError::WrongAlgorithm) }
    }
}
