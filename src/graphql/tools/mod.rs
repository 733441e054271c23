//! What GraphQL offers as tools: trusted documents, and the tools of MCP servers.
//!
//! Owns which tools there are, what they say of themselves, and how a call becomes an operation. Every list of servers'
//! tools and every call is an operation that goes through the [`Gateway`], so that roles, limits, costs, records and
//! caches are those of GraphQL without being written again. It knows nothing of MCP's messages: `http/mcp/` does.
//! A tool's arguments are derived in `arguments.rs`; what tools of servers are asked with stands in `servers.rs`.

mod arguments;
mod contract;
mod follow;
mod outcome;
mod servers;
mod trusted;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde_json::{Map, Value};
use tokio::sync::{OnceCell, mpsc};

use self::trusted::TrustedTool;
pub use self::{follow::ToolProgress, outcome::ToolOutcome};
use super::{Caller, ErrorCode, Gateway, GraphqlRequest, Permit};

/// The tools; clones share everything.
#[derive(Clone)]
pub struct Tools(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    /// By name. Made when first asked for, and then for good: neither the documents nor the schema change.
    trusted: OnceCell<BTreeMap<String, TrustedTool>>,
    /// Whether the schema knows of MCP servers.
    has_servers: bool,
}

/// Something that can be called by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// By which it is called.
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// What its arguments must be: JSON Schema of an object.
    pub input_schema: Map<String, Value>,
    /// What its structured content is, where that is promised.
    pub output_schema: Option<Map<String, Value>>,
    /// What it says of its effects.
    pub hints: ToolHints,
}

/// What a tool says of its effects; `None` where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolHints {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy something.
    pub destructive: Option<bool>,
    /// To call it twice does no more than to call it once.
    pub idempotent: Option<bool>,
    /// It has to do with the world outside.
    pub open_world: Option<bool>,
}

/// Of which tools a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolScope {
    /// Trusted documents, and the tools of MCP servers.
    All,
    /// Trusted documents only: for a Tidegate that asks as the client of another one, or of itself.
    Documents,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// Nothing has that name.
    #[error("Unknown tool: {0}")]
    Unknown(String),
    /// The list cannot be made. A part of it would be taken for all.
    #[error("the tools of MCP servers cannot be listed: {message}")]
    NoList {
        /// Why, as a code.
        code: String,
        /// Why, in words.
        message: String,
    },
    /// Nobody can tell when the list changes.
    #[error("changes of the list of tools cannot be told: {message}")]
    Unheard {
        /// Why, as a code.
        code: String,
        /// Why, in words.
        message: String,
    },
}

impl Tools {
    /// What `gateway` offers.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        let has_servers = servers::in_schema(&super::sdl());
        Self(Arc::new(Inner { gateway, trusted: OnceCell::new(), has_servers }))
    }

    /// The tools of which `caller` is told, by name.
    ///
    /// # Errors
    /// [`ToolError::NoList`].
    pub async fn list(&self, caller: &Caller, scope: ToolScope) -> Result<Vec<Tool>, ToolError> {
        let trusted = self.trusted().await;
        let mut tools: BTreeMap<String, Tool> = BTreeMap::new();
        if self.reaches_servers(scope) {
            let offered = servers::list(&self.0.gateway, caller).await?;
            tools.extend(offered.into_iter().map(|tool| (tool.name.clone(), tool)));
        }
        // A document of the operator's wins over a server that has chosen the same name.
        tools.extend(trusted.iter().map(|(name, trusted)| (name.clone(), trusted.tool.clone())));
        Ok(tools.into_values().collect())
    }

    /// Something for each time that the list of `caller` may have changed. Its end is no last word: who wants to know more
    /// follows anew.
    ///
    /// # Errors
    /// [`ToolError::Unheard`].
    pub async fn changes(&self, caller: &Caller, scope: ToolScope) -> Result<BoxStream<'static, ()>, ToolError> {
        if self.reaches_servers(scope) {
            return Ok(follow::changes(&self.0.gateway, caller).await?.boxed());
        }
        // Trusted documents are what they are.
        Ok(stream::pending().boxed())
    }

    /// Calls a tool with the variables of `request` as arguments. What fails in the tool is told in the outcome; how far it has
    /// come is told meanwhile, if anybody wants to know.
    ///
    /// # Errors
    /// [`ToolError::Unknown`].
    pub async fn call(
        &self,
        name: &str,
        request: GraphqlRequest,
        caller: &Caller,
        scope: ToolScope,
        tell: Option<mpsc::Sender<ToolProgress>>,
    ) -> Result<ToolOutcome, ToolError> {
        if let Some(trusted) = self.trusted().await.get(name) {
            if let Some(unknown) = trusted.unknown(&request.variables) {
                return Ok(ToolOutcome::failed(ErrorCode::BadUserInput.as_str(), &unknown));
            }
            let permit = Permit::QueriesAndMutations;
            let answer = self.0.gateway.perform(&trusted.document, request, caller, permit).await;
            return Ok(ToolOutcome::of_document(&answer));
        }
        if self.reaches_servers(scope) && servers::may_name(name) {
            return Ok(servers::call(&self.0.gateway, name, request, caller, tell).await);
        }
        Err(ToolError::Unknown(name.to_owned()))
    }

    fn reaches_servers(&self, scope: ToolScope) -> bool {
        self.0.has_servers && scope == ToolScope::All
    }

    async fn trusted(&self) -> &BTreeMap<String, TrustedTool> {
        self.0.trusted.get_or_init(|| trusted::read(&self.0.gateway)).await
    }
}
