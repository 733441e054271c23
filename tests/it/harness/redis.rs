//! A Redis server of the test's own: a real process on a free loopback port, gone with the value that stands for it.
//!
//! Waits on conditions (it answers, it is gone), never for a time.

use std::{
    io,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, POLL, ports::free_port, process::Process, tls, watchdog::scratch};

/// A running server, or one that was killed and can be started again on its port.
pub(crate) struct RedisServer {
    settings: Builder,
    port: u16,
    process: Process,
    /// Where it runs: certificates, and what a cluster node knows of the others. Goes after the process.
    folder: TempDir,
}

/// How a server is to be started.
#[derive(Clone, Default)]
pub(crate) struct Builder {
    arguments: Vec<String>,
    password: Option<String>,
    tls: bool,
}

impl RedisServer {
    /// Without a password, without a disk.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// With the password of the default user, when it has one. By TLS the name is `localhost`.
    pub(crate) fn url(&self) -> String {
        let login = self.settings.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let (scheme, host) = if self.settings.tls { ("rediss", "localhost") } else { ("redis", "127.0.0.1") };
        format!("{scheme}://{login}{host}:{}", self.port)
    }

    /// What a client must trust to reach a server with TLS.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// `SIGKILL`: it is gone, and its port refuses connections, when this returns.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Ends it and starts it again on the same port. Memory is empty then; a cluster node knows its cluster again.
    pub(crate) async fn restart(&self) {
        self.kill();
        // Nobody else takes this port, but the system may take a moment to give it back.
        let again = async { while !self.launch().await {} };
        timeout(PATIENCE, again).await.expect("the server starts again");
    }

    /// `SIGSTOP`: connections stay and new ones are accepted by the system, but nothing is ever answered.
    pub(crate) fn pause(&self) {
        self.process.pause();
    }

    /// `SIGCONT`: answers what was asked meanwhile, and goes on.
    pub(crate) fn resume(&self) {
        self.process.resume();
    }

    /// What `redis-cli` prints for a command, without the white space around it. Holds up everything else that runs on
    /// the test's thread.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        printed(self.client(command).output())
    }

    /// The same, while everything else goes on.
    pub(crate) async fn run(&self, command: &[&str]) -> String {
        printed(tokio::process::Command::from(self.client(command)).output().await)
    }

    fn client(&self, command: &[&str]) -> Command {
        assert!(!self.process.is_paused(), "a paused server never answers");
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string()]);
        if let Some(password) = &self.settings.password {
            client.args(["--no-auth-warning", "-a", password]);
        }
        if self.settings.tls {
            client.args(["-h", "localhost", "--tls", "--cacert"]).arg(self.authority());
        }
        client.args(command);
        client
    }

    /// Starts the process and waits until it answers. False when it ended instead, as it does on a port in use.
    async fn launch(&self) -> bool {
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).current_dir(self.folder.path());
        server.args(&self.settings.arguments);
        if let Some(password) = &self.settings.password {
            server.args(["--requirepass", password]);
        }
        if self.settings.tls {
            let file = |name| self.folder.path().join(name);
            server.args(["--port", "0", "--tls-port", &self.port.to_string(), "--tls-auth-clients", "no"]);
            server.arg("--tls-ca-cert-file").arg(file("ca.crt"));
            server.arg("--tls-cert-file").arg(file("server.crt")).arg("--tls-key-file").arg(file("server.key"));
        } else {
            server.args(["--port", &self.port.to_string()]);
        }
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Another process' server may have taken the port a moment ago, and answers.
        let ours = format!("process_id:{}\r", self.process.start(&mut server));
        let answers = async {
            loop {
                if self.process.has_ended() {
                    return false;
                }
                // Whoever asks for a password first is up as well.
                let answer = self.run(&["INFO", "server"]).await;
                if answer.contains(&ours) || answer.starts_with("NOAUTH") || answer.starts_with("NOPERM") {
                    return true;
                }
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, answers).await.expect("a server answers or ends")
    }
}

impl Builder {
    /// An option of `redis-server` with its value.
    pub(crate) fn arg(mut self, option: &str, value: &str) -> Self {
        self.arguments.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// What the default user must say. [`RedisServer::url`] says it.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// One more user, as in `ACL SETUSER`: `app on >secret ~* &* +@all`.
    pub(crate) fn acl(mut self, user: &str) -> Self {
        self.arguments.push("--user".to_owned());
        self.arguments.extend(user.split(' ').map(str::to_owned));
        self
    }

    /// Speaks TLS alone, with a certificate of [`RedisServer::authority`].
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    pub(crate) async fn start(self) -> RedisServer {
        // Somebody may be quicker to take a free port.
        for _ in 0..10 {
            let server = RedisServer {
                settings: self.clone(),
                port: free_port(),
                folder: scratch(),
                process: Process::default(),
            };
            if self.tls {
                tls::write_certificates(server.folder.path());
            }
            if server.launch().await {
                return server;
            }
        }
        panic!("redis-server ends at once with {:?}", self.arguments)
    }
}

fn printed(output: io::Result<Output>) -> String {
    let output = output.expect("scripts/install-test-tools.sh installs redis-cli");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
