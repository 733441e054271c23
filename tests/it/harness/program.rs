//! The program as a process of its own, for what cannot be done to a server inside the test: `kill -9`.

use std::{fs::File, path::Path, process::Stdio, time::Duration};

use reqwest::{Client, header::CONTENT_TYPE};
use serde_json::Value;
use tidegate::{
    auth::dev,
    config::{AuthConfig, DatabaseConfig},
    model::{Clock, Role},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{PATIENCE, home, mcp::servers_file};

/// A running sandbox.
pub(crate) struct Program {
    child: Child,
    base: String,
}

impl Program {
    /// Starts the sandbox over this database, and waits until it listens.
    pub(crate) async fn start(database: &DatabaseConfig) -> Self {
        Self::start_with(database, &[]).await
    }

    /// The same, and keeps everything that it can be made to log in a file.
    pub(crate) async fn start_logging(database: &DatabaseConfig, log: &Path) -> Self {
        let log = File::create(log).expect("a file");
        Self::run(sandbox(database).env("TIDEGATE_TELEMETRY_LOG_FILTER", "trace").stderr(log)).await
    }

    /// The same, with further arguments.
    pub(crate) async fn start_with(database: &DatabaseConfig, arguments: &[&str]) -> Self {
        Self::run(sandbox(database).args(arguments).stderr(Stdio::null())).await
    }

    /// The same, in front of these MCP servers.
    pub(crate) async fn start_before(database: &DatabaseConfig, servers: Value) -> Self {
        let file = servers_file(&database.folder, servers);
        Self::run(sandbox(database).env("TIDEGATE_MCP_SERVERS_FILE", file).stderr(Stdio::null())).await
    }

    async fn run(sandbox: &mut Command) -> Self {
        let mut child = sandbox.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut printed = BufReader::new(child.stdout.take().expect("piped")).lines();
        let base = loop {
            let line = timeout(PATIENCE, printed.next_line()).await.expect("the address is printed").expect("text");
            let line = line.expect("the address is printed before the end");
            if let Some(base) = line.strip_prefix("listening on ") {
                break base.to_owned();
            }
        };
        Self { child, base }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Ends it without giving it a moment.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }
}

/// The sandbox over this database, on a free port.
fn sandbox(database: &DatabaseConfig) -> Command {
    let mut command = program(database);
    command.args(["sandbox", "--listen", "127.0.0.1:0"]);
    command
}

/// The program with nothing but this database in its environment.
pub(crate) fn program(database: &DatabaseConfig) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().current_dir(home()).env("TMPDIR", home()).kill_on_drop(true);
    command.env("TIDEGATE_DATABASE_FOLDER", &database.folder);
    for (name, secret) in [("URL", &database.url), ("MASTER_KEY", &database.master_key)] {
        if let Some(secret) = secret {
            command.env(format!("TIDEGATE_DATABASE_{name}"), secret.expose());
        }
    }
    command
}

/// Somebody with a token of the sandbox.
#[derive(Clone)]
pub(crate) struct Stranger {
    client: Client,
    token: String,
}

impl Stranger {
    pub(crate) fn new(subject: &str, role: Role) -> Self {
        let lifetime = Duration::from_hours(1);
        Self::bearing(&dev::mint(&AuthConfig::defaults(), subject, role, lifetime, Clock::system().now()))
    }

    /// Somebody with whatever this is.
    pub(crate) fn bearing(token: &str) -> Self {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { client, token: token.to_owned() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The answer, if there is a whole one.
    pub(crate) async fn post(&self, base: &str, body: &Value) -> Option<Value> {
        let request = self.client.post(format!("{base}/graphql")).bearer_auth(&self.token);
        let response = request.header(CONTENT_TYPE, "application/json").body(body.to_string()).send().await.ok()?;
        serde_json::from_str(&response.text().await.ok()?).ok()
    }
}
