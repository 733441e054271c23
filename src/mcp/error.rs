//! What can go wrong with MCP servers and their tools.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::catalogue::SchemaProblem;
use crate::{
    events::{EventsError, ProjectionError},
    model::FieldError,
    resilience::CallError,
    store::DatabaseError,
};

/// Why a server was not changed, or a tool not called.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum McpError {
    /// What was sent cannot be taken: everything that is wrong with it.
    #[error("the input cannot be taken: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There is no such server.
    #[error("there is no MCP server {0}")]
    NoServer(String),
    /// No server that can be asked has such a tool, or none that the caller may call.
    #[error("there is no tool {name}")]
    NoTool {
        /// What was asked for.
        name: String,
        /// Qualified names that may have been meant.
        candidates: Vec<String>,
    },
    /// Several servers have a tool of that name.
    #[error("several servers have a tool {name}: use a qualified name")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The qualified names.
        candidates: Vec<String>,
    },
    /// A server of that name is there already.
    #[error("there is an MCP server {0} already")]
    NameTaken(String),
    /// What the file says cannot be changed here.
    #[error("the MCP server {0} is configured in a file, and changed there")]
    FromFile(String),
    /// An operator has switched the server off.
    #[error("the MCP server {0} is disabled")]
    Disabled(Arc<str>),
    /// The tool is not what it was, and nobody has approved of that.
    #[error("the tool {0} has changed what it says of its effects, and waits for approval")]
    NeedsApproval(Arc<str>),
    /// What the tool says of its arguments cannot be used, so that they cannot be checked.
    #[error("the tool {tool} cannot be called: {problem}")]
    BadSchema {
        /// Which.
        tool: Arc<str>,
        /// What is wrong with its schema.
        problem: SchemaProblem,
    },
    /// The server cannot be asked.
    #[error("the MCP server {server} cannot be asked: {error}")]
    Call {
        /// Which.
        server: Arc<str>,
        /// Why.
        error: CallError,
    },
    /// The server says that the request makes no sense.
    #[error("the MCP server {server} refuses: {message}")]
    Refused {
        /// Which.
        server: Arc<str>,
        /// The code of JSON-RPC.
        code: i32,
        /// In the server's words.
        message: Arc<str>,
    },
    /// The log did not do it.
    #[error(transparent)]
    Events(#[from] EventsError),
}

impl McpError {
    /// When asking again makes sense, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call { error, .. } => error.retry_after(),
            _ => None,
        }
    }
}

impl From<DatabaseError> for McpError {
    fn from(error: DatabaseError) -> Self {
        Self::Events(EventsError::Database(error))
    }
}

impl From<McpError> for ProjectionError {
    fn from(error: McpError) -> Self {
        match error {
            McpError::Events(error) => Self::Events(error),
            other => {
                Self::Events(EventsError::Unreadable { event_type: "McpServer".into(), reason: other.to_string() })
            }
        }
    }
}
