//! Definitions of tools as they can be kept, and within which bounds: servers say whatever they like.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::{
    mcp::{Fingerprint, McpError, Tool},
    model::{FieldError, without_nul},
};

/// The most tools of a server.
pub(super) const MOST_TOOLS: usize = 1_000;
/// The largest definition, in bytes of JSON.
const LARGEST: usize = 256 * 1_024;
/// All definitions of a server, in bytes of JSON.
pub(super) const MOST_BYTES: usize = 4 * 1_024 * 1_024;
/// The longest name of a tool, in bytes.
const LONGEST_NAME: usize = 256;
/// How deep a schema may be. What is kept is read with less depth to spare than what came.
const DEEPEST: usize = 100;
/// As many problems are named.
const MOST_PROBLEMS: usize = 10;

/// A tool with the fingerprint of what the server said. Databases spell some numbers and letters otherwise, so that it cannot
/// be found again from what they give back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) fingerprint: Fingerprint,
    pub(super) tool: Arc<Tool>,
}

/// The tools that a server offers, as they can be kept.
///
/// # Errors
/// More or larger ones than may be, or ones that cannot be told apart.
pub(super) fn definitions(tools: &[Tool]) -> Result<Vec<Definition>, McpError> {
    if tools.len() > MOST_TOOLS {
        return Err(invalid(&["tools"], format!("more than {MOST_TOOLS}")));
    }
    let (mut problems, mut definitions, mut names, mut bytes) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
    for (at, tool) in tools.iter().enumerate() {
        if let Some(problem) = problem(tool, !names.insert(&tool.name)) {
            problems.push(FieldError::new(&["tools", &at.to_string()], problem));
            if problems.len() == MOST_PROBLEMS {
                break;
            }
        } else {
            bytes += size(tool);
            definitions.push(Definition { fingerprint: Fingerprint::of(tool), tool: Arc::new(storable(tool)) });
        }
    }
    if !problems.is_empty() {
        return Err(McpError::Invalid(problems));
    }
    if bytes > MOST_BYTES {
        return Err(invalid(&["tools"], format!("all definitions have more than {MOST_BYTES} bytes")));
    }
    Ok(definitions)
}

/// What a definition takes, in bytes of JSON.
pub(super) fn size(tool: &Tool) -> usize {
    serde_json::to_string(tool).map_or(usize::MAX, |text| text.len())
}

/// Whether a NUL character is in it, which PostgreSQL does not keep.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn invalid(path: &[&str], message: String) -> McpError {
    McpError::Invalid(vec![FieldError::new(path, message)])
}

fn problem(tool: &Tool, is_there: bool) -> Option<String> {
    let schemas = [Some(&tool.input_schema), tool.output_schema.as_ref()];
    if is_there {
        Some("another tool has this name".to_owned())
    } else if !(1..=LONGEST_NAME).contains(&tool.name.len()) || tool.name.chars().any(char::is_control) {
        Some(format!("its name must have 1 to {LONGEST_NAME} bytes, and no control characters"))
    } else if schemas.into_iter().flatten().any(|schema| is_deeper(schema, DEEPEST)) {
        // First, as whatever looks at the rest goes down into it.
        Some(format!("its schema is deeper than {DEEPEST} levels"))
    } else if size(tool) > LARGEST {
        Some(format!("its definition has more than {LARGEST} bytes"))
    } else {
        None
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let below = |value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(below),
        Value::Object(fields) => fields.values().any(below),
        _ => false,
    }
}

fn storable(tool: &Tool) -> Tool {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(|text| without_nul(text).into());
    Tool {
        name: Arc::clone(&tool.name),
        title: text(&tool.title),
        description: text(&tool.description),
        input_schema: plain(&tool.input_schema),
        output_schema: tool.output_schema.as_ref().map(plain),
        annotations: tool.annotations.clone(),
    }
}

/// Without NUL characters, and with numbers as they come back: states are hashed.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(one_spelling(number)),
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (without_nul(name), plain(value))).collect(),
        other => other.clone(),
    }
}

/// PostgreSQL writes large numbers out, so that they come back as integers, and knows no negative zero.
fn one_spelling(number: &Number) -> Number {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(0.0) => 0.into(),
        Some(float) if float.abs() >= 1e15 => float.to_string().parse().unwrap_or_else(|_| number.clone()),
        _ => number.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(name: &str, schema: Value) -> Tool {
        let mut tool: Tool = serde_json::from_value(json!({"name": name, "inputSchema": {}})).unwrap();
        tool.input_schema = schema;
        tool
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn what_cannot_be_kept_or_told_apart_is_refused() {
        let many = |count: usize, bytes: usize| -> Vec<Tool> {
            (0..count).map(|number| tool(&number.to_string(), json!({"x": "y".repeat(bytes)}))).collect()
        };
        for (what, tools, good) in [
            ("none", vec![], true),
            ("as many as may be", many(1_000, 10), true),
            ("too many", many(1_001, 10), false),
            ("a large one", many(1, 256 * 1_024 - 100), true),
            ("one that is too large", many(1, 256 * 1_024), false),
            ("too large together", many(17, 250 * 1_024), false),
            ("no name", vec![tool("", json!({}))], false),
            ("a long name", vec![tool(&"n".repeat(257), json!({}))], false),
            ("a NUL in a name", vec![tool("a\0", json!({}))], false),
            ("a line end in a name", vec![tool("a\nb", json!({}))], false),
            ("letters of any language", vec![tool("straße", json!({}))], true),
            ("twice the same name", vec![tool("a", json!({})), tool("a", json!({"b": 1}))], false),
            ("a deep one", vec![tool("a", nested(100))], true),
            ("one that is too deep", vec![tool("a", nested(102))], false),
        ] {
            assert_eq!(definitions(&tools).is_ok(), good, "{what}");
        }
        let McpError::Invalid(problems) = definitions(&vec![tool("", json!({})); 50]).unwrap_err() else {
            panic!("the input is what is wrong")
        };
        assert_eq!((problems.len(), problems[3].path.join(".").as_str()), (MOST_PROBLEMS, "tools.3"));
    }

    #[test]
    fn numbers_are_spelled_as_they_come_back() {
        for (said, kept) in [
            ("1", "1"),
            ("1.0", "1.0"),
            ("-0.0", "0"),
            ("0.25", "0.25"),
            ("1e-7", "1e-7"),
            ("1e16", "10000000000000000"),
            ("-1e16", "-10000000000000000"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e100", "1e+100"),
        ] {
            let number = plain(&serde_json::from_str(said).unwrap());
            assert_eq!(number.to_string(), kept, "{said}");
            assert_eq!(plain(&number), number, "{said}");
        }
    }

    #[test]
    fn what_is_kept_has_no_nul_and_the_fingerprint_of_what_was_said() {
        let mut said = tool("a", json!({"b\0": ["c\0", 1.0]}));
        said.description = Some("d\0".into());
        let kept = definitions(&[said.clone()]).unwrap().remove(0);
        assert_eq!(kept.fingerprint, Fingerprint::of(&said));
        let value = serde_json::to_value(&*kept.tool).unwrap();
        assert!(has_nul(&serde_json::to_value(&said).unwrap()) && !has_nul(&value));
        assert_eq!(value["inputSchema"], json!({"b\u{fffd}": ["c\u{fffd}", 1.0]}));
    }
}
