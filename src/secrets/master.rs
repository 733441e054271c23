//! The master key, from which all others are made. It computes nothing else.

use std::str::FromStr;

use aws_lc_rs::hkdf;
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Key, KeyError};

/// Separates our keys from those that other programs make of the same master key.
const SALT: &[u8] = b"tidegate";

/// The key from which all others are made, so that an operator keeps one secret and each purpose has a key of its own.
/// `key_file.rs` reads and makes its file.
#[derive(Debug)]
pub struct MasterKey(Key);

impl MasterKey {
    /// A master key that nobody can guess and nothing keeps, for what need not outlive the process.
    #[must_use]
    pub fn generate() -> Self {
        Self(Key::generate())
    }

    /// The key for one purpose (HKDF-SHA256, RFC 5869). The label names it as `room/purpose`; the same label gives
    /// the same key for ever, and no key tells anything of another.
    ///
    /// # Panics
    /// Never: HKDF refuses only lengths beyond 8160 bytes.
    #[must_use]
    pub fn derive(&self, label: &'static str) -> Key {
        let mut key = [0; 32];
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(self.0.expose());
        root.expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut key))
            .expect("32 bytes can be derived");
        key.into()
    }

    /// A name for this key that says nothing about it: what data was written with it can be marked, so that another
    /// key is noticed before it is used.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.derive("secrets/fingerprint").expose()[..8])
    }

    /// As `FromStr` reads it.
    pub(super) fn to_text(&self) -> String {
        BASE64_STANDARD.encode(self.0.expose())
    }
}

/// From 32 bytes in base64, as `openssl rand -base64 32` prints them; space around them does not matter.
impl FromStr for MasterKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| KeyError::NotAKey)?;
        Key::try_from(bytes.as_slice()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Computed by another implementation of RFC 5869: whoever changes this loses every key there is.
    #[test]
    fn a_label_gives_the_same_key_for_ever() {
        let master = MasterKey(Key::from([7; 32]));
        for (label, expected) in [
            ("auth/step-up", "ccfba89fa742d88cb51c2fd475d069fb59838b3a88757f99eac065bcc3437a64"),
            ("auth/totp", "e89be72debed83f392e5af69de2b29ff07ca01a3ae358cf6fac39366bb55d586"),
        ] {
            assert_eq!(HEXLOWER.encode(master.derive(label).expose()), expected, "{label}");
        }
        assert_eq!(master.fingerprint(), "75ebcd8945bd55d6");
    }

    #[test]
    fn labels_and_masters_give_keys_of_their_own() {
        let (one, other) = (MasterKey::generate(), MasterKey::generate());
        assert_ne!(one.derive("a/b").expose(), one.derive("a/c").expose());
        assert_ne!(one.derive("a/b").expose(), other.derive("a/b").expose());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_master_key_is_read_from_32_bytes_in_base64_and_never_shown() {
        let text = BASE64_STANDARD.encode([7; 32]);
        let master: MasterKey = format!(" {text}\n").parse().unwrap();
        assert_eq!((master.to_text(), format!("{master:?}").as_str()), (text, "MasterKey([redacted])"));
        for bad in ["", "hunter2", &BASE64_STANDARD.encode([7; 31]), &BASE64_STANDARD.encode([7; 33])] {
            let refused = bad.parse::<MasterKey>().unwrap_err();
            assert_eq!(refused.to_string(), "a key has 32 bytes, in base64 where it is text", "{bad}");
        }
    }
}
