//! Why a line was lost, in the few words that logs and metrics use.

/// Why a line cannot be heard, or can no longer be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Loss {
    /// The server, or something in between, closed the connection.
    #[error("closed")]
    Closed,
    /// A command was not answered in time, so the connection may be half open.
    #[error("no answer in time")]
    Silent,
    /// Answers come, but what is published does not.
    #[error("published messages do not arrive")]
    Deaf,
    /// The server ended a subscription by itself: the slot is somebody else's now.
    #[error("the slot moved")]
    Moved,
    /// The server refused to subscribe.
    #[error("refused: {0}")]
    Refused(String),
    /// No connection could be made.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

impl Loss {
    /// The value of the metric's label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Deaf => "deaf",
            Self::Moved => "moved",
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

impl From<redis::RedisError> for Loss {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            Self::Silent
        } else if error.is_io_error() || error.is_unrecoverable_error() {
            Self::Closed
        } else {
            Self::Refused(error.to_string())
        }
    }
}
