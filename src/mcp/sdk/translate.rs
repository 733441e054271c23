//! From the SDK's words to the room's.

use std::{error::Error, sync::Arc};

use rmcp::{
    ServiceError,
    model::{self, CancelledNotificationParam, ProtocolVersion, RequestId, ServerPeerInfo, ServerResult},
    service::ClientInitializeError,
    transport::streamable_http_client::HttpStatusError,
};
use serde_json::Value;

use super::{Era, LinkError, Offers, PeerFacts, ToolResult};
use crate::mcp::{Prompt, Resource, Tool, ToolAnnotations};

/// The longest text of an error that is kept, in characters.
const LONGEST: usize = 300;

pub(super) fn facts(info: &ServerPeerInfo) -> PeerFacts {
    let (protocol, capabilities) = (&info.protocol_version, &info.capabilities);
    let era = if *protocol >= ProtocolVersion::V_2026_07_28 { Era::Modern } else { Era::Legacy };
    let version = info.server_info.as_ref().map(|server| shown(&server.version));
    PeerFacts {
        protocol: shown(protocol.as_str()),
        era,
        version: version.filter(|version| !version.is_empty()),
        offers: Offers {
            tools: capabilities.tools.is_some(),
            prompts: capabilities.prompts.is_some(),
            resources: capabilities.resources.is_some(),
        },
    }
}

pub(super) fn tool(tool: model::Tool) -> Tool {
    let annotations = tool.annotations.unwrap_or_default();
    Tool {
        name: tool.name.into(),
        title: tool.title.or(annotations.title).map(Into::into),
        description: tool.description.map(Into::into),
        input_schema: Value::Object(Arc::unwrap_or_clone(tool.input_schema)),
        output_schema: tool.output_schema.map(|schema| Value::Object(Arc::unwrap_or_clone(schema))),
        annotations: ToolAnnotations {
            read_only_hint: annotations.read_only_hint,
            destructive_hint: annotations.destructive_hint,
            idempotent_hint: annotations.idempotent_hint,
            open_world_hint: annotations.open_world_hint,
        },
    }
}

pub(super) fn prompt(prompt: model::Prompt) -> Prompt {
    Prompt {
        name: prompt.name.into(),
        title: prompt.title.map(Into::into),
        description: prompt.description.map(Into::into),
    }
}

pub(super) fn resource(resource: model::Resource) -> Resource {
    Resource {
        uri: resource.uri.into(),
        name: resource.name.into(),
        description: resource.description.map(Into::into),
        mime_type: resource.mime_type.map(Into::into),
    }
}

pub(super) fn result(answer: ServerResult) -> Result<ToolResult, LinkError> {
    match answer {
        ServerResult::CallToolResult(result) => Ok(ToolResult {
            is_error: result.is_error == Some(true),
            content: result.content.iter().map(|block| serde_json::to_value(block).unwrap_or_default()).collect(),
            structured: result.structured_content,
        }),
        // Nobody is there who could give it.
        ServerResult::InputRequiredResult(_) => Err(LinkError::Broken("the tool asks for input".into())),
        ServerResult::CreateTaskResult(_) => Err(LinkError::Broken("the tool works on without an answer".into())),
        _ => Err(LinkError::Broken("the answer is none of a tool".into())),
    }
}

pub(super) fn cancelled(id: RequestId) -> CancelledNotificationParam {
    CancelledNotificationParam::new(Some(id), Some("the caller does not wait any longer".to_owned()))
}

pub(super) fn error(error: &ServiceError) -> LinkError {
    match error {
        ServiceError::McpError(error) => refused(error),
        ServiceError::TransportClosed | ServiceError::Cancelled { .. } => LinkError::Closed,
        ServiceError::Timeout { timeout } => LinkError::TimedOut(*timeout),
        other => transport(other),
    }
}

pub(super) fn start_error(error: &ClientInitializeError) -> LinkError {
    match error {
        ClientInitializeError::JsonRpcError(error) => refused(error),
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::Cancelled => LinkError::Closed,
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => start_error(fallback),
        other => transport(other),
    }
}

fn refused(error: &model::ErrorData) -> LinkError {
    LinkError::Refused { code: error.code.0, message: shown(&error.message) }
}

/// The innermost cause says most. What HTTP answers as a status is one, wherever it stands.
fn transport(error: &(dyn Error + 'static)) -> LinkError {
    let (mut cause, mut next) = (error, Some(error));
    while let Some(current) = next {
        if let Some(status) = current.downcast_ref::<HttpStatusError>() {
            return LinkError::Status(status.status);
        }
        cause = current;
        next = current.source();
    }
    LinkError::Broken(shown(&cause.to_string()))
}

/// Without URLs, in which there may be secrets, without what would spoil a line, and not too much.
fn shown(text: &str) -> Arc<str> {
    let word = |word: &str| if word.contains("://") { "[url]".to_owned() } else { word.to_owned() };
    let text = text.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.chars().filter(|character| !character.is_control()).take(LONGEST).collect::<String>().into()
}
