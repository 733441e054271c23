//! A look at the document's text before anything recursive sees it.
//!
//! Counts bytes, tokens and nesting in one pass, and hashes the tokens so that two documents that differ only in
//! white space, commas and comments are known to be the same. It does not judge: what is not GraphQL is left for
//! the parser to report.

use sha2::{Digest, Sha256};

use super::PlanLimits;

/// The hash of a document's tokens.
pub(crate) type DocumentHash = [u8; 32];

/// Why a document is not even parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("the document has more than {limit} bytes")]
    Bytes { limit: usize },
    #[error("the document has more than {limit} tokens")]
    Tokens { limit: usize },
    #[error("the document nests deeper than {limit} levels")]
    Nesting { limit: usize },
}

/// Scans a document.
pub(crate) fn scan(document: &str, limits: &PlanLimits) -> Result<DocumentHash, ScanError> {
    if document.len() > limits.max_bytes {
        return Err(ScanError::Bytes { limit: limits.max_bytes });
    }
    let mut hash = Sha256::new();
    let (mut count, mut depth) = (0, 0_usize);
    for token in (Tokens { rest: document.as_bytes() }) {
        count += 1;
        if count > limits.max_tokens {
            return Err(ScanError::Tokens { limit: limits.max_tokens });
        }
        match token {
            b"{" | b"(" | b"[" => depth += 1,
            b"}" | b")" | b"]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits.max_nesting {
            return Err(ScanError::Nesting { limit: limits.max_nesting });
        }
        hash.update(token);
        // No token contains this byte outside a string, and a string keeps its quotes: the sequence is unambiguous.
        hash.update([0]);
    }
    Ok(hash.finalize().into())
}

struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.skip_ignored();
        let length = match self.rest {
            [] => return None,
            [b'"', b'"', b'"', ..] => block_string(self.rest),
            [b'"', ..] => string(self.rest),
            [b'.', b'.', b'.', ..] => 3,
            [first, ..] if is_word(*first) => run(self.rest, is_word),
            _ => 1,
        };
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(token)
    }
}

impl Tokens<'_> {
    fn skip_ignored(&mut self) {
        loop {
            let ignored = match self.rest {
                [b'#', ..] => run(self.rest, |byte| byte != b'\n' && byte != b'\r'),
                [b' ' | b'\t' | b'\n' | b'\r' | b',', ..] => 1,
                [0xEF, 0xBB, 0xBF, ..] => 3,
                _ => return,
            };
            self.rest = &self.rest[ignored..];
        }
    }
}

/// Names and numbers; where one ends and the next begins is the parser's business.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.')
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !belongs(*byte)).unwrap_or(text.len())
}

fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            b'\n' | b'\r' => return at,
            _ => at += 1,
        }
    }
    text.len()
}

fn block_string(text: &[u8]) -> usize {
    let mut at = 3;
    while at < text.len() {
        if text[at..].starts_with(b"\\\"\"\"") {
            at += 4;
        } else if text[at..].starts_with(b"\"\"\"") {
            return at + 3;
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> PlanLimits {
        PlanLimits { max_bytes: 1_000, max_tokens: 50, max_nesting: 5, ..PlanLimits::default() }
    }

    #[test]
    fn layout_does_not_matter_but_tokens_do() {
        let hash = |text| scan(text, &limits()).unwrap();
        let plain = hash("query A{price(coin:\"bitcoin\"){amount}}");
        assert_eq!(plain, hash("\u{feff}query A {\n  price(coin: \"bitcoin\"),, { amount } # now\n}"));
        assert_ne!(plain, hash("query A{price(coin:\"bit coin\"){amount}}"));
        assert_ne!(hash("{ab}"), hash("{a b}"));
        assert_ne!(hash("{a(b:\"#x\")}"), hash("{a(b:\"#y\")}"));
    }

    #[test]
    fn strings_hide_their_content() {
        for text in [r#"{a(b:"{{{{{{{{\"{{{")}"#, r#"{a(b:"""{{{{{{{{ \""" {{""")}"#, "# {{{{{{{{{\n{a}"] {
            assert!(scan(text, &limits()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_too_big_is_refused() {
        for (text, expected) in [
            ("a".repeat(1_001), ScanError::Bytes { limit: 1_000 }),
            (format!("{{{}}}", "a ".repeat(60)), ScanError::Tokens { limit: 50 }),
            (format!("{}a", "{".repeat(6)), ScanError::Nesting { limit: 5 }),
            (format!("{{a(b:{}", "[".repeat(6)), ScanError::Nesting { limit: 5 }),
        ] {
            assert_eq!(scan(&text, &limits()), Err(expected), "{text}");
        }
    }

    #[test]
    fn unterminated_text_ends_the_scan() {
        for text in ["\"abc", "\"\"\"abc", "\"abc\\", "#", "\\"] {
            assert!(scan(text, &limits()).is_ok(), "{text}");
        }
    }
}
