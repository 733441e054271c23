//! What goes wrong with keys and sealed data. No message holds any part of either.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Sealed data that cannot be opened: another key sealed it, it was sealed for another place, or it was changed. Which
/// of these, nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sealed data cannot be opened with this key at this place")]
pub struct Unreadable;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The text or the bytes given are not a key.
    #[error("a key has 32 bytes, in base64 where it is text")]
    NotAKey,
    /// There is no key file, and none may be made.
    #[error("there is no key file {}", path.display())]
    Missing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// Others than the owner may read or change the key file.
    #[error("the key file {} is open to others; its mode must be 0600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The key file does not hold a key.
    #[error("the key file {} must hold 32 bytes in base64", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
    },
    /// The key file cannot be read.
    #[error("the key file {} cannot be read: {fault}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
    /// The key file cannot be made.
    #[error("the key file {} cannot be made: {fault}", path.display())]
    Unmade {
        /// The file.
        path: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
}
