//! Whose account it is.

use std::{fmt, net::IpAddr};

use sha2::{Digest, Sha256};

use crate::model::Principal;

/// A caller's account under one policy: 128 bits of a digest, the same on every node, so that neither logs nor
/// a shared store hold names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitKey([u8; 16]);

impl LimitKey {
    /// The principal's account, or the address's where there is none. IPv6 addresses of one /64 are one caller, as
    /// whoever has one of them has them all; an IPv4 address is the same caller however it is written.
    #[must_use]
    pub fn for_caller(principal: Option<&Principal>, address: IpAddr, policy_name: &str) -> Self {
        match principal {
            Some(principal) => Self::digest("subject", principal.subject.as_bytes(), policy_name),
            None => match address.to_canonical() {
                IpAddr::V4(address) => Self::digest("ipv4", &address.octets(), policy_name),
                IpAddr::V6(address) => Self::digest("ipv6", &address.octets()[..8], policy_name),
            },
        }
    }

    /// The kind keeps a subject that looks like an address apart from that address; the length, a caller from a policy.
    fn digest(kind: &str, caller: &[u8], policy_name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        hash.update([0]);
        hash.update((caller.len() as u64).to_be_bytes());
        hash.update(caller);
        hash.update(policy_name);
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, ..] = self.0;
        write!(f, "LimitKey({first:02x}{second:02x}{third:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::Role;

    fn subject(name: &str) -> Principal {
        Principal { subject: name.into(), role: Role::User, expires_at: None }
    }

    fn key(principal: Option<&Principal>, address: &str, policy: &str) -> LimitKey {
        LimitKey::for_caller(principal, address.parse().unwrap(), policy)
    }

    #[test]
    fn a_subject_is_the_same_caller_at_every_address() {
        let alice = subject("alice");
        assert_eq!(key(Some(&alice), "192.0.2.1", "p"), key(Some(&alice), "2001:db8::1", "p"));
    }

    #[test]
    fn an_address_counts_by_itself_or_by_its_slash_64() {
        assert_eq!(key(None, "2001:db8:1:2::1", "p"), key(None, "2001:db8:1:2:ffff::9", "p"));
        assert_eq!(key(None, "192.0.2.1", "p"), key(None, "::ffff:192.0.2.1", "p"));
    }

    #[test]
    fn different_callers_and_policies_have_different_accounts() {
        let (alice, posing, long) = (subject("alice"), subject("192.0.2.1"), subject("alicep"));
        let keys = [
            key(Some(&alice), "192.0.2.1", "p"),
            key(Some(&alice), "192.0.2.1", "q"),
            key(Some(&alice), "192.0.2.1", "pp"),
            key(Some(&long), "192.0.2.1", "p"),
            key(Some(&posing), "192.0.2.1", "p"),
            key(None, "192.0.2.1", "p"),
            key(None, "192.0.2.2", "p"),
            key(None, "::ffff:192.0.2.3", "p"),
            key(None, "2001:db8:1:2::1", "p"),
            key(None, "2001:db8:1:3::1", "p"),
        ];
        assert_eq!(HashSet::from(keys).len(), keys.len());
    }

    #[test]
    fn a_key_does_not_tell_who_it_is() {
        assert!(!format!("{:?}", key(Some(&subject("alice")), "192.0.2.1", "p")).contains("alice"));
    }
}
