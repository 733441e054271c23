//! `[graphql]`

use confique::Config;

/// The `[graphql]` section.
#[derive(Debug, Clone, Config)]
pub struct GraphqlConfig {}
