//! What can go wrong with Redis, sorted by what a caller can make of it.

use std::path::PathBuf;

use redis::{ErrorKind, ServerErrorKind};
use thiserror::Error;

/// Why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RedisError {
    /// No answer within the lane's deadline; the command may have been executed.
    #[error("redis did not answer in time")]
    TimedOut,
    /// Not connected, or left alone for a moment after several failures; nothing was sent.
    #[error("redis is not reachable")]
    Unavailable,
    /// The connection or the cluster failed; the command may have been executed.
    #[error("the link to redis failed: {0}")]
    Lost(String),
    /// The server said no: out of memory, not permitted, and the like.
    #[error("redis refused: {0}")]
    Refused(String),
    /// The answer has another shape than the caller expects.
    #[error("redis gave an unexpected answer: {0}")]
    Unexpected(String),
}

/// Why a Redis cannot be used at all.
#[derive(Debug, Error)]
pub enum RedisOpenError {
    /// The address makes no sense to the client.
    #[error("redis.url cannot be used: {0}")]
    Address(String),
    /// The certificate file cannot be read.
    #[error("cannot read redis.tls_ca_file {path}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RedisError {
    /// Whether this says that Redis is in trouble, and not that it disliked the command.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unavailable | Self::Lost(_))
    }
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::UnexpectedReturnType => Self::Unexpected(text),
            ErrorKind::Server(kind) if is_honest(kind) => Self::Refused(text),
            // A key that we are not let in with any more is an outage until somebody mends it.
            ErrorKind::Extension if !matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => Self::Refused(text),
            _ => Self::Lost(text),
        }
    }
}

/// Whether a healthy server says this about a command of ours.
fn is_honest(kind: ServerErrorKind) -> bool {
    matches!(
        kind,
        ServerErrorKind::ResponseError
            | ServerErrorKind::ExecAbort
            | ServerErrorKind::NoScript
            | ServerErrorKind::CrossSlot
            | ServerErrorKind::NotBusy
            | ServerErrorKind::NoSub
            | ServerErrorKind::NoPerm
    )
}
