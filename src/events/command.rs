//! Who wants something done, and under which key: the same key twice is done once.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Somebody's wish to change something.
#[derive(Debug, Clone)]
pub struct Command {
    /// The subject whose wish it is.
    pub user_id: Arc<str>,
    /// The request that it came with.
    pub correlation_id: Arc<str>,
    /// The event that led to it, if one did.
    pub causation_id: Option<Uuid>,
    /// The caller's own name for it, so that a retry is done once.
    pub key: Option<CommandKey>,
}

/// A caller's own name for a command, and what the command was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKey {
    pub(super) key: String,
    pub(super) fingerprint: [u8; 32],
}

impl CommandKey {
    /// A key of this caller for doing `what` with these arguments. With other arguments the same key is refused.
    #[must_use]
    pub fn new(key: impl Into<String>, what: &str, arguments: &Value) -> Self {
        let fingerprint = Sha256::new().chain_update(what).chain_update([0]).chain_update(arguments.to_string());
        Self { key: key.into(), fingerprint: fingerprint.finalize().into() }
    }

    /// The caller's name for the command.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key
    }

    /// By which another command under the same name is told.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}
