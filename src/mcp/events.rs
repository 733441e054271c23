//! What is told to whoever follows servers and calls.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{host::HostStatus, sdk::Progress};
use crate::{
    bus::{Delivery, Topic},
    cache::Tag,
    model::Timestamp,
};

/// Events that wait for each follower of servers.
const SERVER_EVENTS: usize = 256;
/// News that wait for each follower of a call.
const PROGRESS: usize = 64;

/// Something that has happened to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEvent {
    /// Which.
    pub server_id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// What has happened.
    pub kind: ServerEventKind,
    /// When.
    pub at: Timestamp,
}

/// What can happen to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerEventKind {
    /// It answers, which it did not before.
    Up,
    /// It does not answer any more.
    Down,
    /// It was registered, changed or switched on.
    Changed,
    /// It was removed or switched off.
    Gone,
    /// What it offers is something else than before.
    CatalogueChanged,
}

impl ServerEventKind {
    pub(super) fn of(status: HostStatus) -> Option<Self> {
        match status {
            HostStatus::Up => Some(Self::Up),
            HostStatus::Down => Some(Self::Down),
            HostStatus::Unknown | HostStatus::Disabled => None,
        }
    }
}

/// How a call comes along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunProgress {
    /// How far it has come, by the server's word; grows.
    pub progress: f64,
    /// How far it will come, where the server knows.
    pub total: Option<f64>,
    /// What the server is doing.
    pub message: Option<Arc<str>>,
    /// The call is over.
    pub finished: bool,
}

impl From<Progress> for RunProgress {
    fn from(Progress { done, total, message }: Progress) -> Self {
        Self { progress: done, total, message, finished: false }
    }
}

/// Events of all servers.
pub(super) fn servers() -> Topic<ServerEvent> {
    Topic::new("mcp:servers", Delivery::Buffer(SERVER_EVENTS))
}

/// News of one call. The subject is part of the name, so that nobody hears of another's.
pub(super) fn run(subject: &str, id: Uuid) -> Topic<RunProgress> {
    Topic::new(format!("mcp:run:{id}:{subject}"), Delivery::Buffer(PROGRESS))
}

/// What answers depend on that tell of servers.
#[must_use]
pub fn servers_tag() -> Tag {
    Tag("mcp".into())
}
