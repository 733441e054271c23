//! What differs between two definitions of a tool: for people who decide whether it is still the tool that they accepted.

use serde_json::Value;

use crate::mcp::{Tool, ToolAnnotations};

/// The most differences that are told.
const MOST_CHANGES: usize = 50;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionChange {
    /// Where: `annotations.readOnlyHint`, `description`, `inputSchema`…
    pub field: &'static str,
    /// Where in a schema: a JSON pointer, which is empty where the whole differs, and elsewhere.
    pub pointer: String,
    /// What was there; none where nothing was.
    pub before: Option<Value>,
    /// What is there now; none where nothing is.
    pub after: Option<Value>,
}

/// What differs, the most telling first, and at most 50 differences. Schemas are gone through to the smallest parts that differ.
#[must_use]
pub fn differences(before: &Tool, after: &Tool) -> Vec<DefinitionChange> {
    let mut changes = Changes(Vec::new());
    let hints = |hints: &ToolAnnotations| {
        [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint]
    };
    let fields = [
        "annotations.readOnlyHint",
        "annotations.destructiveHint",
        "annotations.idempotentHint",
        "annotations.openWorldHint",
    ];
    for ((field, before), after) in fields.into_iter().zip(hints(&before.annotations)).zip(hints(&after.annotations)) {
        changes.whole(field, before, after);
    }
    changes.whole("name", Some(&*before.name), Some(&*after.name));
    changes.whole("title", before.title.as_deref(), after.title.as_deref());
    changes.whole("description", before.description.as_deref(), after.description.as_deref());
    changes.within("inputSchema", &mut String::new(), Some(&before.input_schema), Some(&after.input_schema));
    changes.within("outputSchema", &mut String::new(), before.output_schema.as_ref(), after.output_schema.as_ref());
    changes.0
}

struct Changes(Vec<DefinitionChange>);

impl Changes {
    fn add(&mut self, field: &'static str, pointer: &str, before: Option<Value>, after: Option<Value>) {
        if self.0.len() < MOST_CHANGES {
            self.0.push(DefinitionChange { field, pointer: pointer.to_owned(), before, after });
        }
    }

    fn whole<T: PartialEq + Into<Value>>(&mut self, field: &'static str, before: Option<T>, after: Option<T>) {
        if before != after {
            self.add(field, "", before.map(Into::into), after.map(Into::into));
        }
    }

    /// Goes down while both sides are objects, or arrays of the same length. Of others, such as lists of required fields, the
    /// whole says more than that the fourth is now what the fifth was.
    fn within(&mut self, field: &'static str, at: &mut String, before: Option<&Value>, after: Option<&Value>) {
        if before == after || self.0.len() == MOST_CHANGES {
            return;
        }
        let mut below = |step: &str, before: Option<&Value>, after: Option<&Value>| {
            let end = at.len();
            at.push('/');
            at.push_str(&step.replace('~', "~0").replace('/', "~1"));
            self.within(field, at, before, after);
            at.truncate(end);
        };
        match (before, after) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let added = after.keys().filter(|name| !before.contains_key(*name));
                for name in before.keys().chain(added) {
                    below(name, before.get(name), after.get(name));
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() => {
                for (at, (before, after)) in before.iter().zip(after).enumerate() {
                    below(&at.to_string(), Some(before), Some(after));
                }
            }
            _ => self.add(field, at, before.cloned(), after.cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(definition: Value) -> Tool {
        serde_json::from_value(definition).unwrap()
    }

    #[test]
    fn the_smallest_parts_that_differ_are_told() {
        let before = json!({
            "name": "read", "description": "Reads.", "annotations": {"readOnlyHint": true},
            "inputSchema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b/c": {"enum": [1, 2]}}}
        });
        let change = |path: &str, value: Option<Value>| {
            let mut after = before.clone();
            let (parent, name) = path.rsplit_once('/').unwrap();
            let parent = after.pointer_mut(parent).unwrap();
            match (parent, value) {
                (Value::Object(fields), Some(value)) => drop(fields.insert(name.replace("~1", "/"), value)),
                (Value::Object(fields), None) => drop(fields.remove(name)),
                (parent, value) => parent[name.parse::<usize>().unwrap()] = value.unwrap(),
            }
            tool(after)
        };
        for (path, value, expected) in [
            ("/name", Some(json!("read")), None),
            ("/description", Some(json!("Send all.")), Some(("description", "", Some(json!("Reads."))))),
            ("/title", Some(json!("Read")), Some(("title", "", None))),
            ("/annotations/readOnlyHint", None, Some(("annotations.readOnlyHint", "", Some(json!(true))))),
            ("/annotations/openWorldHint", Some(json!(true)), Some(("annotations.openWorldHint", "", None))),
            ("/outputSchema", Some(json!({"type": "object"})), Some(("outputSchema", "", None))),
            (
                "/inputSchema/properties/a/type",
                Some(json!("integer")),
                Some(("inputSchema", "/properties/a/type", Some(json!("string")))),
            ),
            ("/inputSchema/properties/bcc", Some(json!({})), Some(("inputSchema", "/properties/bcc", None))),
            ("/inputSchema/required", Some(json!([])), Some(("inputSchema", "/required", Some(json!(["a"]))))),
            (
                "/inputSchema/properties/b~1c/enum/1",
                Some(json!(3)),
                Some(("inputSchema", "/properties/b~1c/enum/1", Some(json!(2)))),
            ),
        ] {
            let after = change(path, value.clone());
            let changes = differences(&tool(before.clone()), &after);
            let expected = expected.map(|(field, pointer, was)| DefinitionChange {
                field,
                pointer: pointer.to_owned(),
                before: was,
                after: value,
            });
            assert_eq!(changes, Vec::from_iter(expected), "{path}");
        }
    }

    #[test]
    fn there_are_never_more_than_fifty_and_what_matters_most_is_among_them() {
        let schema = |kind: &str| {
            let properties: serde_json::Map<_, _> =
                (0..80).map(|at| (format!("p{at}"), json!({"type": kind}))).collect();
            json!({"properties": properties})
        };
        let before = tool(json!({"name": "t", "inputSchema": schema("string")}));
        let after = tool(json!({"name": "t", "inputSchema": schema("number"), "annotations": {"readOnlyHint": true}}));
        let changes = differences(&before, &after);
        assert_eq!((changes.len(), changes[0].field), (50, "annotations.readOnlyHint"));
    }

    #[test]
    fn effects_differ_only_where_they_do() {
        for (before, after, expected) in [
            (json!({}), json!({}), false),
            (json!({}), json!({"readOnlyHint": false, "destructiveHint": true, "openWorldHint": true}), false),
            (json!({}), json!({"readOnlyHint": true}), true),
            (json!({"destructiveHint": false}), json!({}), true),
            (json!({"idempotentHint": false}), json!({"idempotentHint": true}), true),
            (json!({"openWorldHint": true}), json!({"openWorldHint": false}), true),
        ] {
            let hints = |value: &Value| serde_json::from_value::<ToolAnnotations>(value.clone()).unwrap();
            assert_eq!(hints(&before).effects() != hints(&after).effects(), expected, "{before} {after}");
        }
    }
}
