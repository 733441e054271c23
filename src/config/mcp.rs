//! `[mcp]`: which MCP servers may be run and asked, and within which bounds.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use confique::Config;

use super::Problem;

/// Variables that every server that we run is given, where this process has them.
const ALWAYS_GIVEN: [&str; 8] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME"];

/// MCP servers: who may be run and asked, and within which bounds.
#[derive(Debug, Clone, Config)]
pub struct McpConfig {
    /// A JSON file with servers in the form that MCP clients share, `{"mcpServers": {"NAME": {"command": "…"}}}`; what each
    /// may say is in docs/mcp.md.
    #[config(env = "TIDEGATE_MCP_SERVERS_FILE")]
    pub servers_file: Option<PathBuf>,
    /// Programs that an ADMIN may have run as servers by `mcpServerRegister`; `*` for any. What is in the file runs in any case.
    #[config(env = "TIDEGATE_MCP_COMMANDS", default = [])]
    pub commands: Vec<String>,
    /// Variables of this process' environment that servers may be given where their `envFrom`, `headersFrom` or `bearerFrom` names them.
    #[config(env = "TIDEGATE_MCP_ENVIRONMENT", default = [])]
    pub environment: Vec<String>,
    /// Processes that run at the same time, of all servers (1 to 1000).
    #[config(env = "TIDEGATE_MCP_MAX_PROCESSES", default = 64)]
    pub max_processes: usize,
    /// Sessions with one server at the same time (1 to 1000).
    #[config(env = "TIDEGATE_MCP_MAX_SESSIONS", default = 16)]
    pub max_sessions: usize,
    /// A session that nobody uses for so long is ended, in seconds (1 to 86400).
    #[config(env = "TIDEGATE_MCP_IDLE_SECONDS", default = 600)]
    pub idle_seconds: u64,
    /// Longest time until a server has started and answered, in milliseconds (100 to 300000).
    #[config(env = "TIDEGATE_MCP_START_TIMEOUT_MS", default = 30_000)]
    pub start_timeout_ms: u64,
    /// Longest time that a call of a tool may take, in milliseconds (10 to 3600000); a server may have its own. It comes on top
    /// of `graphql.execution_timeout_ms`, while `http.request_timeout_ms` ends whatever has sent nothing until then.
    #[config(env = "TIDEGATE_MCP_CALL_TIMEOUT_MS", default = 25_000)]
    pub call_timeout_ms: u64,
    /// Calls that one server is given at the same time (1 to 10000); a server may have its own. More are refused.
    #[config(env = "TIDEGATE_MCP_MAX_CONCURRENT_CALLS", default = 64)]
    pub max_concurrent_calls: usize,
    /// How often each server is asked whether it is well, in seconds (1 to 3600).
    #[config(env = "TIDEGATE_MCP_HEALTH_SECONDS", default = 30)]
    pub health_seconds: u64,
    /// After so many checks in a row that failed, a server is down (1 to 100).
    #[config(env = "TIDEGATE_MCP_FAILURES_UNTIL_DOWN", default = 3)]
    pub failures_until_down: u32,
    /// After so many checks in a row that succeeded, a server that was down is up (1 to 100).
    #[config(env = "TIDEGATE_MCP_SUCCESSES_UNTIL_UP", default = 2)]
    pub successes_until_up: u32,
    /// Largest message that a server may send, in bytes (1024 to 268435456).
    #[config(env = "TIDEGATE_MCP_MAX_MESSAGE_BYTES", default = 8_388_608)]
    pub max_message_bytes: usize,
    /// Most memory that the process of a server may have for data, in megabytes; 0 for no limit (0 to 1000000). Linux only.
    #[config(env = "TIDEGATE_MCP_MAX_MEMORY_MB", default = 2_048)]
    pub max_memory_mb: u64,
    /// Days for which the record of a call is kept (1 to 3650). Its row of the audit log stays.
    #[config(env = "TIDEGATE_MCP_RUN_DAYS", default = 30)]
    pub run_days: u32,
}

