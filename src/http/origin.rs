//! Which browser pages may talk to us, by their `Origin`.

use axum::http::{
    HeaderMap, HeaderValue,
    header::{HOST, ORIGIN},
};

/// Whether a page may talk to what CORS does not guard: no browser asks before it opens a socket, nor for a page whose own name
/// was made to lead here.
pub(super) fn may_connect(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    is_listed(origin, allowed) || is_own(origin, headers.get(HOST))
}

/// Whether the configuration names the origin.
pub(super) fn is_listed(origin: &HeaderValue, allowed: &[String]) -> bool {
    allowed.iter().any(|entry| entry == "*" || entry.as_bytes() == origin.as_bytes())
}

/// Our own pages, such as GraphiQL. The scheme is not compared: a proxy may have ended TLS.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == host.and_then(|host| host.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_open_for_own_pages_listed_origins_and_programs() {
        let listed = ["https://app.example.com".to_owned()];
        for (origin, allowed, expected) in [
            (None, &listed[..], true),
            (Some("https://app.example.com"), &listed[..], true),
            (Some("http://127.0.0.1:8080"), &listed[..], true),
            (Some("https://127.0.0.1:8080"), &[][..], true),
            (Some("https://evil.example"), &listed[..], false),
            (Some("https://app.example.com.evil.example"), &listed[..], false),
            (Some("null"), &listed[..], false),
            (Some("https://evil.example"), &[][..], false),
            (Some("https://evil.example"), &["*".to_owned()][..], true),
        ] {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("127.0.0.1:8080"))]);
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            assert_eq!(may_connect(&headers, allowed), expected, "{origin:?} {allowed:?}");
        }
    }
}
