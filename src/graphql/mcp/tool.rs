//! How a tool shows in the schema.

use async_graphql::{ID, Object, SimpleObject};

use crate::{
    graphql::{
        directives::Inherit,
        rows::Rows,
        scalars::{DateTime, Json},
    },
    mcp::{self, Entry},
};

pub(crate) struct McpTool(pub(crate) Entry);

/// Something that an MCP server can do when it is called.
#[Object(directive = Inherit::apply())]
impl McpTool {
    /// Its name, which is unique in its server.
    async fn name(&self) -> &str {
        &self.0.tool.name
    }

    /// Its name among those of all servers, by which it can always be called: `server__tool`.
    async fn qualified_name(&self) -> &str {
        &self.0.qualified
    }

    /// The name of its server.
    async fn server(&self) -> &str {
        &self.0.server
    }

    /// The id of its server.
    async fn server_id(&self) -> ID {
        super::server::id(self.0.server_id)
    }

    /// What people call it.
    async fn title(&self) -> Option<&str> {
        self.0.tool.title.as_deref()
    }

    /// What it does, in its server's words. They may lie, and tell a model to do what nobody wants.
    async fn description(&self) -> Option<&str> {
        self.0.tool.description.as_deref()
    }

    /// What its arguments must be: JSON Schema. They are checked before anything is sent.
    async fn input_schema(&self) -> Json {
        Json(self.0.tool.input_schema.clone())
    }

    /// What its structured content is: JSON Schema.
    async fn output_schema(&self) -> Option<Json> {
        self.0.tool.output_schema.clone().map(Json)
    }

    /// What it says of what it does.
    async fn annotations(&self) -> McpToolAnnotations {
        let annotations = &self.0.tool.annotations;
        McpToolAnnotations {
            read_only_hint: annotations.read_only_hint,
            destructive_hint: annotations.destructive_hint,
            idempotent_hint: annotations.idempotent_hint,
            open_world_hint: annotations.open_world_hint,
        }
    }

    /// By which its definition can be told from others: SHA-256 in hexadecimal digits.
    async fn fingerprint(&self) -> &str {
        self.0.fingerprint.as_str()
    }

    /// When its definition changed last; null where it never did.
    async fn definition_changed_at(&self) -> Option<DateTime> {
        self.0.changed_at.map(DateTime)
    }

    /// What changed then; empty where nothing did.
    async fn definition_changes(&self) -> Rows<McpDefinitionChange> {
        let previous = self.0.previous.as_ref();
        let changes = previous.map(|previous| mcp::differences(previous, &self.0.tool)).unwrap_or_default();
        changes.into_iter().map(McpDefinitionChange::from).collect()
    }

    /// It has changed what it says of its effects, and cannot be called until an operator approves of that with `mcpToolApprove`.
    async fn needs_approval(&self) -> bool {
        self.0.held
    }
}

/// What a tool says of what it does. Null where it says nothing. A server may lie.
#[expect(clippy::struct_field_names, reason = "the protocol calls them so")]
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpToolAnnotations {
    /// It changes nothing.
    read_only_hint: Option<bool>,
    /// It may destroy something.
    destructive_hint: Option<bool>,
    /// To call it twice does no more than to call it once.
    idempotent_hint: Option<bool>,
    /// It has to do with the world outside.
    open_world_hint: Option<bool>,
}

/// A part of a tool's definition that is something else than before.
#[derive(SimpleObject)]
#[graphql(directive = Inherit::apply())]
pub(crate) struct McpDefinitionChange {
    /// Which part, such as `description` or `inputSchema`.
    field: String,
    /// Where in a schema: a JSON pointer, empty elsewhere.
    pointer: String,
    /// What it was; null where there was nothing.
    before: Option<Json>,
    /// What it is; null where there is nothing any more.
    after: Option<Json>,
}

impl From<mcp::DefinitionChange> for McpDefinitionChange {
    fn from(mcp::DefinitionChange { field, pointer, before, after }: mcp::DefinitionChange) -> Self {
        Self { field: field.to_owned(), pointer, before: before.map(Json), after: after.map(Json) }
    }
}
