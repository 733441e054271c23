//! Good tokens, remembered so that a signature is checked once and not on every request.

use sha2::{Digest, Sha256};

use super::revocation::TokenMarks;
use crate::model::{Principal, Timestamp};

/// The memory of good tokens: bounded, keyed by hash so that no token is kept, and never beyond a token's end or the
/// key set that vouched for it.
#[derive(Debug, Clone)]
pub(super) struct VerifiedTokens(moka::future::Cache<Fingerprint, (u64, Verified)>);

/// SHA-256 of a token.
pub(super) type Fingerprint = [u8; 32];

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) principal: Principal,
    /// By which it is found when it is revoked, which remembering it must not outlive.
    pub(super) marks: TokenMarks,
}

impl VerifiedTokens {
    pub(super) fn new(capacity: u64) -> Self {
        Self(moka::future::Cache::new(capacity))
    }

    pub(super) fn fingerprint(token: &str) -> Fingerprint {
        Sha256::digest(token).into()
    }

    pub(super) async fn find(&self, token: &Fingerprint, keys_version: u64, now: Timestamp) -> Option<Verified> {
        let (version, known) = self.0.get(token).await?;
        let alive = known.principal.expires_at.is_some_and(|end| now < end);
        (alive && version == keys_version).then_some(known)
    }

    pub(super) async fn remember(&self, token: Fingerprint, keys_version: u64, verified: Verified) {
        self.0.insert(token, (keys_version, verified)).await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        auth::{dev, token::UnverifiedToken},
        config::AuthConfig,
        model::Role,
    };

    fn verified(subject: &str, expires_at: Timestamp) -> Verified {
        let lifetime = std::time::Duration::from_secs(1);
        let token = dev::mint(&AuthConfig::defaults(), subject, Role::User, lifetime, Timestamp::UNIX_EPOCH);
        let token = UnverifiedToken::read(&token).unwrap();
        let marks = TokenMarks::new(&token, &token.unverified_claims().unwrap()).unwrap();
        let principal = Principal { subject: subject.into(), role: Role::User, expires_at: Some(expires_at) };
        Verified { principal, marks }
    }

    #[tokio::test]
    async fn a_good_token_is_remembered_until_its_end_and_only_for_its_keys() {
        let tokens = VerifiedTokens::new(10);
        let now = Timestamp::UNIX_EPOCH;
        let end = now + TimeDelta::seconds(10);
        let verified = verified("alice", end);
        let token = VerifiedTokens::fingerprint("token");
        tokens.remember(token, 1, verified.clone()).await;
        let just_before = end - TimeDelta::milliseconds(1);
        assert_eq!(tokens.find(&token, 1, just_before).await, Some(verified));
        assert_eq!(tokens.find(&token, 1, end).await, None);
        assert_eq!(tokens.find(&token, 2, now).await, None);
        assert_eq!(tokens.find(&VerifiedTokens::fingerprint("other"), 1, now).await, None);
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let tokens = VerifiedTokens::new(10);
        for n in 0..1_000 {
            let verified = verified("a", Timestamp::MAX_UTC);
            tokens.remember(VerifiedTokens::fingerprint(&n.to_string()), 1, verified).await;
        }
        tokens.0.run_pending_tasks().await;
        assert!(tokens.0.entry_count() <= 10);
    }
}
