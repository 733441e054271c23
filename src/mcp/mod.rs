//! MCP servers: which there are, what they offer, whether they are well, and calls of their tools.
//!
//! Owns the registry, the sessions with their processes, the catalogue and the record of calls. Only `sdk/` knows the MCP SDK.
//! It must never hand a caller's token to a server, never call a tool a second time that may have done something, and never
//! keep a secret in an event. `tests/it/mcp_*.rs` ask real servers, and some that misbehave.

mod error;
mod permission;
mod process;
mod sdk;
mod session;
mod spec;
mod tool;

pub use error::McpError;
pub use permission::{Permission, may_call};
pub use sdk::{Era, ToolResult};
pub use spec::{ServerSpec, TransportKind, name_problem};
pub use tool::{Fingerprint, Offer, Prompt, Resource, Tool, ToolAnnotations};
