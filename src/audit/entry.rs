//! What is to be recorded.

use serde_json::Value;

use crate::model::{Origin, without_nul};

/// Longest resource, in characters; the rest is cut off.
const LONGEST_RESOURCE: usize = 256;

/// Something that somebody did, or tried to do. Nothing in it may be a secret: it is kept for ever.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What, such as `api_key.create`.
    pub action: &'static str,
    /// To whom or what.
    pub resource: String,
    /// How it ended.
    pub result: AuditResult,
    /// What else there is to say: an object.
    pub metadata: Value,
}

/// An entry, and whose it is.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    /// The subject who did it.
    pub subject: &'a str,
    /// Where the request came from.
    pub origin: &'a Origin,
    /// What it was.
    pub entry: Entry,
}

/// How something ended that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditResult {
    /// It was done.
    Success,
    /// It was not permitted.
    Refused,
    /// It was permitted, and could not be done.
    Failed,
}

impl AuditResult {
    /// As it is kept.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Refused => "REFUSED",
            Self::Failed => "FAILED",
        }
    }

    /// What is kept under this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Success, Self::Refused, Self::Failed].into_iter().find(|result| result.as_str() == name)
    }
}

impl Entry {
    /// Something that was done.
    #[must_use]
    pub fn done(action: &'static str, resource: impl Into<String>, metadata: Value) -> Self {
        Self { action, resource: resource.into(), result: AuditResult::Success, metadata }
    }

    /// In a form that both databases give back as it was: without NUL characters, and without numbers that have
    /// several spellings.
    pub(super) fn storable(self) -> Self {
        let resource = without_nul(&self.resource.chars().take(LONGEST_RESOURCE).collect::<String>());
        Self { resource, metadata: plain(self.metadata), ..self }
    }
}

fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::String(number.to_string()),
        Value::String(text) => Value::String(without_nul(&text)),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (without_nul(&name), plain(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_databases_spell_otherwise_is_written_as_text() {
        let entry = Entry::done("a", "x\0".to_owned() + &"y".repeat(300), json!({"a\0": [1.50, {"b": "c\0"}], "n": 7}));
        let storable = entry.storable();
        assert_eq!(storable.metadata, json!({"a\u{fffd}": ["1.5", {"b": "c\u{fffd}"}], "n": 7}));
        assert_eq!((storable.resource.chars().count(), storable.resource.contains('\0')), (LONGEST_RESOURCE, false));
    }
}
