//! The name under which a chain is known everywhere inside the house.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A chain's id: lower-case letters, digits and hyphens, at most 32 characters, such as `ethereum`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ChainId(Arc<str>);

/// Why a text is not a chain's id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a chain id has 1 to 32 lower-case letters, digits or hyphens")]
pub struct InvalidChainId;

impl ChainId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// Anything but 1 to 32 lower-case letters, digits and hyphens.
    pub fn new(text: &str) -> Result<Self, InvalidChainId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 32 || !text.bytes().all(allowed) {
            return Err(InvalidChainId);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ChainId {
    type Error = InvalidChainId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl Borrow<str> for ChainId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_plain() {
        for good in ["ethereum", "arbitrum-one", "solana", &"a".repeat(32)] {
            assert_eq!(ChainId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Ethereum", "a b", "ä", "a/b", &"a".repeat(33)] {
            assert_eq!(ChainId::new(bad), Err(InvalidChainId), "{bad:?}");
        }
    }
}
