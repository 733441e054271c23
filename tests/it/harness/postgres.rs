//! A PostgreSQL server of the test's own: real processes on a free loopback port, gone with the value that stands for it.
//!
//! Waits on conditions (it answers, it is gone), never for a time. It refuses to run as root, so a test that is root
//! starts it as another user.

use std::{
    fs::{self, DirEntry},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, LazyLock, Weak},
};

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{
    PATIENCE, POLL,
    ports::free_port,
    watchdog::{inhabitants, scratch},
};

const PASSWORD: &str = "tidegate";

/// A running server, or one that was killed and can be started again on its port.
pub(crate) struct PostgresServer {
    port: u16,
    folder: TempDir,
    settings: Vec<String>,
    postmaster: Mutex<Option<Child>>,
    databases: Mutex<usize>,
    /// Kept for the next one.
    _template: Arc<TempDir>,
}

/// A folder as `initdb` leaves it, which takes seconds: shared by all servers of these tests, and gone with the last.
fn template() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    if let Some(made) = shared.upgrade() {
        return made;
    }
    let folder = server_folder();
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).expect("a temporary folder takes files");
    let data = folder.path().join("data");
    let made = run(unprivileged("initdb", folder.path())
        .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--username=tidegate"])
        .arg(format!("--pwfile={}", password.display()))
        .arg(format!("--pgdata={}", data.display())));
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let made = Arc::new(folder);
    *shared = Arc::downgrade(&made);
    made
}

impl PostgresServer {
    /// A server with an empty database.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server that does not wait for its disk, for tests that do not end it.
    pub(crate) async fn hasty() -> Self {
        Self::with(&["fsync=off"]).await
    }

