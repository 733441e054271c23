//! Tidegate's own tools, so that there is an MCP server where nothing else is: trusted documents, and the sandbox's `/mcp`
//! in its own registry.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Documents that the sandbox trusts where none are set.
const DOCUMENTS: [&str; 4] = [
    include_str!("documents/crypto_prices.graphql"),
    include_str!("documents/chain_balance.graphql"),
    include_str!("documents/swap_quotes.graphql"),
    include_str!("documents/add_memory.graphql"),
];

/// Writes the documents as `graphql.trusted_documents` takes them.
pub fn write_documents(folder: &Path) -> io::Result<PathBuf> {
    let entry = |text: &&str| (data_encoding::HEXLOWER.encode(&Sha256::digest(text)), Value::from(*text));
    let manifest: Map<String, Value> = DOCUMENTS.iter().map(entry).collect();
    write(folder.join("documents.json"), &Value::Object(manifest))
}

/// Writes a file of servers, as `mcp.servers_file` takes it, with the sandbox itself as the only one.
pub fn write_servers(folder: &Path, own: SocketAddr) -> io::Result<PathBuf> {
    let tidegate = json!({ "url": format!("http://{own}/mcp"), "stateless": true });
    write(folder.join("mcp.json"), &json!({ "mcpServers": { "tidegate": tidegate } }))
}

fn write(path: PathBuf, content: &Value) -> io::Result<PathBuf> {
    fs::write(&path, content.to_string())?;
    Ok(path)
}
