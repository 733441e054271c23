//! Who is asking, and what they may do.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Timestamp;

const LONGEST_SUBJECT_CHARS: usize = 256;

/// What a principal may do. Later roles include earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// A builder: queries, subscriptions and their own state.
    User,
    /// An operator: everything.
    Admin,
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown role, expected USER or ADMIN")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "USER" => Ok(Self::User),
            "ADMIN" => Ok(Self::Admin),
            _ => Err(UnknownRole),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "USER",
            Self::Admin => "ADMIN",
        })
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The stable name of the caller, from the token's `sub`.
    pub subject: Arc<str>,
    /// The highest role that the token grants.
    pub role: Role,
    /// When the token ends; its subscriptions end then too.
    pub expires_at: Option<Timestamp>,
}

/// Whether a text can name a caller. PostgreSQL keeps no text with a NUL in it.
#[must_use]
pub fn is_subject(text: &str) -> bool {
    (1..=LONGEST_SUBJECT_CHARS).contains(&text.chars().count()) && !text.contains('\0')
}
