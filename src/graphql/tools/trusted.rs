//! Trusted documents as tools: each with one named query or mutation is one.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use async_graphql::parser::types::{OperationDefinition, OperationType};
use serde_json::{Map, Value};

use super::{Tool, ToolHints, arguments, contract::Contract};
use crate::graphql::{Gateway, sdl};

const LONGEST_NAME: usize = 64;

/// A tool that runs a trusted document.
pub(super) struct TrustedTool {
    pub(super) tool: Tool,
    pub(super) document: Arc<str>,
}

impl TrustedTool {
    /// What is wrong with arguments that the tool does not have. GraphQL would pass over them, and over a caller's slip.
    pub(super) fn unknown(&self, given: &Map<String, Value>) -> Option<String> {
        let known = self.tool.input_schema.get("properties").and_then(Value::as_object)?;
        let unknown = given.keys().find(|name| !known.contains_key(name.as_str()))?;
        let known = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "it takes none".to_owned() } else { format!("it takes {known}") };
        Some(format!("the tool has no argument {unknown:?}; {known}"))
    }
}

/// The tools of all trusted documents. What cannot be one is left out, and logged.
pub(super) async fn read(gateway: &Gateway) -> BTreeMap<String, TrustedTool> {
    let contract = Contract::read(&sdl());
    let mut tools = BTreeMap::new();
    let mut ambiguous = Vec::new();
    for document in gateway.trusted() {
        match read_one(gateway, &contract, document).await {
            Ok(tool) => match tools.entry(tool.tool.name.clone()) {
                Entry::Vacant(place) => drop(place.insert(tool)),
                Entry::Occupied(_) => ambiguous.push(tool.tool.name),
            },
            Err(reason) => tracing::info!(reason, "a trusted document is no tool"),
        }
    }
    for name in ambiguous {
        // Nobody could say which of them a caller means.
        if tools.remove(&name).is_some() {
            tracing::warn!(name, "several trusted documents have an operation of this name: none of them is a tool");
        }
    }
    tools
}

async fn read_one(gateway: &Gateway, contract: &Contract, document: &Arc<str>) -> Result<TrustedTool, String> {
    let plan = gateway.plan(document).await.map_err(|refusal| refusal.message().to_owned())?;
    let Some(name) = &plan.operation_name else { return Err("its operation has no name".to_owned()) };
    if plan.kind == OperationType::Subscription {
        return Err(format!("{name} is a subscription"));
    }
    if !is_name(name) {
        return Err(format!("{name} is longer than the name of a tool can be"));
    }
    if let Some(excess) = &plan.excess {
        return Err(format!("{name}: {}", excess.message()));
    }
    let definition = plan.definition();
    let (operation, line) = (&definition.node, definition.pos.line);
    let description = words_above(document, line).unwrap_or_else(|| told_by_fields(contract, name, operation));
    let reads = plan.kind == OperationType::Query;
    let tool = Tool {
        name: name.to_string(),
        title: None,
        description: Some(description),
        input_schema: arguments::schema(contract, operation),
        output_schema: None,
        hints: ToolHints {
            read_only: Some(reads),
            destructive: Some(!reads),
            idempotent: reads.then_some(true),
            open_world: Some(true),
        },
    };
    Ok(TrustedTool { tool, document: Arc::clone(document) })
}

/// Names that every client of MCP takes.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// The lines of comment directly above a line, counted from one.
fn words_above(document: &str, line: usize) -> Option<String> {
    let above: Vec<&str> = document.lines().take(line.saturating_sub(1)).collect();
    let comments = above.iter().rev().map_while(|line| line.trim().strip_prefix('#')).map(str::trim);
    let mut words: Vec<&str> = comments.collect();
    words.reverse();
    let words = words.join("\n").trim().to_owned();
    (!words.is_empty()).then_some(words)
}

fn told_by_fields(contract: &Contract, name: &str, operation: &OperationDefinition) -> String {
    let fields = contract.root_fields(operation).filter_map(|(_, field)| {
        let description = &field.description.as_ref()?.node;
        Some(format!("\n\n{}: {description}", field.name.node))
    });
    format!("Runs the trusted document {name}.{}", fields.collect::<String>())
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_that_every_client_takes() {
        for (name, fits) in [
            ("crypto_prices", true),
            ("CryptoPrices2", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            ("two words", false),
            ("straße", false),
        ] {
            assert_eq!(is_name(name), fits, "{name:?}");
        }
    }

    #[test]
    fn comments_directly_above_describe() {
        for (document, expected) in [
            ("# One.\nquery A { a }", Some("One.")),
            ("# One,\n#  two.\nquery A { a }", Some("One,\ntwo.")),
            ("# A licence.\n\n# One.\nquery A { a }", Some("One.")),
            ("fragment F on Q { a }\n  # One.\n  query A { ...F }", Some("One.")),
            ("# One.\n\nquery A { a }", None),
            ("query A {\n # One.\n a }", None),
            ("#\nquery A { a }", None),
            ("query A { a }", None),
        ] {
            let parsed = parse_query(document).unwrap();
            let (_, operation) = parsed.operations.iter().next().unwrap();
            assert_eq!(words_above(document, operation.pos.line).as_deref(), expected, "{document:?}");
        }
    }

    #[test]
    fn fields_describe_what_has_no_comment() {
        let sdl = "type Query { \"Says hello.\" hello: String other: Int } type Mutation { hello: Int }";
        for (document, expected) in [
            ("query greet { hello }", "Runs the trusted document greet.\n\nhello: Says hello."),
            ("query greet { other h: hello }", "Runs the trusted document greet.\n\nhello: Says hello."),
            ("mutation greet { hello }", "Runs the trusted document greet."),
        ] {
            let parsed = parse_query(document).unwrap();
            let (_, operation) = parsed.operations.iter().next().unwrap();
            assert_eq!(told_by_fields(&Contract::read(sdl), "greet", &operation.node), expected, "{document}");
        }
    }

    #[test]
    fn arguments_that_a_tool_does_not_have_are_named() {
        let schema = |properties| Map::from_iter([("properties".to_owned(), properties)]);
        let tool = |properties| TrustedTool {
            tool: Tool {
                name: "t".into(),
                title: None,
                description: None,
                input_schema: schema(properties),
                output_schema: None,
                hints: ToolHints::default(),
            },
            document: "".into(),
        };
        for (properties, given, expected) in [
            (json!({"a": {}, "b": {}}), json!({"a": 1}), None),
            (json!({"a": {}, "b": {}}), json!({"c": 1}), Some("the tool has no argument \"c\"; it takes a, b")),
            (json!({}), json!({"c": 1}), Some("the tool has no argument \"c\"; it takes none")),
        ] {
            let found = tool(properties).unknown(given.as_object().unwrap());
            assert_eq!(found.as_deref(), expected, "{given}");
        }
    }
}
