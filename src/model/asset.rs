//! The name under which a coin is known everywhere inside the house.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A coin's id: lower-case letters, digits and hyphens, at most 64 characters, such as `bitcoin`.
///
/// Ids are keys; symbols such as `BTC` are not, because several coins share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AssetId(Arc<str>);

/// Why a text is not a coin's id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a coin id has 1 to 64 lower-case letters, digits or hyphens")]
pub struct InvalidAssetId;

impl AssetId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// Anything but 1 to 64 lower-case letters, digits and hyphens.
    pub fn new(text: &str) -> Result<Self, InvalidAssetId> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(InvalidAssetId);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AssetId {
    type Error = InvalidAssetId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl Borrow<str> for AssetId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_slugs() {
        for good in ["bitcoin", "usd-coin", "0x", &"a".repeat(64)] {
            assert!(AssetId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Bitcoin", "🚀", "a b", "a/b", &"a".repeat(65)] {
            assert_eq!(AssetId::new(bad), Err(InvalidAssetId), "{bad}");
        }
    }
}
