//! How big an operation may be.

use crate::config::GraphqlConfig;

/// The bounds that an operation is planned within.
#[derive(Debug, Clone)]
pub(crate) struct PlanLimits {
    pub(crate) max_bytes: usize,
    pub(crate) max_tokens: usize,
    /// Levels of brackets in the text.
    pub(crate) max_nesting: usize,
    /// Fields after spreading fragments out, over all operations of the document.
    pub(crate) max_fields: u64,
    pub(crate) max_aliases: u64,
    pub(crate) max_directives: u64,
    pub(crate) max_root_fields: u64,
    /// Selection sets within each other after spreading fragments out; bounds the recursion of every walker.
    pub(crate) max_levels: u64,
    /// Levels of fields in the chosen operation; introspection is not counted.
    pub(crate) max_depth: u32,
    pub(crate) max_cost: u64,
    /// Introspection has a bound of its own, so that tools work where queries are kept small.
    pub(crate) max_introspection_cost: u64,
    pub(crate) introspection: bool,
}

/// Deeper than the introspection query of any tool, far from the end of any thread's stack.
const MAX_LEVELS: u64 = 64;

impl From<&GraphqlConfig> for PlanLimits {
    fn from(config: &GraphqlConfig) -> Self {
        Self {
            max_bytes: config.max_document_bytes,
            max_tokens: config.max_tokens,
            max_nesting: config.max_nesting,
            max_fields: config.max_fields,
            max_aliases: config.max_aliases,
            max_directives: config.max_directives,
            max_root_fields: config.max_root_fields,
            max_levels: MAX_LEVELS,
            max_depth: config.max_depth,
            max_cost: config.max_cost,
            max_introspection_cost: config.max_introspection_cost,
            introspection: config.introspection,
        }
    }
}

#[cfg(test)]
impl Default for PlanLimits {
    fn default() -> Self {
        Self::from(&GraphqlConfig::defaults())
    }
}
