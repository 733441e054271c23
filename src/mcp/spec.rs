//! What a server is configured to be: how it is reached, and what it may.
//!
//! The form is that of the `mcpServers` files which MCP clients share, with a few fields more. Nothing in it is a secret: those
//! are named (`envFrom`, `headersFrom`, `bearerFrom`) and come from this process' environment, where that is permitted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::permission::Permission;
use crate::model::FieldError;

/// The most arguments, variables and headers of a server.
const MOST_ENTRIES: usize = 100;
/// The longest text in a server's configuration, in bytes.
const LONGEST_TEXT: usize = 4_096;
/// The longest name, in characters.
const LONGEST_NAME: usize = 64;
/// Parts of the names of variables and headers whose values do not belong into a configuration.
const SECRET_WORDS: [&str; 8] = ["token", "secret", "password", "passwd", "apikey", "api_key", "api-key", "credential"];
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-auth"];
/// Headers that the transport sets itself.
const RESERVED_HEADERS: [&str; 16] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a server is configured to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerSpec {
    /// `stdio` or `http`, as other clients write it; what else is said decides.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The program of a server that we run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What it is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables of its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Variables of this process' environment that it is given as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<String>,
    /// The folder in which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Where a server is that runs elsewhere: its endpoint for streamable HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// Headers that it is sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Headers, each with the variable of this process' environment that has its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers_from: BTreeMap<String, String>,
    /// The variable of this process' environment that has the bearer token for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_from: Option<String>,
    /// Its sessions remember nothing of those who use them, so that several subjects may share one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateless: bool,
    /// Who may call which tools; see [`Permission`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// For how many seconds the results of tools are kept that say they only read, by the tool's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cache_seconds: BTreeMap<String, u32>,
    /// Whether kept results are for whoever got them alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cache_private: bool,
    /// Longest time that a call may take, in milliseconds, in place of `mcp.call_timeout_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_timeout_ms: Option<u64>,
    /// Calls at the same time, in place of `mcp.max_concurrent_calls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_calls: Option<usize>,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// A process that we run, spoken to through its standard input and output.
    Child,
    /// Streamable HTTP.
    Http,
}

impl ServerSpec {
    /// Reads a configuration, or everything that is wrong with it. `path` leads to it in the caller's input.
    pub fn read(value: &Value, path: &[&str]) -> Result<Self, Vec<FieldError>> {
        let spec = Self::deserialize(value).map_err(|error| vec![FieldError::new(path, error.to_string())])?;
        let problems = spec.problems(path);
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }

    /// How it is reached.
    #[must_use]
    pub fn transport(&self) -> TransportKind {
        if self.url.is_some() { TransportKind::Http } else { TransportKind::Child }
    }

    fn problems(&self, path: &[&str]) -> Vec<FieldError> {
        let mut found = self.transport_problems();
        found.extend(
            self.env
                .keys()
                .filter(|name| is_secret(name))
                .map(|name| ("env", format!("{name} looks like a secret, which is not kept here: name it in envFrom"))),
        );
        if self.env.keys().any(|name| name.is_empty() || name.contains('=')) {
            found.push(("env", "names must not be empty, and have no =".to_owned()));
        }
        found.extend(self.header_problems());
        for (field, value, range) in [
            ("callTimeoutMs", self.call_timeout_ms, 10..=3_600_000_u64),
            ("maxConcurrentCalls", self.max_concurrent_calls.map(|most| most as u64), 1..=10_000),
        ] {
            if value.is_some_and(|value| !range.contains(&value)) {
                found.push((field, format!("must be {} to {}", range.start(), range.end())));
            }
        }
        found.extend(self.permissions.iter().filter_map(Permission::problem).map(|message| ("permissions", message)));
        let texts = self.args.iter().chain(self.env.values()).chain(self.env.keys()).chain(self.headers.values());
        let texts: Vec<&String> = texts.chain(&self.command).chain(&self.cwd).collect();
        if texts.len() > 2 * MOST_ENTRIES || texts.iter().any(|text| text.len() > LONGEST_TEXT || text.contains('\0')) {
            found.push((
                "args",
                format!("at most {MOST_ENTRIES} of each, of at most {LONGEST_TEXT} bytes, without NUL"),
            ));
        }
        let at = |field| path.iter().copied().chain([field]).collect::<Vec<_>>();
        found.into_iter().map(|(field, message)| FieldError::new(&at(field), message)).collect()
    }

