//! What is wrong with what a caller sent, field by field.

use std::fmt;

/// Something wrong with one field of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The way to the field, such as `["input", "name"]`.
    pub path: Vec<String>,
    /// A sentence for people, which does not repeat the value.
    pub message: String,
}

impl FieldError {
    /// An error of the field at `path`.
    #[must_use]
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(ToString::to_string).collect(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.message)
    }
}