impl McpConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The environment from which servers may be given variables: those that all get, and those that are set here and
    /// permitted.
    #[must_use]
    pub fn environment(&self) -> ServerEnvironment {
        let given = |names: &mut dyn Iterator<Item = &str>| -> BTreeMap<String, OsString> {
            names.filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?))).collect()
        };
        ServerEnvironment {
            always: given(&mut ALWAYS_GIVEN.into_iter()),
            by_name: given(&mut self.environment.iter().map(String::as_str)),
        }
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let within = |range: std::ops::RangeInclusive<u64>, key, value: u64, expected| {
            Problem::unless(range.contains(&value), key, &value, expected)
        };
        let own = self.environment.iter().find(|name| name.starts_with("TIDEGATE_") || name.is_empty());
        let own = own.map(|name| Problem {
            key: "mcp.environment",
            value: name.clone(),
            expected: "names of variables that are not Tidegate's own",
        });
        [
            own,
            within(1..=1_000, "mcp.max_processes", self.max_processes as u64, "1 to 1000"),
            within(1..=1_000, "mcp.max_sessions", self.max_sessions as u64, "1 to 1000"),
            within(1..=86_400, "mcp.idle_seconds", self.idle_seconds, "1 to 86400"),
            within(100..=300_000, "mcp.start_timeout_ms", self.start_timeout_ms, "100 to 300000"),
            within(10..=3_600_000, "mcp.call_timeout_ms", self.call_timeout_ms, "10 to 3600000"),
            within(1..=10_000, "mcp.max_concurrent_calls", self.max_concurrent_calls as u64, "1 to 10000"),
            within(1..=3_600, "mcp.health_seconds", self.health_seconds, "1 to 3600"),
            within(1..=100, "mcp.failures_until_down", self.failures_until_down.into(), "1 to 100"),
            within(1..=100, "mcp.successes_until_up", self.successes_until_up.into(), "1 to 100"),
            within(1_024..=268_435_456, "mcp.max_message_bytes", self.max_message_bytes as u64, "1024 to 268435456"),
            within(0..=1_000_000, "mcp.max_memory_mb", self.max_memory_mb, "0 to 1000000"),
            within(1..=3_650, "mcp.run_days", self.run_days.into(), "1 to 3650"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What servers may be given of this process' environment. It prints names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServerEnvironment {
    always: BTreeMap<String, OsString>,
    by_name: BTreeMap<String, OsString>,
}

impl ServerEnvironment {
    /// Variables that every server is given.
    pub fn always(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.always.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A variable that a server asks for by its name; none where it is not set, or not permitted.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&OsString> {
        self.by_name.get(name)
    }
}

impl std::fmt::Debug for ServerEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.always.keys()).entries(self.by_name.keys()).finish()
    }
}

impl FromIterator<(String, OsString)> for ServerEnvironment {
    /// An environment in which these can be asked for.
    fn from_iter<I: IntoIterator<Item = (String, OsString)>>(variables: I) -> Self {
        Self { always: BTreeMap::new(), by_name: variables.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_what_makes_no_sense_is_refused() {
        let mut config = McpConfig::defaults();
        assert_eq!(config.problems(), []);
        config.health_seconds = 0;
        config.environment = vec!["GITHUB_TOKEN".to_owned(), "TIDEGATE_DATABASE_MASTER_KEY".to_owned()];
        let keys: Vec<_> = config.problems().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["mcp.environment", "mcp.health_seconds"]);
    }

    #[test]
    fn only_what_is_permitted_is_given_and_nothing_is_printed() {
        let mut config = McpConfig::defaults();
        config.environment = vec!["CARGO_MANIFEST_DIR".to_owned(), "NOT_SET_ANYWHERE".to_owned()];
        let environment = config.environment();
        assert!(environment.always().any(|(name, _)| name == "PATH"));
        assert!(environment.named("CARGO_MANIFEST_DIR").is_some());
        assert_eq!((environment.named("PATH"), environment.named("NOT_SET_ANYWHERE")), (None, None));
        assert!(!format!("{environment:?}").contains(env!("CARGO_MANIFEST_DIR")));
    }
}
