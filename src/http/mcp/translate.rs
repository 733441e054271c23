//! From what GraphQL offers to what MCP sends.

use std::{borrow::Cow, sync::Arc};

use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock, Tool as McpTool, ToolAnnotations},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::graphql::{ErrorCode, Tool, ToolError, ToolOutcome};

pub(super) fn tool(tool: Tool) -> McpTool {
    let Tool { name, title, description, input_schema, output_schema, hints } = tool;
    let annotations =
        ToolAnnotations::from_raw(None, hints.read_only, hints.destructive, hints.idempotent, hints.open_world);
    let mut made = McpTool::new_with_raw(name, description.map(Cow::Owned), input_schema);
    made.title = title;
    made.output_schema = output_schema.map(Arc::new);
    made.annotations = (annotations != ToolAnnotations::default()).then_some(annotations);
    made
}

pub(super) fn outcome(outcome: ToolOutcome) -> CallToolResult {
    let content = outcome.content.iter().map(block).collect();
    let mut result = if outcome.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = outcome.structured;
    result
}

/// A block of a kind that the SDK does not know is passed on as text, rather than lost.
fn block(block: &Value) -> ContentBlock {
    ContentBlock::deserialize(block).unwrap_or_else(|_| ContentBlock::text(block.to_string()))
}

pub(super) fn error(error: ToolError) -> ErrorData {
    let message = error.to_string();
    match error {
        ToolError::Unknown(_) => ErrorData::invalid_params(message, None),
        ToolError::NoList { code, .. } | ToolError::Unheard { code, .. } => {
            ErrorData::internal_error(message, Some(json!({ "code": code })))
        }
    }
}

/// What ends a stream that outlives its token.
pub(super) fn expired() -> ErrorData {
    error(ToolError::Unheard {
        code: ErrorCode::Unauthenticated.as_str().to_owned(),
        message: "the token has expired".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::graphql::ToolHints;

    #[test]
    fn blocks_keep_what_they_say() {
        for (given, expected) in [
            (json!({ "type": "text", "text": "a" }), json!({ "type": "text", "text": "a" })),
            (
                json!({ "type": "image", "data": "AA==", "mimeType": "image/png" }),
                json!({ "type": "image", "data": "AA==", "mimeType": "image/png" }),
            ),
            (json!({ "type": "smell" }), json!({ "type": "text", "text": r#"{"type":"smell"}"# })),
            (json!(1), json!({ "type": "text", "text": "1" })),
        ] {
            assert_eq!(serde_json::to_value(block(&given)).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn a_tool_that_says_nothing_of_itself_has_nothing_said_for_it() {
        let silent = Tool {
            name: "files__read".into(),
            title: None,
            description: None,
            input_schema: Map::from_iter([("type".to_owned(), json!("object"))]),
            output_schema: None,
            hints: ToolHints::default(),
        };
        let written = serde_json::to_value(tool(silent)).unwrap();
        assert_eq!(written, json!({ "name": "files__read", "inputSchema": { "type": "object" } }));
    }

    #[test]
    fn errors_have_the_codes_of_json_rpc() {
        let no_list = ToolError::NoList { code: "TIMEOUT".into(), message: "too long".into() };
        for (failed, code, message) in [
            (ToolError::Unknown("a".into()), -32_602, "Unknown tool: a"),
            (no_list, -32_603, "the tools of MCP servers cannot be listed: too long"),
        ] {
            let made = error(failed);
            assert_eq!((made.code.0, &*made.message), (code, message));
        }
    }
}
