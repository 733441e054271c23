//! The way from text to an operation that may execute, on its own: what a request costs before anybody's data.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    ErrorCode,
    plan::{PlanLimits, Plans, SchemaIndex},
    schema,
};
use crate::config::GraphqlConfig;

/// Plans requests and checks their variables, and goes no further.
pub struct FrontHalf(Plans);

impl FrontHalf {
    /// The front half as the configuration bounds it.
    ///
    /// # Panics
    /// If the schema contradicts itself, which a test of the schema would have found.
    #[must_use]
    pub fn new(config: &GraphqlConfig) -> Self {
        let index = Arc::new(SchemaIndex::read(&schema::sdl()).expect("the schema agrees with itself"));
        let validator = schema::validator(config.introspection);
        Self(Plans::new(index, validator, PlanLimits::from(config), config.plan_cache_bytes))
    }

    /// Takes one request as far as admission.
    ///
    /// # Errors
    /// The code with which the request would be refused.
    pub async fn run(&self, document: &str, variables: Map<String, Value>) -> Result<(), ErrorCode> {
        let plan = self.0.plan(document, None).await.map_err(|refusal| refusal.code)?;
        plan.variables(variables).map(drop).map_err(|refusal| refusal.code)
    }
}