    /// A server with settings such as `fsync=off`.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let (folder, template) = (server_folder(), template());
        let copied = run(unprivileged("cp", folder.path()).arg("-r").arg(template.path().join("data")).arg("."));
        assert!(copied.status.success(), "cp: {}", String::from_utf8_lossy(&copied.stderr));
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut server = Self {
            port: free_port(),
            folder,
            settings,
            postmaster: Mutex::new(None),
            databases: Mutex::new(0),
            _template: template,
        };
        // Somebody may be quicker to take a free port.
        for _ in 0..10 {
            if server.launch().await {
                return server;
            }
            server.port = free_port();
        }
        panic!("postgres ends at once: {}", server.log())
    }

    /// Starts it on the same port over the same data.
    pub(crate) async fn start_again(&self) {
        // Nobody else takes this port, but the system may take a moment to give it back.
        let again = async { while !self.launch().await {} };
        timeout(PATIENCE, again).await.unwrap_or_else(|_| panic!("postgres does not start again: {}", self.log()));
    }

    /// Starts the process and waits until it answers. False when it ended instead, as it does on a port in use.
    async fn launch(&self) -> bool {
        let mut command = unprivileged("postgres", self.folder.path());
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k", ""]);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=32MB"]
            .into_iter()
            .chain(self.settings.iter().map(String::as_str))
        {
            command.args(["-c", setting]);
        }
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a temporary folder takes files");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("postgres starts");
        *self.postmaster.lock() = Some(child);
        let answers = async {
            while !self.has_ended() {
                // Another server may have the port, and the same password.
                let folder = self.psql("SHOW data_directory").stdout;
                if Path::new(String::from_utf8_lossy(&folder).trim()) == self.data() {
                    return true;
                }
                sleep(POLL).await;
            }
            false
        };
        timeout(PATIENCE, answers).await.unwrap_or_else(|_| panic!("postgres does not answer: {}", self.log()))
    }

    fn has_ended(&self) -> bool {
        self.postmaster.lock().as_mut().is_none_or(|child| child.try_wait().expect("it is ours").is_some())
    }

    /// Where its first database is.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Another empty database of the same server.
    pub(crate) fn fresh_database(&self) -> String {
        let number = {
            let mut databases = self.databases.lock();
            *databases += 1;
            *databases
        };
        let name = format!("fresh_{number}");
        let made = self.psql(&format!("CREATE DATABASE {name}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.url_of(&name)
    }

    /// Ends all its processes at once, as a loss of power would.
    pub(crate) fn kill(&self) {
        let Some(mut postmaster) = self.postmaster.lock().take() else { return };
        // Until nobody is left: the postmaster may have started one more meanwhile.
        while let left = self.processes()
            && !left.is_empty()
        {
            signal("KILL", &left);
        }
        let _ = postmaster.kill();
        let _ = postmaster.wait();
        // Nobody holds the memory any more that this names, and the next postmaster need not ask.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Stops all its processes, so that it holds its connections and answers nothing.
    pub(crate) fn pause(&self) {
        let mut stopped = Vec::new();
        // Until nobody is new, for the same reason.
        while let all = self.processes()
            && all != stopped
        {
            signal("STOP", &all);
            stopped = all;
        }
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        signal("CONT", &self.processes());
    }

    /// Runs SQL in the first database.
    pub(crate) fn psql(&self, sql: &str) -> Output {
        run(Command::new(binary("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", &self.url(), "--command", sql])
            .env("PGCONNECT_TIMEOUT", "5"))
    }

    /// A backup of a database without what can be made again, and without the vault.
    pub(crate) fn dump(url: &str) -> Vec<u8> {
        let dumped = run(Command::new(binary("pg_dump")).args([
            "--no-unlogged-table-data",
            "--exclude-table-data=data_keys",
            "--clean",
            url,
        ]));
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        dumped.stdout
    }

    /// Puts a database back as it was, without touching the vault.
    pub(crate) fn restore(&self, url: &str, backup: &[u8]) {
        let file = self.folder.path().join("backup.sql");
        fs::write(&file, backup).expect("a temporary folder takes files");
        let keep = "CREATE TABLE kept AS TABLE data_keys";
        let back = "INSERT INTO data_keys SELECT * FROM kept; DROP TABLE kept";
        for arguments in [["--command", keep], ["--file", &file.display().to_string()], ["--command", back]] {
            let done = run(Command::new(binary("psql"))
                .args(["-v", "ON_ERROR_STOP=1", "--quiet", "--dbname", url])
                .args(arguments));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }

    /// Runs each statement by itself, in one session.
    pub(crate) fn psql_each(&self, statements: &[&str]) -> Output {
        let commands = statements.iter().flat_map(|sql| ["--command", sql]);
        run(Command::new(binary("psql")).args(["--no-psqlrc", "--quiet", "--dbname", &self.url()]).args(commands))
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://tidegate:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// What it wrote since its first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The postmaster and its children.
    fn processes(&self) -> Vec<String> {
        inhabitants(self.folder.path())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(name: &str, processes: &[String]) {
    // One that is gone already is no failure.
    let _ = run(Command::new("kill").args(["-s", name]).args(processes));
}

/// A folder in which the unprivileged user may write.
fn server_folder() -> TempDir {
    let folder = scratch();
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("root may give folders away");
    }
    folder
}

fn unprivileged(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(binary(program));
    command.current_dir(folder);
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Whom to start the server as, where the test is root: the package's user, or nobody.
fn other_user() -> Option<(u32, u32)> {
    static USER: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
        let id = |arguments: &[&str]| {
            let output = run(Command::new("id").args(arguments));
            String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
        };
        let is_root = id(&["-u"]) == Some(0);
        let ids = |name: &str| Some((id(&["-u", name])?, id(&["-g", name])?));
        is_root.then(|| ids("postgres").or_else(|| ids("nobody")).expect("there is a user besides root"))
    });
    *USER
}

/// Where Debian keeps it, of the newest version whose server is there and not only its clients; or on the path.
pub(crate) fn binary(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |folder: &DirEntry| folder.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let programs = |version: DirEntry| Some((number(&version)?, version.path().join("bin")));
    let has_server = |bin: &Path| ["postgres", "initdb"].iter().all(|name| bin.join(name).exists());
    let newest = versions.filter_map(programs).filter(|(_, bin)| has_server(bin)).max();
    newest.map(|(_, bin)| bin.join(name)).filter(|path| path.exists()).unwrap_or_else(|| name.into())
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
