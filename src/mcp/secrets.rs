//! The secrets that a server was given, so that they can be taken out of what it says.

use std::sync::Arc;

/// Shorter ones would be found everywhere, and are no secrets.
const SHORTEST: usize = 6;

/// Secrets of one server. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[String]>);

impl Secrets {
    /// How many bytes the longest one has.
    pub(super) fn longest(&self) -> usize {
        self.0.iter().map(String::len).max().unwrap_or_default()
    }

    /// The text without them.
    pub(super) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
    }
}

impl FromIterator<String> for Secrets {
    fn from_iter<T: IntoIterator<Item = String>>(secrets: T) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).collect();
        // One may be the beginning of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets.into())
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let secrets: Secrets = ["s3cret", "s3cret-and-longer", "on"].map(str::to_owned).into_iter().collect();
        for (said, told) in [
            ("login failed with s3cret", "login failed with [redacted]"),
            ("s3crets3cret-and-longer!", "[redacted][redacted]!"),
            ("on and on", "on and on"),
        ] {
            assert_eq!(secrets.hide(said), told);
        }
        assert_eq!(secrets.longest(), 17);
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }
}
