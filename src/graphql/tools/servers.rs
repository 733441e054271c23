//! The tools of MCP servers, by their qualified names: asked for and called by two operations of the contract.

use std::{convert::Infallible, pin::pin};

use async_graphql::Name;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Tool, ToolError, ToolHints, ToolOutcome,
    contract::Contract,
    follow::{self, ToolProgress},
    outcome::Envelope,
};
use crate::graphql::{Caller, ErrorCode, Gateway, GraphqlRequest, Permit};

const LIST: &str = "query { mcp { tools { qualifiedName title description inputSchema outputSchema \
    annotations { readOnlyHint destructiveHint idempotentHint openWorldHint } } } }";

const CALL: &str = "mutation ($input: McpToolCallInput!) { mcpToolCall(input: $input) { \
    result { isError content structuredContent } userErrors { code field message } } }";

/// Between a server's name and its tool's.
const SEPARATOR: &str = "__";

/// Whether a schema knows of MCP servers.
pub(super) fn in_schema(sdl: &str) -> bool {
    Contract::read(sdl).has_field("Query", &Name::new("mcp"))
}

/// Whether a name can be that of a server's tool.
pub(super) fn may_name(name: &str) -> bool {
    name.contains(SEPARATOR)
}

/// The tools that `caller` may call. Whoever may not even ask has none.
pub(super) async fn list(gateway: &Gateway, caller: &Caller) -> Result<Vec<Tool>, ToolError> {
    let answer = gateway.perform(LIST, GraphqlRequest::default(), caller, Permit::Queries).await;
    let listed: Envelope<Listed> = read(&answer.body)?;
    if let Some(error) = listed.errors.into_iter().next() {
        let code = error.code();
        let excluded = [ErrorCode::Unauthenticated, ErrorCode::Forbidden].iter().any(|known| known.as_str() == code);
        let code = code.to_owned();
        return if excluded { Ok(Vec::new()) } else { Err(ToolError::NoList { code, message: error.message }) };
    }
    Ok(listed.data.into_iter().flat_map(|data| data.mcp.tools).map(Tool::from).collect())
}

/// Calls a tool by its qualified name, and tells how far that has come where somebody wants to know.
pub(super) async fn call(
    gateway: &Gateway,
    name: &str,
    request: GraphqlRequest,
    caller: &Caller,
    tell: Option<mpsc::Sender<ToolProgress>>,
) -> ToolOutcome {
    let run = tell.as_ref().map(|_| Uuid::now_v7());
    let input = json!({ "tool": name, "arguments": request.variables, "runId": run });
    let variables = Map::from_iter([("input".to_owned(), input)]);
    let request = GraphqlRequest { variables, ..request };
    let performing = Box::pin(gateway.perform(CALL, request, caller, Permit::QueriesAndMutations));
    let answer = match tell.zip(run) {
        Some((tell, run)) => {
            let told = follow::progress(gateway, caller, run).await;
            tokio::select! {
                biased;
                answer = performing => answer,
                never = pass_on(told, tell) => match never {},
            }
        }
        None => performing.await,
    };
    match read::<Called>(&answer.body) {
        Ok(Envelope { data: Some(made), errors }) if errors.is_empty() => made.payload.into(),
        _ => ToolOutcome::of_document(&answer),
    }
}

/// Passes on what is told, and never ends by itself.
async fn pass_on(told: Option<impl Stream<Item = ToolProgress>>, tell: mpsc::Sender<ToolProgress>) -> Infallible {
    if let Some(told) = told {
        let mut told = pin!(told);
        while let Some(progress) = told.next().await
            && tell.send(progress).await.is_ok()
        {}
    }
    std::future::pending().await
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Envelope<T>, ToolError> {
    serde_json::from_slice(body).map_err(|error| {
        // The two documents ask for what is read here; the schema must have changed under them.
        tracing::error!(%error, "an answer about MCP servers is not what was asked for");
        let code = ErrorCode::InternalServerError.as_str().to_owned();
        ToolError::NoList { code, message: "internal server error".to_owned() }
    })
}

#[derive(Deserialize)]
struct Listed {
    mcp: Offers,
}

#[derive(Deserialize)]
struct Offers {
    tools: Vec<Offered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    qualified_name: String,
    title: Option<String>,
    description: Option<String>,
    input_schema: Map<String, Value>,
    output_schema: Option<Map<String, Value>>,
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "readOnlyHint")]
    read_only: Option<bool>,
    #[serde(rename = "destructiveHint")]
    destructive: Option<bool>,
    #[serde(rename = "idempotentHint")]
    idempotent: Option<bool>,
    #[serde(rename = "openWorldHint")]
    open_world: Option<bool>,
}

