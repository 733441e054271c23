//! API keys: for programs that cannot renew a token.
//!
//! A key is `tgk_<id>_<secret>`. The id is how people and logs name it; the secret has 256 bits, so a plain hash of the
//! whole is all that needs to be kept. The fixed beginning lets scanners of repositories find keys that were committed.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::secrets::{ShownOnce, constant_time_eq, random};

const PREFIX: &str = "tgk_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A text that has not the form of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the API key is malformed")]
pub struct MalformedApiKey;

/// An API key as its holder has it. Only its id is ever printed.
pub struct ApiKey {
    text: String,
    /// Where the id ends in `text`.
    id_end: usize,
}

impl ApiKey {
    /// A key that nobody can guess.
    #[must_use]
    pub fn generate() -> Self {
        let id = HEXLOWER.encode(&random::<ID_BYTES>());
        let secret = BASE64_URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>());
        Self { text: format!("{PREFIX}{id}_{secret}"), id_end: PREFIX.len() + id.len() }
    }

    /// Whether a text is meant to be a key, and not a token.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Whether a text has the form of a key's id.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        text.len() == 2 * ID_BYTES && HEXLOWER.decode(text.as_bytes()).is_ok()
    }

    /// Reads a key that somebody shows. Whether it is one of ours, its digest says.
    pub fn parse(text: &str) -> Result<Self, MalformedApiKey> {
        // An id has no underscore, a secret may.
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(MalformedApiKey)?;
        // 32 bytes have 43 characters; the length is looked at first, so that nothing long is decoded.
        let is_secret = secret.len() == 43 && BASE64_URL_SAFE_NO_PAD.decode(secret).is_ok();
        if !Self::is_id(id) || !is_secret {
            return Err(MalformedApiKey);
        }
        Ok(Self { text: text.to_owned(), id_end: PREFIX.len() + id.len() })
    }

    /// How the key is named, looked up and listed. It is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[PREFIX.len()..self.id_end]
    }

    /// What is kept of the key.
    #[must_use]
    pub fn digest(&self) -> ApiKeyDigest {
        ApiKeyDigest(Sha256::digest(&self.text).into())
    }

    /// The whole key, for the one who asked for it.
    #[must_use]
    pub fn into_text(self) -> ShownOnce {
        self.text.into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id())
    }
}

/// SHA-256 of a whole key. There is no `==`, only the comparison that tells nothing by its duration.
#[derive(Clone, Copy)]
pub struct ApiKeyDigest([u8; 32]);

impl ApiKeyDigest {
    /// The bytes, to be kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `kept` is the digest of the same key.
    #[must_use]
    pub fn matches(&self, kept: &[u8]) -> bool {
        constant_time_eq(&self.0, kept)
    }
}

impl fmt::Debug for ApiKeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyDigest([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef";

    #[test]
    fn a_new_key_is_read_again_and_is_like_no_other() {
        let (key, other) = (ApiKey::generate(), ApiKey::generate());
        let (id, digest) = (key.id().to_owned(), key.digest());
        assert!(id != other.id() && !other.digest().matches(digest.as_bytes()));
        let text = key.into_text().into_text();
        assert!(text.len() == 64 && ApiKey::is_meant(&text), "{text}");
        let read = ApiKey::parse(&text).unwrap();
        assert!(read.id() == id && read.digest().matches(digest.as_bytes()));
        assert!(!read.digest().matches(&digest.as_bytes()[..31]) && !read.digest().matches(b""));
    }

    #[test]
    fn what_is_kept_is_the_hash_of_the_whole() {
        let key = ApiKey::parse(&format!("tgk_{ID}_{}", "A".repeat(43))).unwrap();
        let expected = "32a813aa60609cdfa8c8483d3ec4698e3866694b2903c9ee3ebc5414930d475d";
        assert_eq!(HEXLOWER.encode(key.digest().as_bytes()), expected);
    }

    #[test]
    fn a_key_prints_as_its_id() {
        let key = ApiKey::parse(&format!("tgk_{ID}_{}", "A".repeat(43))).unwrap();
        assert_eq!(format!("{key:?} {:?}", key.digest()), format!("ApiKey({ID}) ApiKeyDigest([redacted])"));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let secret = "_".repeat(42) + "8";
        assert!(ApiKey::parse(&format!("tgk_{ID}_{secret}")).is_ok(), "underscores belong to the alphabet");
        for text in [
            String::new(),
            "tgk_".to_owned(),
            format!("tgk_{ID}"),
            format!("tgk_{ID}_"),
            format!("TGK_{ID}_{secret}"),
            format!(" tgk_{ID}_{secret}"),
            format!("tgk_{ID}_{secret} "),
            format!("tgk_{}_{secret}", ID.to_uppercase()),
            format!("tgk_{}_{secret}", &ID[1..]),
            format!("tgk_{}g_{secret}", &ID[1..]),
            format!("tgk_{ID}_{}", &secret[1..]),
            format!("tgk_{ID}__{secret}"),
            format!("tgk_{ID}_{}=", &secret[1..]),
            format!("tgk_{ID}_{}+", &secret[1..]),
            // The last character holds two bits too many: another text for the same bytes.
            format!("tgk_{ID}_{}9", &secret[..42]),
            format!("tgk_{ID}_{}é8", &secret[3..]),
            format!("tgk_{ID}_{}", "A".repeat(1_000_000)),
        ] {
            assert!(ApiKey::parse(&text).is_err(), "{text:.80}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_shown(text in "(tgk_)?[0-9a-fA-F_é]{0,70}") {
            let read = ApiKey::parse(&text).map(|key| key.into_text().into_text());
            prop_assert!(read.is_err() || read == Ok(text));
        }
    }
}
