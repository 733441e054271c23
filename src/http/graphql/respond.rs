//! From an answer to a response: status, caching, limits.

use std::fmt::Write as _;

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY, WWW_AUTHENTICATE},
        request::Parts,
    },
    response::Response,
};
use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::{negotiate::Representation, status::status_of};
use crate::{
    graphql::{Answer, LimitState, Outcome},
    http::refusal::whole_seconds,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// CORS adds `Origin` where it is on.
const VARIES: HeaderValue = HeaderValue::from_static("Accept, Authorization");

/// The response to one request.
pub(super) fn single(answer: Answer, representation: Representation, parts: &Parts) -> Response {
    let status = status_of(answer.outcome, representation);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(representation.content_type()));
    headers.insert(VARY, VARIES);
    headers.insert(CACHE_CONTROL, HeaderValue::try_from(answer.cache_control).unwrap_or(NO_STORE));
    headers.extend(answer.age.map(|age| (AGE, HeaderValue::from(age))));
    headers.extend(answer.retry_after.map(|wait| (RETRY_AFTER, HeaderValue::from(whole_seconds(wait)))));
    limits(headers, &answer.limits);
    if answer.outcome == Outcome::MutationNotPermitted {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if answer.outcome == Outcome::Executed && matches!(parts.method, Method::GET | Method::HEAD) {
        let tag = entity_tag(&answer.body);
        let is_known = matches_tag(&parts.headers, &tag);
        headers.insert(ETAG, tag);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    *response.status_mut() = status;
    *response.body_mut() = Body::from(answer.body);
    response
}

/// The response to a batch: a list in the order of the requests. Its parts failed or not, the batch was served.
pub(super) fn batch(answers: &[Answer], representation: Representation) -> Response {
    let mut body = BytesMut::with_capacity(answers.iter().map(|answer| answer.body.len() + 1).sum::<usize>() + 1);
    for (index, answer) in answers.iter().enumerate() {
        body.put_u8(if index == 0 { b'[' } else { b',' });
        body.put_slice(&answer.body);
    }
    body.put_u8(b']');
    let mut response = Response::new(Body::from(body.freeze()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(representation.content_type()));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(VARY, VARIES);
    let longest_wait = answers.iter().filter_map(|answer| answer.retry_after).max();
    headers.extend(longest_wait.map(|wait| (RETRY_AFTER, HeaderValue::from(whole_seconds(wait)))));
    response
}

/// `RateLimit-Policy: "Query.cryptoPrices";q=100;w=60` and `RateLimit: "Query.cryptoPrices";r=42;t=17`, as
/// draft-ietf-httpapi-ratelimit-headers has them.
fn limits(headers: &mut HeaderMap, limits: &[LimitState]) {
    if limits.is_empty() {
        return;
    }
    let (mut policies, mut standings) = (String::new(), String::new());
    for (index, limit) in limits.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let name = quoted(&limit.name);
        let (window, reset) = (whole_seconds(limit.window), whole_seconds(limit.reset));
        write!(policies, "{separator}{name};q={};w={window}", limit.quota).expect("strings grow");
        write!(standings, "{separator}{name};r={};t={reset}", limit.remaining).expect("strings grow");
    }
    for (header, text) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, standings)] {
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (header, value)));
    }
}

/// A string of RFC 9651, which knows printable ASCII only.
fn quoted(name: &str) -> String {
    let plain = name.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
    let escaped = plain.flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A strong tag: the same bytes, nothing less.
fn entity_tag(body: &Bytes) -> HeaderValue {
    let hash = Sha256::digest(body);
    let hash = u128::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
    HeaderValue::try_from(format!("\"{hash:032x}\"")).expect("hexadecimal digits in quotes")
}

/// `If-None-Match` compares weakly, so a `W/` that a proxy put in front does not matter.
fn matches_tag(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().expect("hexadecimal digits in quotes");
    let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut known = lines.flat_map(|line| line.split(',')).map(str::trim);
    known.any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == tag)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_are_structured_fields() {
        let limit = |name: &str, remaining, reset| LimitState {
            name: name.into(),
            quota: 100,
            window: Duration::from_mins(1),
            remaining,
            reset: Duration::from_millis(reset),
        };
        let mut headers = HeaderMap::new();
        limits(&mut headers, &[limit("Query.cryptoPrices", 42, 16_001), limit("a\"b", 0, 0)]);
        assert_eq!(headers[RATE_LIMIT_POLICY], r#""Query.cryptoPrices";q=100;w=60, "a\"b";q=100;w=60"#);
        assert_eq!(headers[RATE_LIMIT], r#""Query.cryptoPrices";r=42;t=17, "a\"b";r=0;t=0"#);
    }

    #[test]
    fn a_known_tag_is_found_in_every_spelling() {
        let tag = entity_tag(&Bytes::from_static(b"{}"));
        let text = tag.to_str().unwrap().to_owned();
        for (known, expected) in [
            (text.clone(), true),
            (format!("W/{text}"), true),
            (format!("\"x\", {text}"), true),
            ("*".into(), true),
            ("\"x\"".into(), false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::try_from(known.clone()).unwrap())]);
            assert_eq!(matches_tag(&headers, &tag), expected, "{known}");
        }
    }
}