impl From<Offered> for Tool {
    fn from(offered: Offered) -> Self {
        let annotations = offered.annotations.unwrap_or_default();
        Self {
            name: offered.qualified_name,
            title: offered.title,
            description: offered.description,
            input_schema: offered.input_schema,
            output_schema: offered.output_schema,
            hints: ToolHints {
                read_only: annotations.read_only,
                destructive: annotations.destructive,
                idempotent: annotations.idempotent,
                open_world: annotations.open_world,
            },
        }
    }
}

#[derive(Deserialize)]
struct Called {
    #[serde(rename = "mcpToolCall")]
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    result: Option<Answered>,
    user_errors: Vec<UserError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    is_error: bool,
    content: Vec<Value>,
    structured_content: Option<Value>,
}

#[derive(Deserialize)]
struct UserError {
    code: String,
    field: Vec<String>,
    message: String,
}

impl UserError {
    fn told(&self) -> String {
        // Of the input, a caller has written the arguments only.
        let argument = match self.field.as_slice() {
            [input, arguments, rest @ ..] if (input.as_str(), arguments.as_str()) == ("input", "arguments") => rest,
            _ => &[],
        };
        let place = if argument.is_empty() { String::new() } else { format!("{}: ", argument.join(".")) };
        format!("{}: {place}{}", self.code, self.message)
    }
}

impl From<Payload> for ToolOutcome {
    fn from(payload: Payload) -> Self {
        if let Some(Answered { is_error, content, structured_content }) = payload.result {
            return Self { is_error, content, structured: structured_content };
        }
        if payload.user_errors.is_empty() {
            // The call is on record, and its result is not.
            return Self::text("the tool was called before under this idempotency key");
        }
        let told: Vec<String> = payload.user_errors.iter().map(UserError::told).collect();
        Self { is_error: true, ..Self::text(&told.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::GraphqlConfig, graphql::FrontHalf};

    #[tokio::test]
    async fn the_documents_fit_the_schema() {
        assert!(in_schema(&crate::graphql::sdl()) && !in_schema("type Query { a: Int }"));
        let front = FrontHalf::new(&GraphqlConfig::defaults());
        let input = json!({ "input": { "tool": "files__read", "arguments": { "path": "a" } } });
        for (document, variables) in [(LIST, json!({})), (CALL, input)] {
            let variables = variables.as_object().unwrap().clone();
            assert_eq!(front.run(document, variables).await, Ok(()), "{document}");
        }
    }

    #[test]
    fn what_a_server_offers_becomes_a_tool() {
        let body = json!({ "data": { "mcp": { "tools": [
            { "qualifiedName": "files__read", "title": null, "description": "Reads.", "inputSchema": { "type": "object" },
              "outputSchema": null, "annotations": { "readOnlyHint": true, "destructiveHint": null,
              "idempotentHint": null, "openWorldHint": false } },
        ] } } });
        let body = body.to_string();
        let read: Envelope<Listed> = read(body.as_bytes()).unwrap();
        let tool = Tool::from(read.data.unwrap().mcp.tools.pop().unwrap());
        assert_eq!((tool.name.as_str(), tool.description.as_deref()), ("files__read", Some("Reads.")));
        assert_eq!(Value::from(tool.input_schema), json!({ "type": "object" }));
        let hints = ToolHints { read_only: Some(true), open_world: Some(false), ..ToolHints::default() };
        assert_eq!((tool.hints, tool.output_schema), (hints, None));
    }

    #[test]
    fn what_a_server_answers_is_passed_on() {
        let image = json!({ "type": "image", "data": "AA==", "mimeType": "image/png" });
        for (payload, is_error, content, structured) in [
            (
                json!({ "result": { "isError": false, "content": [image], "structuredContent": [1] }, "userErrors": [] }),
                false,
                json!([image]),
                Some(json!([1])),
            ),
            (
                json!({ "result": { "isError": true, "content": [], "structuredContent": null }, "userErrors": [] }),
                true,
                json!([]),
                None,
            ),
            (
                json!({ "result": null, "userErrors": [
                    { "code": "NOT_FOUND", "field": ["input", "tool"], "message": "no tool" },
                    { "code": "BAD_USER_INPUT", "field": ["input", "arguments", "a", "b"], "message": "no text" },
                ] }),
                true,
                json!([{ "type": "text", "text": "NOT_FOUND: no tool\nBAD_USER_INPUT: a.b: no text" }]),
                None,
            ),
            (
                json!({ "result": null, "userErrors": [] }),
                false,
                json!([{ "type": "text", "text": "the tool was called before under this idempotency key" }]),
                None,
            ),
        ] {
            let read: Payload = serde_json::from_value(payload.clone()).unwrap();
            let outcome = ToolOutcome::from(read);
            let content: Vec<Value> = serde_json::from_value(content).unwrap();
            assert_eq!(outcome, ToolOutcome { is_error, content, structured }, "{payload}");
        }
    }
}
