//! Hashes that only a key's holder can compute.

use aws_lc_rs::hmac;

use super::Key;

/// Hashes with one key (HMAC-SHA256): what is kept of a short secret, so that a stolen table cannot be tried against
/// all secrets there are.
#[derive(Debug)]
pub struct KeyedHash(hmac::Key);

impl KeyedHash {
    /// Hashes with `key`.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// The hash of the parts, one after the other. Whoever has several makes sure that they cannot be cut elsewhere.
    ///
    /// # Panics
    /// Never: SHA-256 has 32 bytes.
    #[must_use]
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// HMAC-SHA1, which authenticator apps compute. For nothing else.
///
/// # Panics
/// Never: SHA-1 has 20 bytes.
#[must_use]
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    hmac::sign(&key, message).as_ref().try_into().expect("SHA-1 has 20 bytes")
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Test case 2 of RFC 2202, with a key of less than a block.
    #[test]
    fn sha1_is_the_published_one() {
        let hash = hmac_sha1(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(HEXLOWER.encode(&hash), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    /// Test case 2 of RFC 4231; a key of the RFC's, filled up with zeros, is the same key.
    #[test]
    fn sha256_is_the_published_one_and_takes_parts() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let keyed = KeyedHash::new(&Key::from(key));
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(HEXLOWER.encode(&keyed.hash(&[b"what do ya want for nothing?"])), expected);
        assert_eq!(HEXLOWER.encode(&keyed.hash(&[b"what do ya ", b"", b"want for nothing?"])), expected);
    }
}
