//! Whose address counts: the peer's, unless a trusted proxy says whom it speaks for.
//!
//! Limits are kept by this address, so a header is only believed as far as the chain of configured proxies reaches.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: walks the forwarded headers from the nearest hop outwards while hops are trusted.
pub(super) fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let by_list = hops(headers, &X_FORWARDED_FOR, parse_hop);
    let by_standard = hops(headers, &FORWARDED, parse_forwarded);
    match (by_list.is_empty(), by_standard.is_empty()) {
        (true, true) => peer,
        (false, true) => outermost(peer, &by_list, trusted),
        (true, false) => outermost(peer, &by_standard, trusted),
        // A proxy maintains one of the two and passes the other on as the client wrote it. Which one is unknown, so
        // when they disagree neither is believed.
        (false, false) => {
            let (listed, standard) = (outermost(peer, &by_list, trusted), outermost(peer, &by_standard, trusted));
            if listed == standard { listed } else { peer }
        }
    }
}

/// The first untrusted hop seen from the server; an unreadable hop ends the walk at the last readable one.
fn outermost(peer: IpAddr, hops: &[Option<IpAddr>], trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in hops.iter().rev() {
        let Some(address) = hop else { break };
        client = *address;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

fn hops(headers: &HeaderMap, name: &HeaderName, parse: fn(&str) -> Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).iter();
    lines.flat_map(|line| line.to_str().unwrap_or("unreadable").split(',')).map(parse).collect()
}

/// `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// One element of `Forwarded`: `for="[2001:db8::1]:4711";proto=https`.
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| parse_hop(value.trim().trim_matches('"')))?
    })
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn seen(peer: &str, headers: &[(HeaderName, &str)]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let headers: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        client_ip(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn x_forwarded_for_is_walked_from_right_to_left() {
        for (peer, forwarded, expected) in [
            ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
            (PROXY, "198.51.100.1", "198.51.100.1"),
            (PROXY, "6.6.6.6, 198.51.100.1, 10.2.3.4", "198.51.100.1"),
            (PROXY, "6.6.6.6, nonsense, 10.2.3.4", "10.2.3.4"),
            (PROXY, "nonsense", PROXY),
            (PROXY, "198.51.100.1:4711", "198.51.100.1"),
            (PROXY, "[2001:db8::1]:4711", "2001:db8::1"),
            (PROXY, "::ffff:198.51.100.1", "198.51.100.1"),
            ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("fd00::1", "2001:db8::1", "2001:db8::1"),
            (PROXY, "10.9.9.9, 10.8.8.8", "10.9.9.9"),
        ] {
            assert_eq!(seen(peer, &[(X_FORWARDED_FOR, forwarded)]), expected, "{peer} {forwarded}");
        }
    }

    #[test]
    fn forwarded_is_read_as_the_standard_writes_it() {
        let header = r#"for=6.6.6.6, For="[2001:db8::1]:4711";proto=https, for=10.1.1.1"#;
        assert_eq!(seen(PROXY, &[(FORWARDED, header)]), "2001:db8::1");
        assert_eq!(seen(PROXY, &[(FORWARDED, "for=_hidden")]), PROXY);
    }

    #[test]
    fn headers_that_disagree_are_both_ignored() {
        let agree = [(X_FORWARDED_FOR, "198.51.100.1"), (FORWARDED, "for=198.51.100.1")];
        assert_eq!(seen(PROXY, &agree), "198.51.100.1");
        let disagree = [(X_FORWARDED_FOR, "6.6.6.6"), (FORWARDED, "for=198.51.100.1")];
        assert_eq!(seen(PROXY, &disagree), PROXY);
    }
}
