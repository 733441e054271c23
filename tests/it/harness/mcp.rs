//! MCP servers of the test's own: real ones, and one that misbehaves as it is told.
//!
//! What is started over pipes ends with whoever started it, what is started over HTTP with its [`Node`]. All of them work
//! in a folder of this test process, so that none outlives it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Node, watchdog::home};

/// A server as it is configured: an entry of `mcpServers`.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct McpServer(Map<String, Value>);

impl McpServer {
    /// One of every kind of thing there is; of the older era.
    pub(crate) fn everything() -> Self {
        Self::node(&npm("everything"), &[])
    }

    /// Reads and writes files below this folder; of the older era.
    pub(crate) fn filesystem(folder: &Path) -> Self {
        Self::node(&npm("filesystem"), &[&folder.display().to_string()])
    }

    /// Keeps a graph of what it is told in this file; of the older era.
    pub(crate) fn memory(file: &Path) -> Self {
        Self::node(&npm("memory"), &[]).variable("MEMORY_FILE_PATH", &file.display().to_string())
    }

    /// Tells the time; of the older era.
    pub(crate) fn time_legacy() -> Self {
        Self::time("test-mcp-time-legacy")
    }

    /// Tells the time; of the newer era.
    pub(crate) fn time_modern() -> Self {
        Self::time("test-mcp-time-modern")
    }

    /// Misbehaves as the flags say: `node tests/mcp/faulty/stdio.mjs --help`.
    pub(crate) fn faulty(flags: &[&str]) -> Self {
        Self::node(&source("faulty/stdio.mjs"), flags)
    }

    /// One that is running already.
    pub(crate) fn over_http(node: &Node) -> Self {
        Self(Map::new()).with("url", format!("{}/mcp", node.url()))
    }

    fn time(environment: &str) -> Self {
        // Where scripts/install-test-tools.sh puts it: in cargo's target folder, which has `tmp` as well.
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(environment).join("bin/python");
        // Isolated from what the environment tells Python.
        Self::program(&python.display().to_string(), &["-I", "-m", "mcp_server_time"])
    }

    fn node(script: &Path, arguments: &[&str]) -> Self {
        let script = script.display().to_string();
        Self::program("node", &[&[&*script], arguments].concat())
    }

    fn program(command: &str, arguments: &[&str]) -> Self {
        Self(Map::new()).with("command", command).with("args", json!(arguments)).in_folder(home())
    }

    /// A field of the entry, such as `stateless` or `permissions`.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// A variable of its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        let environment = self.0.entry("env").or_insert_with(|| json!({}));
        environment[name] = value.into();
        self
    }

    /// Where it works.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        self.with("cwd", folder.display().to_string())
    }

    /// How to run it without a gateway.
    pub(crate) fn command(&self) -> Command {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut command = Command::new(text(&self.0["command"]));
        command.args(self.0["args"].as_array().into_iter().flatten().map(text)).current_dir(text(&self.0["cwd"]));
        let environment = self.0.get("env").and_then(Value::as_object).into_iter().flatten();
        command.envs(environment.map(|(name, value)| (name, text(value))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The server of everything over streamable HTTP, at `/mcp`; of the older era, with sessions.
pub(crate) async fn everything_over_http() -> Node {
    over_http(&npm("everything"), &["streamableHttp"]).await
}

/// The one that misbehaves, over streamable HTTP: `node tests/mcp/faulty/http.mjs --help`.
pub(crate) async fn faulty_over_http(flags: &[&str]) -> Node {
    over_http(&source("faulty/http.mjs"), flags).await
}

async fn over_http(script: &Path, arguments: &[&str]) -> Node {
    let script = script.display().to_string();
    let arguments = [&[&*script], arguments].concat();
    Node::start(PathBuf::from("node"), arguments.into_iter().map(str::to_owned).collect()).await
}

/// Writes a file of servers into the folder, and has those work there that have no place of their own.
pub(super) fn servers_file(folder: &Path, mut servers: Value) -> PathBuf {
    for server in servers.as_object_mut().expect("servers by name").values_mut() {
        let has_place = server["cwd"].as_str().is_some_and(|place| Path::new(place) != home());
        if server["command"].is_string() && !has_place {
            server["cwd"] = folder.display().to_string().into();
        }
    }
    let file = folder.join("servers.json");
    fs::write(&file, json!({ "mcpServers": servers }).to_string()).expect("a folder takes files");
    file
}

/// Those that have written their ids into a `--pid-file`, the oldest first.
pub(crate) fn started(pid_file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a process id")).collect()
}

/// Those of them that have not ended.
pub(crate) fn running(pid_file: &Path) -> Vec<u32> {
    // What has ended and was not waited for has no folder any more.
    let runs = |id: &u32| fs::read_link(format!("/proc/{id}/cwd")).is_ok();
    started(pid_file).into_iter().filter(runs).collect()
}

/// Sends a signal to all of those that have not ended.
pub(crate) fn signal_all(pid_file: &Path, name: &str) {
    for id in running(pid_file) {
        let status = Command::new("kill").args(["-s", name, &id.to_string()]).stderr(Stdio::null()).status();
        // One may end in this very moment.
        assert!(
            status.expect("kill is there").success() || !running(pid_file).contains(&id),
            "{id} does not hear {name}"
        );
    }
}

fn npm(name: &str) -> PathBuf {
    source(&format!("node_modules/@modelcontextprotocol/server-{name}/dist/index.js"))
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp").join(path)
}
