//! `[graphql]`: the front door's limits and modes.

use std::path::PathBuf;

use confique::Config;

use super::Problem;

/// The front door's limits and modes.
#[derive(Debug, Clone, Config)]
pub struct GraphqlConfig {
    /// Longest document, in bytes. Larger ones are refused before parsing.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_DOCUMENT_BYTES", default = 65_536)]
    pub max_document_bytes: usize,
    /// Most tokens in a document. Counted before parsing.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_TOKENS", default = 10_000)]
    pub max_tokens: usize,
    /// Most levels of brackets in a document. Counted before parsing.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_NESTING", default = 48)]
    pub max_nesting: usize,
    /// Most fields after fragments are spread out.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_FIELDS", default = 2000)]
    pub max_fields: u64,
    /// Most aliases after fragments are spread out.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_ALIASES", default = 100)]
    pub max_aliases: u64,
    /// Most directives after fragments are spread out.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_DIRECTIVES", default = 200)]
    pub max_directives: u64,
    /// Most root fields in an operation.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_ROOT_FIELDS", default = 100)]
    pub max_root_fields: u64,
    /// Most levels of fields in an operation, introspection aside.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_DEPTH", default = 12)]
    pub max_depth: u32,
    /// Highest cost of an operation: one per field, times ten below a list.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_COST", default = 20_000)]
    pub max_cost: u64,
    /// Highest cost of an operation's introspection part.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_INTROSPECTION_COST", default = 100_000)]
    pub max_introspection_cost: u64,
    /// Most coins that one operation may name.
    #[config(env = "TIDEGATE_GRAPHQL_MAX_COINS", default = 100)]
    pub max_coins: usize,
    /// How long an operation may run before it ends with TIMEOUT, in milliseconds.
    #[config(env = "TIDEGATE_GRAPHQL_EXECUTION_TIMEOUT_MS", default = 10_000)]
    pub execution_timeout_ms: u64,
    /// Whether the schema can be asked for, and whether errors suggest names. The sandbox turns it on.
    #[config(env = "TIDEGATE_GRAPHQL_INTROSPECTION", default = false)]
    pub introspection: bool,
    /// Memory for plans of known operations, in bytes.
    #[config(env = "TIDEGATE_GRAPHQL_PLAN_CACHE_BYTES", default = 33_554_432)]
    pub plan_cache_bytes: u64,
    /// Memory for finished answers, in bytes; 0 turns the response cache off.
    #[config(env = "TIDEGATE_GRAPHQL_RESPONSE_CACHE_BYTES", default = 67_108_864)]
    pub response_cache_bytes: u64,
    /// Whether clients may register documents by their hash (automatic persisted queries).
    #[config(env = "TIDEGATE_GRAPHQL_PERSISTED_QUERIES", default = true)]
    pub persisted_queries: bool,
    /// Memory for automatic persisted queries, in bytes.
    #[config(env = "TIDEGATE_GRAPHQL_PERSISTED_QUERY_BYTES", default = 16_777_216)]
    pub persisted_query_bytes: u64,
    /// A JSON file of trusted documents: `{"<sha-256>": "<document>"}`.
    #[config(env = "TIDEGATE_GRAPHQL_TRUSTED_DOCUMENTS")]
    pub trusted_documents: Option<PathBuf>,
    /// Whether documents that are not trusted are refused.
    #[config(env = "TIDEGATE_GRAPHQL_TRUSTED_ONLY", default = false)]
    pub trusted_only: bool,
    /// Most live groups (distinct running subscriptions).
    #[config(env = "TIDEGATE_GRAPHQL_MAX_LIVE_GROUPS", default = 10_000)]
    pub max_live_groups: usize,
}

impl GraphqlConfig {
    /// The declared defaults.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// What the start must refuse.
    #[must_use]
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in [
            ("graphql.max_document_bytes", self.max_document_bytes as u64),
            ("graphql.max_tokens", self.max_tokens as u64),
            ("graphql.max_fields", self.max_fields),
            ("graphql.max_root_fields", self.max_root_fields),
            ("graphql.max_cost", self.max_cost),
            ("graphql.max_depth", self.max_depth.into()),
            ("graphql.max_coins", self.max_coins as u64),
            ("graphql.execution_timeout_ms", self.execution_timeout_ms),
            ("graphql.max_live_groups", self.max_live_groups as u64),
        ] {
            problems.extend(Problem::unless(value > 0, key, &value, "at least 1"));
        }
        // Deeper text would be refused by the parser with a less clear message.
        let nests = (1..=60).contains(&self.max_nesting);
        problems.extend(Problem::unless(nests, "graphql.max_nesting", &self.max_nesting, "1 to 60"));
        let servable = !self.trusted_only || self.trusted_documents.is_some();
        let expected = "false, or graphql.trusted_documents to be set";
        problems.extend(Problem::unless(servable, "graphql.trusted_only", &self.trusted_only, expected));
        problems
    }
}
