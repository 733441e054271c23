//! What may be said about a failed request: short, printable, and without the secrets that were sent.
//!
//! Keys travel in queries, paths and headers, and upstreams like to echo the request in their errors.

use std::{error::Error, sync::Arc};

use http::HeaderMap;
use url::Url;

use crate::model::Redactor;

/// The longest text that is taken from a reply, in characters.
const LONGEST: usize = 120;

/// Shorter values are words such as `usd` or `bitcoin`, which operators want to read; keys are longer.
const SHORTEST_SECRET: usize = 12;

/// The texts of a request that must not be repeated.
pub(super) struct Secrets(Redactor);

impl Secrets {
    pub(super) fn of(url: &Url, headers: &HeaderMap) -> Self {
        let query = url.query().unwrap_or_default();
        let raw_values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value.to_owned());
        let mut texts: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
        texts.extend(raw_values);
        texts.extend(url.path().split('/').map(str::to_owned));
        texts.extend([url.username(), url.password().unwrap_or_default()].map(str::to_owned));
        for value in headers.values().filter_map(|value| value.to_str().ok()) {
            texts.push(value.to_owned());
            texts.extend(value.split(' ').map(str::to_owned));
        }
        texts.retain(|text| text.len() >= SHORTEST_SECRET);
        if !query.is_empty() {
            texts.push(format!("?{query}"));
        }
        Self(texts.into_iter().collect())
    }

    /// The beginning of a reply's body.
    pub(super) fn excerpt(&self, body: &[u8]) -> Arc<str> {
        clip(&self.0.hide(&String::from_utf8_lossy(body)))
    }

    /// The innermost cause of an error; the outer ones repeat the URL.
    pub(super) fn root_cause(&self, error: &reqwest::Error) -> Arc<str> {
        let mut cause: &dyn Error = match error.source() {
            Some(cause) => cause,
            None => return "the request could not be made".into(),
        };
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        clip(&self.0.hide(&cause.to_string()))
    }
}

/// The beginning of a text in one line of printable characters.
pub(super) fn clip(text: &str) -> Arc<str> {
    let mut line = String::new();
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()).filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST * 4 {
            break;
        }
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => line[..end].into(),
        None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_was_sent_in_secret_is_never_repeated() {
        let url = Url::parse("https://api.example/v3/pathkey0123456789/price?ids=bitcoin&key=query%2Bkey-0123456789");
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer headerkey-0123456789"));
        let secrets = Secrets::of(&url.unwrap(), &headers);
        let body = "bitcoin: bad request /v3/pathkey0123456789/price?ids=bitcoin&key=query%2Bkey-0123456789 \
                    query+key-0123456789 query%2Bkey-0123456789 headerkey-0123456789 Bearer headerkey-0123456789";
        let detail = secrets.excerpt(body.as_bytes());
        assert!(!detail.contains("0123456789"), "{detail}");
        assert!(detail.starts_with("bitcoin: bad request /v3/[redacted]/price[redacted]"), "{detail}");
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        let secrets = Secrets::of(&Url::parse("https://api.example/").unwrap(), &HeaderMap::new());
        assert_eq!(&*secrets.excerpt(b"<html>\r\n\t<h1>\x00no\x1b[31m</h1>"), "<html> <h1> no [31m</h1>");
        assert_eq!(secrets.excerpt("é".repeat(1_000).as_bytes()).chars().count(), LONGEST);
        assert_eq!(&*secrets.excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
