//! Texts that must not be said again.

use std::{cmp::Reverse, fmt, sync::Arc};

/// Takes secrets out of what is said. Clones share them.
#[derive(Clone, Default)]
pub struct Redactor(Arc<[String]>);

impl Redactor {
    /// How many bytes the longest secret has.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.0.first().map_or(0, String::len)
    }

    /// The text without the secrets.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &*self.0 {
            if text.contains(secret) {
                text = text.replace(secret, "[redacted]");
            }
        }
        text
    }
}

impl FromIterator<String> for Redactor {
    fn from_iter<T: IntoIterator<Item = String>>(secrets: T) -> Self {
        // Nothing is in every text.
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        // Longest first: a part must not be cut out of the whole before the whole is found.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets.dedup();
        Self(secrets.into())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let secrets: Redactor = ["s3cret", "s3cret-and-longer", ""].map(str::to_owned).into_iter().collect();
        for (said, told) in [
            ("login failed with s3cret", "login failed with [redacted]"),
            ("s3crets3cret-and-longer!", "[redacted][redacted]!"),
            ("on and on", "on and on"),
        ] {
            assert_eq!(secrets.hide(said), told);
        }
        assert_eq!((secrets.longest(), Redactor::default().longest()), (17, 0));
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }
}
