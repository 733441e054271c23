//! Whose account it is.

use std::{fmt, net::IpAddr};

use sha2::{Digest, Sha256};

use super::Policy;
use crate::model::Principal;

/// Who is asking, as a digest: neither logs nor a shared store hold names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller([u8; 32]);

/// A caller's account under one policy, the same on every node: 64 bits of the caller's digest, and 64 of the account's.
/// What accounts of one caller have in common is what keeps them in one slot of a Redis cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LimitKey([u8; 16]);

impl Caller {
    /// The principal, or the address where there is none. IPv6 addresses of one /64 are one caller, as whoever has one
    /// of them has them all; an IPv4 address is the same caller however it is written.
    #[must_use]
    pub fn new(principal: Option<&Principal>, address: IpAddr) -> Self {
        match principal {
            Some(principal) => Self::of_subject(&principal.subject),
            None => Self::of_address(address),
        }
    }

    /// A subject, wherever it calls from.
    #[must_use]
    pub fn of_subject(subject: &str) -> Self {
        Self::digest("subject", subject.as_bytes())
    }

    /// An address, whoever calls from it.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::digest("ipv4", &address.octets()),
            IpAddr::V6(address) => Self::digest("ipv6", &address.octets()[..8]),
        }
    }

    /// The kind keeps a subject that looks like an address apart from that address.
    fn digest(kind: &str, name: &[u8]) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize().into())
    }

    /// The caller's account under the policy. Policies that differ in any field keep separate accounts.
    pub(super) fn account(&self, policy: &Policy) -> LimitKey {
        let account: [u8; 32] = Sha256::new()
            .chain_update(self.0)
            .chain_update(policy.limit.to_be_bytes())
            .chain_update(policy.window.as_nanos().to_be_bytes())
            .chain_update(policy.name.as_bytes())
            .finalize()
            .into();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.0[..8]);
        key[8..].copy_from_slice(&account[..8]);
        LimitKey(key)
    }
}

impl LimitKey {
    /// The account's name in Redis. What stands in braces is the caller's, so that all accounts of a check share a slot.
    pub(super) fn name(&self) -> String {
        let digits = u128::from_be_bytes(self.0);
        format!("limits:{{{:016x}}}:{:016x}", digits >> 64, digits & u128::from(u64::MAX))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, ..] = self.0;
        write!(f, "Caller({first:02x}{second:02x}{third:02x}…)")
    }
}

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::model::Role;

    fn subject(name: &str) -> Principal {
        Principal { subject: name.into(), role: Role::User, expires_at: None }
    }

    fn caller(principal: Option<&Principal>, address: &str) -> Caller {
        Caller::new(principal, address.parse().unwrap())
    }

    fn policy(name: &str, limit: u32, seconds: u64) -> Policy {
        Policy { name: name.into(), limit, window: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_subject_is_the_same_caller_at_every_address() {
        let alice = subject("alice");
        assert_eq!(caller(Some(&alice), "192.0.2.1"), caller(Some(&alice), "2001:db8::1"));
    }

    #[test]
    fn an_address_counts_by_itself_or_by_its_slash_64() {
        assert_eq!(caller(None, "2001:db8:1:2::1"), caller(None, "2001:db8:1:2:ffff::9"));
        assert_eq!(caller(None, "192.0.2.1"), caller(None, "::ffff:192.0.2.1"));
    }

    #[test]
    fn different_callers_and_policies_have_different_accounts() {
        let (alice, posing, long) = (subject("alice"), subject("192.0.2.1"), subject("alicep"));
        let callers = [
            caller(Some(&alice), "192.0.2.1"),
            caller(Some(&long), "192.0.2.1"),
            caller(Some(&posing), "192.0.2.1"),
            caller(None, "192.0.2.1"),
            caller(None, "192.0.2.2"),
            caller(None, "::ffff:192.0.2.3"),
            caller(None, "2001:db8:1:2::1"),
            caller(None, "2001:db8:1:3::1"),
        ];
        let policies = [policy("p", 1, 1), policy("q", 1, 1), policy("pp", 1, 1), policy("p", 2, 1), policy("p", 1, 2)];
        let accounts: HashSet<_> =
            callers.iter().flat_map(|caller| policies.iter().map(|policy| caller.account(policy))).collect();
        assert_eq!(accounts.len(), callers.len() * policies.len());
    }

    #[test]
    fn accounts_of_one_caller_share_what_stands_in_braces() {
        let tag = |name: &str| name[name.find('{').unwrap()..=name.find('}').unwrap()].to_owned();
        let alice = caller(Some(&subject("alice")), "192.0.2.1");
        let (one, other) = (alice.account(&policy("p", 1, 1)).name(), alice.account(&policy("q", 1, 1)).name());
        assert_ne!(one, other);
        assert_eq!(tag(&one), tag(&other));
        assert_ne!(tag(&one), tag(&caller(None, "192.0.2.1").account(&policy("p", 1, 1)).name()));
        assert_eq!(one.len(), "limits:{0123456789abcdef}:0123456789abcdef".len());
    }

    #[test]
    fn a_key_does_not_tell_who_it_is() {
        let alice = caller(Some(&subject("alice")), "192.0.2.1");
        assert!(!format!("{alice:?} {:?}", alice.account(&policy("p", 1, 1))).contains("alice"));
    }
}
