//! Signatures that everybody can check and only we can make.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::Key;

/// What a signature is checked with.
pub type PublicKey = [u8; 32];

/// What [`Signer::sign`] makes.
pub type Signature = [u8; 64];

/// Signs with one key (Ed25519, RFC 8032).
#[derive(Debug)]
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Signs with the key pair of `seed`.
    ///
    /// # Panics
    /// Never: any 32 bytes are a seed.
    #[must_use]
    pub fn new(seed: &Key) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("any 32 bytes are a seed of Ed25519"))
    }

    /// The signature of `message`; the same message has the same one.
    ///
    /// # Panics
    /// Never: a signature has 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).as_ref().try_into().expect("a signature of Ed25519 has 64 bytes")
    }

    /// What others check signatures with.
    ///
    /// # Panics
    /// Never: a public key has 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key().as_ref().try_into().expect("a public key of Ed25519 has 32 bytes")
    }
}

/// Whether `signature` of `message` was made by the holder of `public_key`'s seed.
#[must_use]
pub fn is_signed_by(public_key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Test 1 of RFC 8032, 7.1.
    #[test]
    fn it_is_the_published_algorithm() {
        let seed = HEXLOWER.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let signer = Signer::new(&Key::try_from(seed.as_slice()).unwrap());
        let public_key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(HEXLOWER.encode(&signer.public_key()), public_key);
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4\
                         6bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(HEXLOWER.encode(&signer.sign(b"")), signature);
    }

    #[test]
    fn only_the_signer_s_own_words_count() {
        let signer = Signer::new(&Key::generate());
        let signature = signer.sign(b"16 heads");
        assert!(is_signed_by(&signer.public_key(), b"16 heads", &signature));
        assert!(!is_signed_by(&signer.public_key(), b"15 heads", &signature));
        assert!(!is_signed_by(&signer.public_key(), b"16 heads", &signature[..63]));
        assert!(!is_signed_by(&Signer::new(&Key::generate()).public_key(), b"16 heads", &signature));
        assert!(!is_signed_by(&[0xff; 32], b"16 heads", &signature));
    }

    #[test]
    fn a_signer_never_shows_its_seed() {
        let shown = format!("{:?}", Signer::new(&Key::from([7; 32])));
        assert!(!shown.contains("7, 7") && !shown.contains("0707"), "{shown}");
    }
}
