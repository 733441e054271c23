//! The schema's types, put together once for everything that needs them.

use async_graphql::{MergedObject, MergedSubscription, SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

use super::{
    access::{AccessMutation, AccessQuery},
    agent::{AgentMutation, AgentQuery, AgentSubscription},
    audit::AuditQuery,
    caches::CachesMutation,
    chains::{ChainsMutation, ChainsQuery, ChainsSubscription},
    context::Services,
    market::{MarketQuery, MarketSubscription},
    mcp::{McpCallMutation, McpMutation, McpQuery, McpRunsQuery, McpSubscription},
    plan::{StopAfterValidation, Validator},
    swaps::SwapsQuery,
    upstreams::{UpstreamsMutation, UpstreamsQuery},
};

/// What can be asked for.
#[derive(MergedObject, Default)]
pub(crate) struct Query(
    AccessQuery,
    AgentQuery,
    AuditQuery,
    ChainsQuery,
    MarketQuery,
    McpQuery,
    McpRunsQuery,
    SwapsQuery,
    UpstreamsQuery,
);

/// What can be changed.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(
    AccessMutation,
    AgentMutation,
    CachesMutation,
    ChainsMutation,
    McpCallMutation,
    McpMutation,
    UpstreamsMutation,
);

/// What can be followed.
#[derive(MergedSubscription, Default)]
pub(crate) struct Subscription(AgentSubscription, ChainsSubscription, MarketSubscription, McpSubscription);

/// The schema that executes.
pub(crate) type Executable = Schema<Query, Mutation, Subscription>;

/// The contract as text, in a stable order: what `schema.graphql` holds.
#[must_use]
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .use_space_ident()
        .indent_width(2)
        .include_specified_by();
    let mut text = bare().finish().sdl_with_options(options);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The schema that executes. Documents come to it planned: validated and bounded.
pub(crate) fn executable(services: Services) -> Executable {
    bare()
        .data(services)
        .validation_mode(ValidationMode::Fast)
        // The plan has bounded the recursion; the library's own bound would be a second opinion.
        .limit_recursive_depth(usize::MAX)
        .finish()
}

/// What says whether documents fit the schema.
pub(crate) fn validator(suggestions: bool) -> Validator {
    let builder = bare().extension(StopAfterValidation).limit_recursive_depth(usize::MAX);
    Validator::new(if suggestions { builder } else { builder.disable_suggestions() }.finish())
}

fn bare() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription::default())
}
