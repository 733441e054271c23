//! Data that only a key's holder can read, and nobody can change or move.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{Key, Unreadable, random};

/// Seals and opens with one key (AES-256-GCM).
///
/// The nonce is random and stands in front of what is sealed. That is safe for some four thousand million seals a key
/// (NIST SP 800-38D, 8.3), far more than there will be subjects or memories.
#[derive(Debug)]
pub struct Seal(LessSafeKey);

impl Seal {
    /// Seals with `key`.
    ///
    /// # Panics
    /// Never: a key has the length that the algorithm asks for.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("32 bytes are a key of AES-256");
        Self(LessSafeKey::new(key))
    }

    /// Seals `plaintext` for `place`, which is not part of the result: what it names, such as the owner of a row, must
    /// be named again to open it, so that nobody can move sealed data elsewhere.
    ///
    /// # Panics
    /// Beyond 64 gigabytes, which nothing here approaches.
    #[must_use]
    pub fn seal(&self, plaintext: &[u8], place: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = Vec::with_capacity(NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed[NONCE_LEN..])
            .expect("it has less than 64 gigabytes");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// What was sealed with this key for `place`.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(Unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable)?;
        let mut opened = sealed.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(place), &mut opened).map_err(|_| Unreadable)?.len();
        opened.truncate(length);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    /// Test case 14 of the specification of GCM.
    #[test]
    fn it_is_the_published_algorithm() {
        let mut sealed = vec![0; NONCE_LEN];
        sealed.extend(HEXLOWER.decode(b"cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919").unwrap());
        assert_eq!(Seal::new(&Key::from([0; 32])).open(&sealed, b""), Ok(vec![0; 16]));
    }

    #[test]
    fn nothing_is_sealed_alike_twice_nor_shown() {
        let seal = Seal::new(&Key::from([7; 32]));
        assert_ne!(seal.seal(b"secret", b"alice"), seal.seal(b"secret", b"alice"));
        assert!(!format!("{seal:?}").contains('7'), "{seal:?}");
    }

    proptest! {
        #[test]
        fn only_the_same_key_opens_at_the_same_place(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            place in ".{0,20}",
            elsewhere in ".{0,20}",
        ) {
            prop_assume!(place != elsewhere);
            let (seal, other) = (Seal::new(&Key::generate()), Seal::new(&Key::generate()));
            let sealed = seal.seal(&text, place.as_bytes());
            prop_assert_eq!(seal.open(&sealed, place.as_bytes()), Ok(text));
            prop_assert_eq!(seal.open(&sealed, elsewhere.as_bytes()), Err(Unreadable));
            prop_assert_eq!(other.open(&sealed, place.as_bytes()), Err(Unreadable));
        }

        #[test]
        fn a_changed_or_shortened_seal_does_not_open(
            text in proptest::collection::vec(any::<u8>(), 0..50),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let seal = Seal::new(&Key::generate());
            let sealed = seal.seal(&text, b"alice");
            let at = at.index(sealed.len());
            prop_assert_eq!(seal.open(&sealed[..at], b"alice"), Err(Unreadable));
            let mut changed = sealed;
            changed[at] ^= 1 << bit;
            prop_assert_eq!(seal.open(&changed, b"alice"), Err(Unreadable));
        }
    }
}
