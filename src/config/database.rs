//! `[database]`: where state is kept that must not be lost. Unset, in files of a folder.

use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_STANDARD};
use confique::Config;
use url::Url;

use super::{Problem, Secret};

/// How many bytes a master key has.
const MASTER_KEY_BYTES: usize = 32;

/// The database: files of a folder (SQLite), or PostgreSQL 15 or newer.
#[derive(Debug, Clone, Config)]
pub struct DatabaseConfig {
    /// Where PostgreSQL is, as `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with `?sslmode=verify-full` and
    /// `&sslrootcert=FILE` for TLS. Unset: SQLite files in `folder`.
    #[config(env = "TIDEGATE_DATABASE_URL")]
    pub url: Option<Secret>,

    /// The folder of the SQLite files and of the master key, made at the first start. `sandbox` uses a scratch folder
    /// unless `--data` names one.
    #[config(env = "TIDEGATE_DATABASE_FOLDER", default = "tidegate-data")]
    pub folder: PathBuf,

    /// Where the keys are kept that make forgotten memories unreadable, in the form of `url`. Unset: beside the rest.
    /// Whoever keeps backups of `url` needs another database here, whose backups do not outlive what is to be forgotten.
    #[config(env = "TIDEGATE_DATABASE_VAULT_URL")]
    pub vault_url: Option<Secret>,

    /// The secret from which every key is derived that protects stored data: 32 random bytes in base64, as
    /// `head -c 32 /dev/urandom | base64` makes them. Needed with `url`, and the same on all nodes. Without `url` it is a file in `folder`, made at the first start. Losing it loses the memories.
    #[config(env = "TIDEGATE_DATABASE_MASTER_KEY")]
    pub master_key: Option<Secret>,

    /// Most connections to PostgreSQL at once, or readers of the files, 4 to 1000.
    #[config(env = "TIDEGATE_DATABASE_MAX_CONNECTIONS", default = 16)]
    pub max_connections: u32,

    /// How long a transaction, a statement, or the wait for a connection or lock may take, from 100 ms to one minute.
    #[config(env = "TIDEGATE_DATABASE_DEADLINE_MS", default = 5_000)]
    pub deadline_ms: u64,

    /// Time between two looks at whether the database works, from 100 ms to one minute.
    #[config(env = "TIDEGATE_DATABASE_HEARTBEAT_MS", default = 1_000)]
    pub heartbeat_ms: u64,

    /// Hours for which an idempotency key is remembered, 1 to 8760.
    #[config(env = "TIDEGATE_DATABASE_IDEMPOTENCY_HOURS", default = 168)]
    pub idempotency_hours: u32,

    /// Whether the start brings the tables up to date. If not, it refuses older ones until `tidegate migrate` has run.
    #[config(env = "TIDEGATE_DATABASE_MIGRATE_AT_START", default = true)]
    pub migrate_at_start: bool,
}

impl DatabaseConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, value: &dyn ToString, expected| {
            problems.extend(Problem::unless(ok, key, value, expected));
        };
        for (key, url) in [("database.url", &self.url), ("database.vault_url", &self.vault_url)] {
            if let Some(url) = url {
                check(is_address(url.expose()), key, url, "postgres:// with a host and a database");
            }
        }
        if let Some(key) = &self.master_key {
            let bytes = BASE64_STANDARD.decode(key.expose()).map_or(0, |bytes| bytes.len());
            check(bytes == MASTER_KEY_BYTES, "database.master_key", key, "32 bytes in base64");
        }
        // One that is made at the start would be another one at the next, or on the next node.
        let named = self.url.is_none() || self.master_key.is_some();
        check(named, "database.master_key", &"", "32 bytes in base64 where database.url is set");
        let alone = self.vault_url.is_none() || self.url.is_some();
        check(alone, "database.vault_url", &"[redacted]", "database.url beside it");
        check(!self.folder.as_os_str().is_empty(), "database.folder", &"", "the path of a folder");
        let connections = (4..=1_000).contains(&self.max_connections);
        check(connections, "database.max_connections", &self.max_connections, "4 to 1000");
        let deadline = (100..=60_000).contains(&self.deadline_ms);
        check(deadline, "database.deadline_ms", &self.deadline_ms, "100 to 60000");
        let heartbeat = (100..=60_000).contains(&self.heartbeat_ms);
        check(heartbeat, "database.heartbeat_ms", &self.heartbeat_ms, "100 to 60000");
        let hours = (1..=8_760).contains(&self.idempotency_hours);
        check(hours, "database.idempotency_hours", &self.idempotency_hours, "1 to 8760");
        problems
    }
}

fn is_address(text: &str) -> bool {
    let names_database = |url: &Url| url.path().len() > 1;
    Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql") && url.has_host() && names_database(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_files_and_need_nothing() {
        let config = DatabaseConfig::defaults();
        assert_eq!(config.problems(), []);
    }

    #[test]
    fn addresses_are_checked_and_never_shown() {
        for (url, refused) in [
            ("postgres://alice:hunter2@db.example:5432/tidegate?sslmode=verify-full", false),
            ("postgresql://db.example/tidegate", false),
            ("postgres://alice:hunter2@db.example", true),
            ("mysql://alice:hunter2@db.example/tidegate", true),
            ("hunter2", true),
        ] {
            let mut config = DatabaseConfig::defaults();
            config.url = Some(url.into());
            config.master_key = Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into());
            let shown: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
            let expected = "database.url = [redacted]: expected postgres:// with a host and a database";
            assert_eq!(shown, if refused { vec![expected] } else { vec![] }, "{url}");
        }
    }

    #[test]
    fn a_server_needs_a_master_key() {
        let mut config = DatabaseConfig::defaults();
        config.url = Some("postgres://db.example/tidegate".into());
        let shown = |config: &DatabaseConfig| config.problems().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&config), ["database.master_key = : expected 32 bytes in base64 where database.url is set"]);
        config.master_key = Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into());
        assert_eq!(shown(&config), [""; 0]);
        config.master_key = Some("short".into());
        assert_eq!(shown(&config), ["database.master_key = [redacted]: expected 32 bytes in base64"]);
    }
}
