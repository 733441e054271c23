//! One MCP server, as its events make it. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::tools::{KnownTools, ToolsChanged};
use crate::{
    events::Aggregate,
    mcp::{Fingerprint, ServerSpec},
    model::{Timestamp, without_nul},
};

/// The longest version that a server may say it has, in characters; the rest is cut off.
const LONGEST_VERSION: usize = 100;
/// The longest text about why a server is down, in characters; the rest is cut off.
const LONGEST_ERROR: usize = 500;

/// Where a server is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerSource {
    /// In the file of this node.
    File,
    /// In the log, by an ADMIN.
    Registered,
}

/// How a server was found to be, the last time that this was new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Whether it can be asked.
    pub up: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
    /// Since when.
    pub at: Timestamp,
}

/// A server that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) name: Arc<str>,
    pub(super) source: ServerSource,
    pub(super) config: Arc<ServerSpec>,
    pub(super) enabled: bool,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// What it says of itself.
    #[serde(default)]
    pub(super) version: Option<Arc<str>>,
    #[serde(default)]
    pub(super) checked: Option<Checked>,
    #[serde(default)]
    pub(super) tools: KnownTools,
}

/// A server, or none that there is yet or any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerState {
    pub(super) server: Option<Server>,
}

/// What can happen to a server. Each event has its own time: states are made of nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
#[expect(clippy::enum_variant_names, reason = "events of all rooms are kept under these names")]
pub(super) enum ServerEvent {
    /// It is there from now on.
    McpServerRegistered { name: Arc<str>, source: ServerSource, config: Arc<ServerSpec>, enabled: bool, at: Timestamp },
    /// It is configured otherwise.
    McpServerUpdated { config: Arc<ServerSpec>, at: Timestamp },
    /// It may be asked.
    McpServerEnabled { at: Timestamp },
    /// It must not be asked.
    McpServerDisabled { at: Timestamp },
    /// It is there no more.
    McpServerRemoved { at: Timestamp },
    /// It is up, or down, and was not before; or it has another version.
    McpServerChecked {
        status: Status,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Arc<str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
        at: Timestamp,
    },
    /// Its tools are not what they were.
    McpToolsChanged(ToolsChanged),
    /// An ADMIN approves of what a tool has become.
    McpToolApproved { tool: Arc<str>, fingerprint: Fingerprint, at: Timestamp },
}

/// Whether a server can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    Up,
    Down,
}

/// What somebody has found out about a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finding<'a> {
    pub(super) up: bool,
    pub(super) version: Option<&'a str>,
    pub(super) error: Option<&'a str>,
}

impl Finding<'_> {
    /// Whether that is known. Of a server that stays down, other words about it are no news.
    pub(super) fn is_known(&self, checked: Option<&Checked>, version: Option<&str>) -> bool {
        let says_another = || self.version.is_some_and(|said| Some(&*cut(said, LONGEST_VERSION)) != version);
        checked.is_some_and(|checked| checked.up == self.up) && !(self.up && says_another())
    }

    fn event(&self, at: Timestamp) -> ServerEvent {
        let status = if self.up { Status::Up } else { Status::Down };
        let version = self.version.filter(|_| self.up).map(|text| cut(text, LONGEST_VERSION));
        let error = self.error.filter(|_| !self.up).map(|text| cut(text, LONGEST_ERROR));
        ServerEvent::McpServerChecked { status, version, error, at }
    }
}

impl Server {
    /// What a finding means, where it is new.
    pub(super) fn check(&self, finding: &Finding<'_>, at: Timestamp) -> Option<ServerEvent> {
        let is_known = finding.is_known(self.checked.as_ref(), self.version.as_deref());
        (!is_known).then(|| finding.event(at))
    }

    fn apply(&mut self, event: &ServerEvent) {
        match event {
            ServerEvent::McpServerUpdated { config, at } => {
                (self.config, self.updated_at) = (Arc::clone(config), *at);
            }
            ServerEvent::McpServerEnabled { at } => (self.enabled, self.updated_at) = (true, *at),
            ServerEvent::McpServerDisabled { at } => (self.enabled, self.updated_at) = (false, *at),
            ServerEvent::McpServerChecked { status, version, error, at } => {
                self.version = version.clone().or_else(|| self.version.take());
                self.checked = Some(Checked { up: *status == Status::Up, error: error.clone(), at: *at });
            }
            ServerEvent::McpToolsChanged(changes) => self.tools.apply(changes),
            ServerEvent::McpToolApproved { tool, .. } => self.tools.approve(tool),
            ServerEvent::McpServerRegistered { .. } | ServerEvent::McpServerRemoved { .. } => {}
        }
    }
}

impl Aggregate for ServerState {
    type Event = ServerEvent;
    const TYPE: &'static str = "mcp_server";
    const SNAPSHOT_VERSION: u32 = 1;

