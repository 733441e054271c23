//! What is wrong with a setting.

use std::fmt;

/// A value that the start refuses, found by a section's own checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, as in `http.listen`.
    pub key: &'static str,
    /// The value as given; a secret's is `[redacted]`.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl Problem {
    /// A problem with `key`, unless its value is `good`.
    #[must_use]
    pub fn unless(good: bool, key: &'static str, value: &dyn ToString, expected: &'static str) -> Option<Self> {
        (!good).then(|| Self { key, value: value.to_string(), expected })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: expected {}", self.key, self.value, self.expected)
    }
}