    /// What is wrong with the way to it.
    fn transport_problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        match (&self.command, &self.url) {
            (None, None) => found.push(("command", "either command or url must be given".to_owned())),
            (Some(_), Some(_)) => found.push(("url", "command and url exclude each other".to_owned())),
            (Some(command), None) if command.trim().is_empty() => {
                found.push(("command", "must not be empty".to_owned()));
            }
            (None, Some(url)) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                found.push(("url", "must be an http or https URL".to_owned()));
            }
            (None, Some(url)) if !url.username().is_empty() || url.password().is_some() => {
                found.push(("url", "must hold no user and no password; use bearerFrom or headersFrom".to_owned()));
            }
            (None, Some(url)) if url.query_pairs().any(|(name, _)| is_secret(&name)) => {
                found.push((
                    "url",
                    "holds what looks like a secret, which is not kept here; use headersFrom".to_owned(),
                ));
            }
            _ => {}
        }
        let has_headers = !(self.headers.is_empty() && self.headers_from.is_empty() && self.bearer_from.is_none());
        if self.command.is_some() && has_headers {
            found.push(("headers", "are for servers with a url".to_owned()));
        }
        if self.url.is_some() && !(self.args.is_empty() && self.env.is_empty() && self.env_from.is_empty()) {
            found.push(("args", "args and env are for servers with a command".to_owned()));
        }
        found
    }

    fn header_problems(&self) -> impl Iterator<Item = (&'static str, String)> {
        let secret =
            self.headers.keys().filter(|name| is_secret(name) || is_secret_header(name)).map(|name| {
                format!("{name} looks like a secret, which is not kept here: use headersFrom or bearerFrom")
            });
        let bad = self.headers.keys().chain(self.headers_from.keys()).filter_map(|name| {
            if http::HeaderName::try_from(name.as_str()).is_err() {
                return Some(format!("{name:?} is no name of a header"));
            }
            let is_reserved = RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str());
            is_reserved.then(|| format!("{name} is set by the transport"))
        });
        let odd = self.headers.iter().filter(|(_, value)| http::HeaderValue::try_from(value.as_str()).is_err());
        let odd = odd.map(|(name, _)| format!("{name} cannot have such a value"));
        secret.chain(bad).chain(odd).map(|message| ("headers", message))
    }
}

/// Whether a variable or header of this name is likely to hold what must not be kept.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word)) || name.ends_with("_key")
}

fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_HEADERS.iter().any(|secret| name.starts_with(secret)) || name.ends_with("-key")
}

/// What is wrong with a name of a server, if anything is. It is the first part of the qualified names of its tools.
#[must_use]
pub fn name_problem(name: &str) -> Option<&'static str> {
    let is_good = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-');
    (!is_good).then_some("must have 1 to 64 lower-case letters, digits or hyphens, and not begin with a hyphen")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: &Value) -> Vec<String> {
        let problems = ServerSpec::read(value, &["input", "config"]).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.path.join(".")).collect()
    }

    #[test]
    fn the_form_that_clients_share_is_read() {
        let child = json!({"command": "npx", "args": ["-y", "server"], "env": {"DEBUG": "1"}, "type": "stdio"});
        let spec = ServerSpec::read(&child, &[]).unwrap();
        assert_eq!((spec.transport(), spec.command.as_deref()), (TransportKind::Child, Some("npx")));
        let http = json!({"url": "https://mcp.example/mcp", "headers": {"X-Team": "a"}, "bearerFrom": "MCP_BEARER"});
        let spec = ServerSpec::read(&http, &[]).unwrap();
        assert_eq!(spec.transport(), TransportKind::Http);
        assert_eq!(serde_json::to_value(&spec).unwrap(), http, "it is written as it was read");
    }

    #[test]
    fn what_makes_no_sense_or_is_a_secret_is_refused() {
        for (value, expected) in [
            (json!({}), vec!["input.config.command"]),
            (json!({"command": ""}), vec!["input.config.command"]),
            (json!({"command": "a", "url": "http://a"}), vec!["input.config.url"]),
            (json!({"url": "ftp://a"}), vec!["input.config.url"]),
            (json!({"url": "http://u:p@a"}), vec!["input.config.url"]),
            (json!({"url": "http://a/?api_key=x"}), vec!["input.config.url"]),
            (json!({"url": "http://a", "args": ["x"]}), vec!["input.config.args"]),
            (json!({"command": "a", "bearerFrom": "X"}), vec!["input.config.headers"]),
            (json!({"command": "a", "env": {"GITHUB_TOKEN": "x"}}), vec!["input.config.env"]),
            (json!({"command": "a", "env": {"OPENAI_API_KEY": "x"}}), vec!["input.config.env"]),
            (json!({"url": "http://a", "headers": {"Authorization": "x"}}), vec!["input.config.headers"]),
            (json!({"url": "http://a", "headers": {"X-Api-Key": "x"}}), vec!["input.config.headers"]),
            (json!({"url": "http://a", "headers": {"Mcp-Session-Id": "x"}}), vec!["input.config.headers"]),
            (json!({"url": "http://a", "headers": {"a b": "x"}}), vec!["input.config.headers"]),
            (json!({"url": "http://a", "headers": {"a": "x\n"}}), vec!["input.config.headers"]),
            (json!({"command": "a", "env": {"A=B": "x"}}), vec!["input.config.env"]),
            (json!({"command": "a", "callTimeoutMs": 1}), vec!["input.config.callTimeoutMs"]),
            (json!({"command": "a", "args": ["x".repeat(5_000)]}), vec!["input.config.args"]),
            (json!({"command": "a\0"}), vec!["input.config.args"]),
            (json!({"comand": "a"}), vec!["input.config"]),
            (json!([1]), vec!["input.config"]),
        ] {
            assert_eq!(problems(&value), expected, "{value}");
        }
    }

    #[test]
    fn names_can_be_parts_of_qualified_names() {
        for (name, good) in [("time", true), ("my-server-2", true), ("", false), ("-a", false), ("a_b", false)] {
            assert_eq!(name_problem(name).is_none(), good, "{name}");
        }
        assert!(name_problem(&"a".repeat(65)).is_some() && name_problem("Time").is_some());
    }
}
