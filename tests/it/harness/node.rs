//! A node of a blockchain, or another server of the test's own: a real process on a free loopback port, gone with the value
//! that stands for it.
//!
//! What they all have in common. Waits on conditions (it listens, it is gone), never for a time.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, POLL, ports::free_port, process::Process, watchdog::scratch};

/// A running node, or one that was killed and can be started again on its port. Its chain is in its memory.
pub(crate) struct Node {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    process: Process,
    /// Where it runs. Goes after the process.
    folder: TempDir,
    client: Client,
}

impl Node {
    /// The program must take `--port` or `PORT`, and print `Listening on` once the port is its own.
    pub(crate) async fn start(program: PathBuf, arguments: Vec<String>) -> Self {
        // No idle connections: a node that was killed and started again would not know them.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build();
        let client = client.expect("the client needs nothing from outside");
        let (process, folder) = (Process::default(), scratch());
        let mut node = Self { program, arguments, port: free_port(), process, folder, client };
        // Somebody may be quicker to take a free port.
        for _ in 0..10 {
            if node.launch().await {
                return node;
            }
            node.port = free_port();
        }
        panic!("{} ends at once: {}", node.program.display(), node.log())
    }

    /// Starts it on the same port, with a new chain.
    pub(crate) async fn start_again(&self) {
        // Nobody else takes this port, but the system may take a moment to give it back.
        let again = async { while !self.launch().await {} };
        timeout(PATIENCE, again).await.unwrap_or_else(|_| panic!("the node does not start again: {}", self.log()));
    }

    /// Starts the process and waits until it listens. False when it ended instead, as it does on a port in use.
    async fn launch(&self) -> bool {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a folder takes files");
        let before = self.log().len();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(["--port", &self.port.to_string()]).current_dir(self.folder.path());
        command.env("PORT", self.port.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("an open file")).stderr(log);
        self.process.start(&mut command);
        let listens = async {
            // Asking the port would not tell this node from another that has it.
            while !self.log()[before..].to_lowercase().contains("listening on") {
                if self.process.has_ended() {
                    return false;
                }
                sleep(POLL).await;
            }
            true
        };
        timeout(PATIENCE, listens).await.unwrap_or_else(|_| panic!("the node does not listen: {}", self.log()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The result of a call behind the server's back.
    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    /// The error of a call that must fail.
    pub(crate) async fn refusal(&self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params).await;
        assert!(answer.get("result").is_none(), "{method}: {}", answer["result"]);
        answer["error"].take()
    }

    async fn answer(&self, method: &str, params: Value) -> Value {
        self.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()).await
    }

    /// What it answers to this text.
    pub(crate) async fn post(&self, body: &str) -> Value {
        let request = self.client.post(self.url()).header("content-type", "application/json").body(body.to_owned());
        let response = request.send().await.unwrap_or_else(|error| panic!("{body}: {error}"));
        serde_json::from_str(&response.text().await.expect("a whole answer")).expect("JSON")
    }

    /// `SIGSTOP`: connections stay and new ones are accepted by the system, but nothing is ever answered.
    pub(crate) fn pause(&self) {
        self.process.pause();
    }

    /// `SIGCONT`: answers what was asked meanwhile, and goes on.
    pub(crate) fn resume(&self) {
        self.process.resume();
    }

    /// `SIGKILL`: it is gone, and its port refuses connections, when this returns.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Any other signal.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// What it wrote since its first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}
