//! Servers from a file, in the form that MCP clients share: `{"mcpServers": {"NAME": {"command": "…"}}}`.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{ServerSpec, name_problem};

/// Why the servers of a file cannot be had.
#[derive(Debug, Error)]
pub enum ServersFileError {
    /// There is no such file, or it cannot be read.
    #[error("the MCP servers of {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It is none of servers.
    #[error("{path} is no file of MCP servers: {problem}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    mcp_servers: BTreeMap<String, Value>,
}

/// Reads a file.
pub fn read_file(path: &Path) -> Result<Vec<(String, ServerSpec)>, ServersFileError> {
    let shown = || path.display().to_string();
    let text = std::fs::read(path).map_err(|source| ServersFileError::Unreadable { path: shown(), source })?;
    read(&text).map_err(|problem| ServersFileError::Malformed { path: shown(), problem })
}

fn read(text: &[u8]) -> Result<Vec<(String, ServerSpec)>, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let (mut servers, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in document.mcp_servers {
        if let Some(problem) = name_problem(&name) {
            problems.push(format!("the name {name:?} {problem}"));
        }
        match ServerSpec::read(&value, &["mcpServers", &name]) {
            Ok(spec) => servers.push((name, spec)),
            Err(found) => problems.extend(found.iter().map(ToString::to_string)),
        }
    }
    if problems.is_empty() { Ok(servers) } else { Err(problems.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_other_clients_is_read_and_everything_wrong_is_told_at_once() {
        let good = br#"{"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}, "far": {"url": "https://a/mcp"}}}"#;
        let names: Vec<String> = read(good).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["far", "time"]);
        let bad = br#"{"mcpServers": {"Time": {"command": "a"}, "far": {"url": "ftp://a"}, "odd": {"comand": "a"}}}"#;
        let problems = read(bad).unwrap_err();
        for part in ["\"Time\"", "mcpServers.far.url", "mcpServers.odd"] {
            assert!(problems.contains(part), "{part} in {problems}");
        }
        for text in ["", "[]", "{}", r#"{"mcpServers": []}"#] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(read_file(Path::new("/no/such/file")), Err(ServersFileError::Unreadable { .. })));
    }
}
