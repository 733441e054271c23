//! What this test process starts, mounts and writes goes with it, even where it is killed and nothing is dropped.
//!
//! All of that is in one folder, and whoever works in the folder belongs to this process. So nothing needs to be
//! registered, and no process id can have become somebody else's. A shell waits for the end of this process and clears
//! up. It finds processes by Linux's `/proc`; elsewhere only the folder goes.

use std::{
    fs::{self, DirEntry, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use tempfile::TempDir;

/// `cat` ends with the test process, which alone holds the other end of the pipe. A file that a test made immutable
/// would keep the folder.
const CLEAR_UP: &str = r#"
cat
while left=$(find /proc/[0-9]*/cwd -lname "$1*" | cut -d / -f 3) && [ -n "$left" ]; do
    kill -s KILL $left
done
cut -d ' ' -f 2 /proc/mounts | grep -F "$1/" | xargs -r umount -l
chattr -R -f -i "$1"
rm -rf "$1"
"#;

/// The folder, and the shell that waits.
static HOME: LazyLock<(PathBuf, Child)> = LazyLock::new(|| {
    let folder = tempfile::Builder::new().prefix("tidegate-it-").tempdir().expect("a temporary folder").keep();
    // As `/proc` names it.
    let folder = folder.canonicalize().expect("it was just made");
    // A server that runs as another user has its own folder in here.
    fs::set_permissions(&folder, Permissions::from_mode(0o711)).expect("it is ours");
    let watchdog = Command::new("sh")
        .args(["-c", CLEAR_UP, "sh"])
        .arg(&folder)
        .current_dir("/")
        // Ctrl-C reaches the whole group of the test process.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("there is a shell");
    (folder, watchdog)
});

/// Where everything of this test process is. A process that is started with this, or a folder in it, as its current
/// folder does not outlive this one.
pub(crate) fn home() -> &'static Path {
    &HOME.0
}

/// A folder of one's own in it.
pub(crate) fn scratch() -> TempDir {
    TempDir::new_in(home()).expect("a temporary folder")
}

/// The processes that work in this folder, or in one below it.
pub(crate) fn inhabitants(folder: &Path) -> Vec<String> {
    let lives_here =
        |entry: &DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter(lives_here);
    processes.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
