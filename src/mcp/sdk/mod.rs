//! The MCP SDK, behind one door: the only place of the room that knows it.
//!
//! A [`Link`] is a connection to a server of either era: up to 2025-11-25 with its handshake, and 2026-07-28 without.
//! Every request has a deadline, and is cancelled at the server when it is over or whoever asked has gone. What the SDK would
//! keep, answer stale or do again by itself is switched off.

mod ear;
mod link;
mod translate;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use thiserror::Error;

pub(super) use self::link::{Link, Wire, progress};

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: a handshake, and sessions.
    Legacy,
    /// From 2026-07-28: neither.
    Modern,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerFacts {
    /// Such as `2025-11-25`.
    pub(super) protocol: Arc<str>,
    pub(super) era: Era,
    /// Its version, by its own word.
    pub(super) version: Option<Arc<str>>,
    pub(super) offers: Offers,
}

/// Of what kinds a server has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) tools: bool,
    pub(super) prompts: bool,
    pub(super) resources: bool,
}

/// What a tool has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The tool says that it has failed.
    pub is_error: bool,
    /// Blocks of content as the protocol has them: text, images, links.
    pub content: Vec<Value>,
    /// The same for programs.
    pub structured: Option<Value>,
}

impl ToolResult {
    /// How large it is, in bytes of JSON.
    pub(super) fn bytes(&self) -> usize {
        self.content.iter().chain(&self.structured).map(|part| part.to_string().len()).sum()
    }
}

/// How far a call has come, by the server's word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Progress {
    pub(super) done: f64,
    pub(super) total: Option<f64>,
    pub(super) message: Option<Arc<str>>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum LinkError {
    /// It did not come in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection is closed, or closed before the answer came.
    #[error("the connection was closed")]
    Closed,
    /// The server says no.
    #[error("error {code}: {message}")]
    Refused {
        /// Of JSON-RPC.
        code: i32,
        /// In its words.
        message: Arc<str>,
    },
    /// The server answers with a status of HTTP that is an error.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The request did not get through, or the answer makes no sense.
    #[error("{0}")]
    Broken(Arc<str>),
}
