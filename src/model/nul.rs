//! What PostgreSQL does not keep in a text.

/// The text with something visible in the place of NUL characters.
#[must_use]
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
