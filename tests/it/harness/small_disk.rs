//! A disk of a few megabytes, which a test can fill: a tmpfs. Needs root on Linux.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::watchdog::scratch;

/// A mounted disk, gone with the value that stands for it.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where nothing can be mounted, with the reason printed.
    pub(crate) fn mount(megabytes: u32) -> Option<Self> {
        let folder = scratch();
        let size = format!("size={megabytes}m,mode=0777");
        match mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], folder.path()) {
            Ok(()) => Some(Self(folder)),
            Err(reason) => {
                println!("skipped: a small disk cannot be mounted here: {reason}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.filler()).expect("it can be written");
        for size in [1 << 16, 1 << 12, 1 << 6, 1] {
            while file.write(&vec![0; size]).is_ok_and(|written| written == size) {}
        }
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still holds a file of it is about to end.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(at).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
