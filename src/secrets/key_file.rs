//! The file that the master key is kept in.
//!
//! Several processes may start at once on an empty folder, and any of them may end at any moment: the file appears
//! whole or not at all, the first one stays, and everybody reads the same key from it before using it.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;

use super::{KeyError, MasterKey, random};

/// Nothing longer is a key, so nothing longer is read.
const LONGEST_FILE_BYTES: u64 = 256;

impl MasterKey {
    /// The key in the file at `path`, for those whose data needs this key and no new one.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let unread = |fault: io::Error| match fault.kind() {
            ErrorKind::NotFound => KeyError::Missing { path: path.into() },
            _ => KeyError::Unread { path: path.into(), fault },
        };
        let file = File::open(path).map_err(unread)?;
        if is_exposed(&file.metadata().map_err(unread)?) {
            return Err(KeyError::Exposed { path: path.into() });
        }
        let mut text = Vec::new();
        file.take(LONGEST_FILE_BYTES).read_to_end(&mut text).map_err(unread)?;
        let key = str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        key.ok_or_else(|| KeyError::BadFile { path: path.into() })
    }

    /// The key in the file at `path`, or a new one, which is on the disk when this returns. Its folder must be there.
    /// Where there is data already, [`load`](Self::load) notices that its key is gone.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Missing { .. }) => {
                create(path).map_err(|fault| KeyError::Unmade { path: path.into(), fault })?;
                Self::load(path)
            }
            found => found,
        }
    }
}

/// Makes the file, unless somebody else has by then.
fn create(path: &Path) -> io::Result<()> {
    let draft = Draft::write(path, &MasterKey::generate())?;
    // Unlike a rename, a second name never takes the place of a file that is there.
    match fs::hard_link(&draft.0, path) {
        Err(fault) if fault.kind() != ErrorKind::AlreadyExists => return Err(fault),
        Ok(()) | Err(_) => {}
    }
    // The name must outlive a power cut as well, whoever made it: what is sealed next is worth nothing without.
    folder_of(path).and_then(File::open)?.sync_all()
}

/// A whole key file under a name that nobody looks for; it goes when it is dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(path: &Path, key: &MasterKey) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", HEXLOWER.encode(&random::<8>())));
        let draft = Self(name.into());
        let mut file = owners_only().write(true).create_new(true).open(&draft.0)?;
        file.write_all(format!("{}\n", key.to_text()).as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed is a key that nobody uses, in a file that only its owner reads.
        let _ = fs::remove_file(&self.0);
    }
}

fn folder_of(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(folder) => Ok(folder),
        None => Err(ErrorKind::InvalidFilename.into()),
    }
}

#[cfg(unix)]
fn owners_only() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;

    metadata.permissions().mode() & 0o077 != 0
}

/// Elsewhere a folder says who may read its files.
#[cfg(not(unix))]
fn owners_only() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(not(unix))]
fn is_exposed(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A file that only its owner reads.
    fn put(path: &Path, text: &[u8]) {
        owners_only().write(true).create(true).truncate(true).open(path).unwrap().write_all(text).unwrap();
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate.key");
        assert!(matches!(MasterKey::load(&path), Err(KeyError::Missing { .. })));
        let made = MasterKey::load_or_create(&path).unwrap().fingerprint();
        assert_eq!(MasterKey::load_or_create(&path).unwrap().fingerprint(), made);
        assert_eq!(MasterKey::load(&path).unwrap().fingerprint(), made);
        assert_eq!(names_in(folder.path()), ["tidegate.key"]);
    }

    #[test]
    fn all_who_start_at_once_agree() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tidegate.key");
            let found: HashSet<String> = thread::scope(|scope| {
                let start = || MasterKey::load_or_create(&path).unwrap().fingerprint();
                let starters: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
                starters.into_iter().map(|starter| starter.join().unwrap()).collect()
            });
            assert_eq!((found.len(), names_in(folder.path()).len()), (1, 1));
        }
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate.key");
        let (short, long) = (BASE64_STANDARD.encode([7; 31]), BASE64_STANDARD.encode([7; 33]));
        for bad in [&b""[..], b"hunter2", b"\xff\xfe", short.as_bytes(), long.as_bytes(), &[b'A'; 10_000]] {
            put(&path, bad);
            let refused = MasterKey::load_or_create(&path).unwrap_err();
            assert!(matches!(refused, KeyError::BadFile { .. }), "{refused}");
            assert!(!refused.to_string().contains("hunter2"));
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_or_change_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate.key");
        MasterKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (mode, refused) in [(0o640, true), (0o604, true), (0o620, true), (0o400, false), (0o600, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let outcome = MasterKey::load_or_create(&path);
            assert_eq!(matches!(outcome, Err(KeyError::Exposed { .. })), refused, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let expected = format!("the key file {} is open to others; its mode must be 0600", path.display());
        assert_eq!(MasterKey::load(&path).unwrap_err().to_string(), expected);
    }

    #[test]
    fn without_a_folder_there_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let refused = MasterKey::load_or_create(&folder.path().join("missing/tidegate.key")).unwrap_err();
        assert!(matches!(refused, KeyError::Unmade { .. }), "{refused}");
        assert!(matches!(
            MasterKey::load_or_create(folder.path()),
            Err(KeyError::Exposed { .. } | KeyError::Unread { .. })
        ));
    }
}
