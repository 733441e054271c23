//! A key: 32 bytes that are never shown.

use std::fmt;

use super::{KeyError, random};

/// A symmetric key, or the seed of a key pair. It prints as nothing, and is not copied by accident.
pub struct Key([u8; 32]);

impl Key {
    /// A key that nobody can guess.
    #[must_use]
    pub fn generate() -> Self {
        Self(random())
    }

    /// The bytes, for whoever computes with them or seals them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Key {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| KeyError::NotAKey)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_bytes_and_is_never_shown() {
        let key = Key::try_from(&[7; 32][..]).unwrap();
        assert_eq!((key.expose(), format!("{key:?}").as_str()), (&[7; 32], "[redacted]"));
        for length in [0, 31, 33] {
            assert!(matches!(Key::try_from(&vec![7; length][..]), Err(KeyError::NotAKey)), "{length}");
        }
    }
}