    fn apply(&mut self, event: &ServerEvent) {
        match (event, &mut self.server) {
            (ServerEvent::McpServerRegistered { name, source, config, enabled, at }, server) => {
                *server = Some(Server {
                    name: Arc::clone(name),
                    source: *source,
                    config: Arc::clone(config),
                    enabled: *enabled,
                    created_at: *at,
                    updated_at: *at,
                    version: None,
                    checked: None,
                    tools: KnownTools::default(),
                });
            }
            (ServerEvent::McpServerRemoved { .. }, server) => *server = None,
            (event, Some(server)) => server.apply(event),
            (_, None) => {}
        }
    }
}

/// The stream of a server.
pub(super) fn stream(id: Uuid) -> String {
    format!("{}:{id}", ServerState::TYPE)
}

/// The id of a server that is configured in files under this name: the same on every node, and for ever.
pub(super) fn id_in_files(name: &str) -> Uuid {
    let digest = Sha256::new().chain_update("mcp-file:").chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::from_bytes(bytes)
}

fn cut(text: &str, longest: usize) -> Arc<str> {
    without_nul(&text.chars().take(longest).collect::<String>()).into()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn registered(name: &str, seconds: i64) -> ServerEvent {
        let config = ServerSpec::read(&json!({"command": "true"}), &[]).unwrap().into();
        let (name, source, at) = (name.into(), ServerSource::Registered, at(seconds));
        ServerEvent::McpServerRegistered { name, source, config, enabled: true, at }
    }

    #[test]
    fn a_server_is_what_its_events_say() {
        let mut state = ServerState::default();
        let mut kept = ServerState::default();
        for (event, expected) in [
            // Before it is there, and after it was removed, nothing happens to it.
            (ServerEvent::McpServerDisabled { at: at(0) }, None),
            (registered("a", 1), Some((true, 1, 1))),
            (ServerEvent::McpServerDisabled { at: at(2) }, Some((false, 1, 2))),
            (ServerEvent::McpServerEnabled { at: at(3) }, Some((true, 1, 3))),
            (ServerEvent::McpServerRemoved { at: at(4) }, None),
            (ServerEvent::McpServerEnabled { at: at(5) }, None),
            (registered("a", 6), Some((true, 6, 6))),
        ] {
            state.apply(&event);
            kept.apply(&serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap());
            let found = state.server.as_ref().map(|server| (server.enabled, server.created_at, server.updated_at));
            let expected = expected.map(|(enabled, created, updated)| (enabled, at(created), at(updated)));
            assert_eq!(found, expected, "{event:?}");
            assert_eq!(kept, state, "{event:?}");
            let snapshot = serde_json::to_value(&state).unwrap();
            assert_eq!(serde_json::from_value::<ServerState>(snapshot).unwrap(), state);
        }
    }

    #[test]
    fn only_transitions_are_news() {
        let mut state = ServerState::default();
        state.apply(&registered("a", 0));
        for (seconds, up, version, error, is_news) in [
            (1, false, None, Some("no such program"), true),
            (2, false, None, Some("other words"), false),
            (3, true, Some("1.0"), None, true),
            (4, true, Some("1.0"), None, false),
            (5, true, None, None, false),
            (6, true, Some("2.0"), None, true),
            (7, false, Some("3.0"), None, true),
            (8, false, Some("4.0"), None, false),
        ] {
            let event = state.server.as_ref().unwrap().check(&Finding { up, version, error }, at(seconds));
            assert_eq!(event.is_some(), is_news, "{seconds}");
            if let Some(event) = &event {
                state.apply(event);
            }
        }
        let server = state.server.unwrap();
        assert_eq!(server.version.as_deref(), Some("2.0"));
        assert_eq!(server.checked, Some(Checked { up: false, error: None, at: at(7) }));
    }

    #[test]
    fn what_servers_say_of_themselves_is_cut() {
        let mut state = ServerState::default();
        state.apply(&registered("a", 0));
        let (version, error) = ("é\0".repeat(1_000), "x".repeat(10_000));
        for (up, version, error) in [(true, Some(version.as_str()), None), (false, None, Some(error.as_str()))] {
            let finding = Finding { up, version, error };
            let event = state.server.as_ref().unwrap().check(&finding, at(1)).unwrap();
            state.apply(&event);
            assert_eq!(state.server.as_ref().unwrap().check(&finding, at(2)), None, "what was cut is known");
        }
        let server = state.server.unwrap();
        let kept = server.version.unwrap();
        assert_eq!((kept.chars().count(), kept.contains('\0')), (LONGEST_VERSION, false));
        assert_eq!(server.checked.unwrap().error.unwrap().len(), LONGEST_ERROR);
    }

    #[test]
    fn ids_of_file_servers_do_not_change() {
        assert_eq!(id_in_files("time"), id_in_files("time"));
        assert_ne!(id_in_files("time"), id_in_files("tim"));
        assert_eq!(id_in_files("time").to_string(), "82f19b0f-6191-0f9b-d2bf-357f0eda8b3f");
    }
}
