//! Good tokens, remembered so that a signature is checked once and not on every request.

use sha2::{Digest, Sha256};

use crate::model::{Principal, Timestamp};

/// The memory of good tokens: bounded, keyed by hash so that no token is kept, and never beyond a token's end or the
/// key set that vouched for it.
#[derive(Debug, Clone)]
pub(super) struct VerifiedTokens(moka::future::Cache<Fingerprint, Verified>);

/// SHA-256 of a token.
pub(super) type Fingerprint = [u8; 32];

#[derive(Debug, Clone)]
struct Verified {
    principal: Principal,
    keys_version: u64,
}

impl VerifiedTokens {
    pub(super) fn new(capacity: u64) -> Self {
        Self(moka::future::Cache::new(capacity))
    }

    pub(super) fn fingerprint(token: &str) -> Fingerprint {
        Sha256::digest(token).into()
    }

    pub(super) async fn find(&self, token: &Fingerprint, keys_version: u64, now: Timestamp) -> Option<Principal> {
        let known = self.0.get(token).await?;
        let alive = known.principal.expires_at.is_some_and(|end| now < end);
        (alive && known.keys_version == keys_version).then_some(known.principal)
    }

    pub(super) async fn remember(&self, token: Fingerprint, keys_version: u64, principal: Principal) {
        self.0.insert(token, Verified { principal, keys_version }).await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::Role;

    #[tokio::test]
    async fn a_good_token_is_remembered_until_its_end_and_only_for_its_keys() {
        let tokens = VerifiedTokens::new(10);
        let now = Timestamp::UNIX_EPOCH;
        let end = now + TimeDelta::seconds(10);
        let principal = Principal { subject: "alice".into(), role: Role::User, expires_at: Some(end) };
        let token = VerifiedTokens::fingerprint("token");
        tokens.remember(token, 1, principal.clone()).await;
        let just_before = end - TimeDelta::milliseconds(1);
        assert_eq!(tokens.find(&token, 1, just_before).await, Some(principal));
        assert_eq!(tokens.find(&token, 1, end).await, None);
        assert_eq!(tokens.find(&token, 2, now).await, None);
        assert_eq!(tokens.find(&VerifiedTokens::fingerprint("other"), 1, now).await, None);
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let tokens = VerifiedTokens::new(10);
        for n in 0..1_000 {
            let principal = Principal { subject: "a".into(), role: Role::User, expires_at: Some(Timestamp::MAX_UTC) };
            tokens.remember(VerifiedTokens::fingerprint(&n.to_string()), 1, principal).await;
        }
        tokens.0.run_pending_tasks().await;
        assert!(tokens.0.entry_count() <= 10);
    }
}
