//! Under which names `/mcp` answers.
//!
//! A page can have its own name lead to an address of somebody else's network (DNS rebinding). To the browser it still
//! talks to itself, so `Origin` says nothing then, and `Host` does: it has the page's name. An IP address is nobody's
//! name and cannot be rebound.

use std::net::IpAddr;

use axum::http::{
    Uri,
    header::{HOST, HeaderMap},
    uri::Authority,
};

/// Whether a request is for a name that is ours: a loopback name, an IP address, or one of `listed`.
pub(super) fn is_ours(uri: &Uri, headers: &HeaderMap, listed: &[String]) -> bool {
    // HTTP/2 has the name in the URI, and may have it in the header besides.
    let named = headers.get(HOST).map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    let named = named.into_iter().chain(uri.authority().cloned().map(Some));
    let named: Option<Vec<Authority>> = named.collect();
    named.is_some_and(|named| !named.is_empty() && named.iter().all(|name| is_known(name, listed)))
}

fn is_known(name: &Authority, listed: &[String]) -> bool {
    let host = name.host();
    let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || host.eq_ignore_ascii_case("localhost") || listed.iter().any(|entry| matches(name, entry))
}

fn matches(name: &Authority, entry: &str) -> bool {
    let Ok(entry) = entry.parse::<Authority>() else { return false };
    entry.host().eq_ignore_ascii_case(name.host()) && entry.port_u16().is_none_or(|port| name.port_u16() == Some(port))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        let listed = ["tide.example.com".to_owned(), "other.example.com:8443".to_owned()];
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("192.0.2.7", true),
            ("tide.example.com", true),
            ("Tide.Example.com:9000", true),
            ("other.example.com:8443", true),
            ("other.example.com", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("tide.example.com.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
            ("two words", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_ours(&Uri::from_static("/mcp"), &headers, &listed), expected, "{host:?}");
        }
    }

    #[test]
    fn every_name_of_a_request_counts() {
        for (uri, host, expected) in [
            ("http://localhost/mcp", None, true),
            ("http://evil.example/mcp", None, false),
            ("http://localhost/mcp", Some("evil.example"), false),
            ("http://evil.example/mcp", Some("localhost"), false),
            ("/mcp", None, false),
        ] {
            let headers = host.map(|host| (HOST, HeaderValue::from_static(host)));
            assert_eq!(
                is_ours(&Uri::from_static(uri), &HeaderMap::from_iter(headers), &[]),
                expected,
                "{uri} {host:?}"
            );
        }
    }
}
