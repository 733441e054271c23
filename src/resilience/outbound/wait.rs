//! When an upstream wants to be asked again: `Retry-After` and the rate headers in their several dialects.

use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, header::RETRY_AFTER};

use crate::model::Timestamp;

/// What an upstream's rate headers allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateHint {
    /// Calls left in the upstream's window.
    pub remaining: u64,
    /// How long until the window ends.
    pub resets_in: Duration,
}

/// `Retry-After` as seconds or as an HTTP date; a date that has passed is no wait.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at: Timestamp = httpdate::parse_http_date(text).ok()?.into();
    Some((at - now).to_std().unwrap_or_default())
}

/// `RateLimit` in the forms of the IETF drafts, else the older pairs of headers.
pub(super) fn rate_hint(headers: &HeaderMap, now: Timestamp) -> Option<RateHint> {
    if let Some(hint) = text(headers, "ratelimit").and_then(rate_limit) {
        return Some(hint);
    }
    [("ratelimit-remaining", "ratelimit-reset"), ("x-ratelimit-remaining", "x-ratelimit-reset")].into_iter().find_map(
        |(remaining, reset)| {
            let remaining = text(headers, remaining)?.parse().ok()?;
            Some(RateHint { remaining, resets_in: resets_in(text(headers, reset)?, now)? })
        },
    )
}

/// `"default";r=50;t=30`, or `limit=100, remaining=50, reset=30` of the earlier drafts.
fn rate_limit(text: &str) -> Option<RateHint> {
    let value_of = |names: [&str; 2]| {
        let mut parts = text.split([';', ',']).filter_map(|part| part.trim().split_once('='));
        parts.find(|(name, _)| names.contains(name)).and_then(|(_, value)| value.parse().ok())
    };
    Some(RateHint {
        remaining: value_of(["r", "remaining"])?,
        resets_in: Duration::from_secs(value_of(["t", "reset"])?),
    })
}

/// Seconds from now, or a point in time in seconds or milliseconds since 1970; upstreams use all three.
fn resets_in(text: &str, now: Timestamp) -> Option<Duration> {
    const SECONDS_SINCE_1970: i64 = 1_000_000_000;
    const MILLISECONDS_SINCE_1970: i64 = 1_000_000_000_000;
    let number: i64 = text.parse().ok().filter(|number| *number >= 0)?;
    let at = match number {
        MILLISECONDS_SINCE_1970.. => DateTime::from_timestamp_millis(number)?,
        SECONDS_SINCE_1970.. => DateTime::from_timestamp_secs(number)?,
        _ => return Some(Duration::from_secs(number.unsigned_abs())),
    };
    Some((at - now).to_std().unwrap_or_default())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        DateTime::from_timestamp_secs(1_800_000_000).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Fri, 15 Jan 2027 08:00:30 GMT", Some(30)),
            ("Fri, 15 Jan 2027 07:59:30 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
        ] {
            let got = retry_after(&headers(&[("retry-after", value)]), now());
            assert_eq!(got, expected.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now()), None);
    }

    #[test]
    fn rate_headers_are_read_in_every_dialect() {
        for (pairs, expected) in [
            (&[("ratelimit", "\"default\";r=50;t=30")][..], Some((50, 30))),
            (&[("ratelimit", "limit=100, remaining=7, reset=9")], Some((7, 9))),
            (&[("ratelimit-remaining", "3"), ("ratelimit-reset", "60")], Some((3, 60))),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000042")], Some((0, 42))),
            (&[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1800000042000")], Some((1, 42))),
            (&[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1700000000")], Some((1, 0))),
            (&[("x-ratelimit-remaining", "1")], None),
            (&[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "5")], None),
            (&[("ratelimit", "garbage")], None),
            (&[], None),
        ] {
            let got = rate_hint(&headers(pairs), now());
            let expected =
                expected.map(|(remaining, seconds)| RateHint { remaining, resets_in: Duration::from_secs(seconds) });
            assert_eq!(got, expected, "{pairs:?}");
        }
    }
}
