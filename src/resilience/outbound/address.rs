//! Which addresses may be called.
//!
//! A URL may come from an operator or, later, from a user; its name may resolve to anything. So the rule is applied
//! to the addresses themselves, after the name was resolved and at every redirect, and nothing is resolved twice.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config::OutboundConfig;

/// Which addresses may be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressRule {
    allow_private: bool,
    allow_link_local: bool,
}

/// What kind of network an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    /// Loopback, private networks, carrier-grade NAT.
    Private,
    /// Neighbours, and where clouds answer with the machine's credentials.
    LinkLocal,
    /// Nothing that answers one caller: unspecified, multicast, broadcast, reserved.
    Nowhere,
}

/// Why an address is not called.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("only http and https are called")]
    Scheme,
    #[error("the URL names no host")]
    NoHost,
    #[error("the address is not allowed")]
    Address,
}

impl AddressRule {
    pub(super) fn new(config: &OutboundConfig) -> Self {
        Self { allow_private: config.allow_private_addresses, allow_link_local: config.allow_link_local_addresses }
    }

    /// Checks what a URL says by itself; names are checked when they are resolved.
    pub(super) fn check(self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme);
        }
        let literal = match url.host().ok_or(Refused::NoHost)? {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        if self.allows(literal) { Ok(()) } else { Err(Refused::Address) }
    }

    fn allows(self, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Private => self.allow_private,
            Reach::LinkLocal => self.allow_link_local,
            Reach::Nowhere => false,
        }
    }
}

impl Resolve for AddressRule {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| rule.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, Refused::Address).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    // The metadata services of Azure and Alibaba live outside the link-local network.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];
    let [first, second, ..] = address.octets();
    if first == 0 || first >= 224 {
        Reach::Nowhere
    } else if address.is_link_local() || METADATA.contains(&address) {
        Reach::LinkLocal
    } else if address.is_loopback() || address.is_private() || (first == 100 && (64..128).contains(&second)) {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // Amazon's metadata service over IPv6.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if let Some(embedded) = embedded_v4(address) {
        reach_v4(embedded)
    } else if address.is_unspecified() || address.is_multicast() {
        Reach::Nowhere
    } else if address.is_unicast_link_local() || address == METADATA {
        Reach::LinkLocal
    } else if address.is_loopback() || address.is_unique_local() {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, or behind the well-known NAT64 prefix.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
        return Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_reach() {
        for (text, expected) in [
            ("1.1.1.1", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.128.0.1", Reach::Public),
            ("169.254.169.254", Reach::LinkLocal),
            ("168.63.129.16", Reach::LinkLocal),
            ("100.100.100.200", Reach::LinkLocal),
            ("0.0.0.0", Reach::Nowhere),
            ("224.0.0.1", Reach::Nowhere),
            ("255.255.255.255", Reach::Nowhere),
            ("2606:4700::1111", Reach::Public),
            ("::1", Reach::Private),
            ("fc00::1", Reach::Private),
            ("fd00:ec2::254", Reach::LinkLocal),
            ("fe80::1", Reach::LinkLocal),
            ("::", Reach::Nowhere),
            ("ff02::1", Reach::Nowhere),
            ("::ffff:127.0.0.1", Reach::Private),
            ("::ffff:169.254.169.254", Reach::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Reach::LinkLocal),
            ("64:ff9b::101:101", Reach::Public),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_url_is_judged_by_its_scheme_and_literal_address() {
        let strict = AddressRule { allow_private: false, allow_link_local: false };
        let private = AddressRule { allow_private: true, allow_link_local: false };
        for (text, when_strict, when_private) in [
            ("https://example.com/", true, true),
            ("http://127.0.0.1:8080/", false, true),
            ("http://[::1]/", false, true),
            ("http://2130706433/", false, true),
            ("http://0x7f.1/", false, true),
            ("http://169.254.169.254/latest/meta-data", false, false),
            ("ftp://example.com/", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (strict.check(&url).is_ok(), private.check(&url).is_ok()),
                (when_strict, when_private),
                "{text}"
            );
        }
    }
}
