//! Schemas that have been compiled, kept so that a call does not do it.

use std::sync::Arc;

use moka::sync::Cache;

use super::{arguments::CompiledSchema, problem::SchemaProblem};
use crate::mcp::{Fingerprint, Tool};

/// About as many bytes are kept.
const MOST_BYTES: u64 = 64 * 1_024 * 1_024;
/// What is kept of a schema besides its parts.
const LEAST_BYTES: u32 = 4_096;

/// Which schema of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    Input,
    Output,
}

type Compiled = Result<Arc<CompiledSchema>, SchemaProblem>;

/// Compiled schemas of tools, by the fingerprints of their definitions. What cannot be compiled is remembered, too.
#[derive(Debug, Clone)]
pub(crate) struct CompiledSchemas(Cache<(Fingerprint, Which), Compiled>);

impl Default for CompiledSchemas {
    fn default() -> Self {
        let bytes = |_: &(Fingerprint, Which), compiled: &Compiled| {
            LEAST_BYTES.saturating_add(compiled.as_ref().map_or(0, |schema| schema.cost()))
        };
        Self(Cache::builder().max_capacity(MOST_BYTES).weigher(bytes).build())
    }
}

impl CompiledSchemas {
    /// The schema of a tool's arguments. The fingerprint is that of the tool.
    pub(crate) fn input(&self, fingerprint: &Fingerprint, tool: &Tool) -> Result<Arc<CompiledSchema>, SchemaProblem> {
        self.0
            .get_with((fingerprint.clone(), Which::Input), || CompiledSchema::compile(&tool.input_schema).map(Arc::new))
    }

    /// The schema of a tool's structured content, if it has one.
    pub(crate) fn output(
        &self,
        fingerprint: &Fingerprint,
        tool: &Tool,
    ) -> Result<Option<Arc<CompiledSchema>>, SchemaProblem> {
        let Some(schema) = &tool.output_schema else { return Ok(None) };
        let compile = || CompiledSchema::compile(schema).map(Arc::new);
        self.0.get_with((fingerprint.clone(), Which::Output), compile).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_compiled_once_also_where_it_cannot_be() {
        let schemas = CompiledSchemas::default();
        let tool = |input, output| Tool {
            output_schema: Some(output),
            ..serde_json::from_value(json!({"name": "t", "inputSchema": input})).unwrap()
        };
        let (good, bad) = (json!({"type": "object"}), json!({"type": "no such type"}));
        let first = tool(good.clone(), bad.clone());
        let fingerprint = Fingerprint::of(&first);
        let compiled = schemas.input(&fingerprint, &first).unwrap();
        assert!(schemas.output(&fingerprint, &first).is_err(), "the one is not the other");
        let other = tool(bad, good);
        assert!(Arc::ptr_eq(&compiled, &schemas.input(&fingerprint, &other).unwrap()), "the fingerprint decides");
        assert!(schemas.output(&fingerprint, &other).is_err(), "what cannot be is remembered");
        assert!(schemas.input(&Fingerprint::of(&other), &other).is_err());
        let without = Tool { output_schema: None, ..first };
        assert!(schemas.output(&Fingerprint::of(&without), &without).is_ok_and(|schema| schema.is_none()));
    }
}
