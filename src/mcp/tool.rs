//! What servers offer: tools with their schemas, prompts and resources.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::events::canonical;

/// Something that a server can do when it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name, which is unique in its server.
    pub name: Arc<str>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Arc<str>>,
    /// What it does, for whoever decides whether to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// What its arguments must be: JSON Schema.
    pub input_schema: Value,
    /// What its structured content is: JSON Schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What it says of what it does.
    #[serde(default)]
    pub annotations: ToolAnnotations,
}

/// What a tool says of what it does. A server may lie.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// It changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// It may destroy something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// To call it twice does no more than to call it once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// It has to do with the world outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

impl ToolAnnotations {
    /// What it claims, where what is left out has the value that the protocol gives it: to write that down is to say nothing
    /// new. Reads only, destroys, may be repeated, has to do with the world outside.
    pub(super) fn effects(&self) -> [bool; 4] {
        [
            self.read_only_hint.unwrap_or(false),
            self.destructive_hint.unwrap_or(true),
            self.idempotent_hint.unwrap_or(false),
            self.open_world_hint.unwrap_or(true),
        ]
    }

    /// Whether a call may be made twice, by the tool's own word.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        self.read_only_hint == Some(true) || self.idempotent_hint == Some(true)
    }
}

/// A message that a server has prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// Its name, which is unique in its server.
    pub name: Arc<str>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Arc<str>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
}

/// Something that a server can be asked to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Where it is, in the server's own terms.
    pub uri: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// Of which type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<Arc<str>>,
}

/// Everything that a server offers at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Tools, by name.
    pub tools: Vec<Tool>,
    /// Prompts, by name.
    pub prompts: Vec<Prompt>,
    /// Resources, by URI.
    pub resources: Vec<Resource>,
}

/// By which two definitions of a tool are told apart: the SHA-256 of everything that it says, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// Of a definition.
    #[must_use]
    pub fn of(tool: &Tool) -> Self {
        let definition = serde_json::to_value(tool).unwrap_or_default();
        Self(data_encoding::HEXLOWER.encode(&Sha256::digest(canonical(&definition))).into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Fingerprint {
    fn from(digits: &str) -> Self {
        Self(digits.into())
    }
}
