//! What is wrong with what a caller sent, field by field.

use std::fmt;

/// Something wrong with one field of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The way to the field, such as `["input", "name"]`.
    pub path: Vec<String>,
    /// A sentence for people, which does not repeat the value.
    pub message: String,
    /// What the caller may have meant instead, where something is known that could be; often empty.
    pub candidates: Vec<String>,
}

impl FieldError {
    /// An error of the field at `path`.
    #[must_use]
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(ToString::to_string).collect(), message: message.into(), candidates: Vec::new() }
    }

    /// The same, with what may have been meant.
    #[must_use]
    pub fn candidates(self, candidates: Vec<String>) -> Self {
        Self { candidates, ..self }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.message)
    }
}
