//! Variables, checked and coerced against their definitions on every request.
//!
//! A cached plan must be indistinguishable from a fresh one, and variables are the one part of validation that
//! differs from request to request. The rules and the wording of the errors are graphql-js's.

use std::fmt::Write as _;

use async_graphql::{
    Name, Pos, Positioned, Value, Variables,
    indexmap::IndexMap,
    parser::types::{BaseType, Type, VariableDefinition},
};
use serde_json::{Map, Value as Json};

use super::index::{SchemaIndex, TypeEntry};

/// A variable that does not fit its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableError {
    pub(crate) message: String,
    pub(crate) at: Pos,
}

/// Most faults that are told of one variable; the rest say nothing new.
const MOST_FAULTS: usize = 20;

/// Coerces what was sent to what the operation defines. Variables it does not define are dropped. On an error everything
/// that is wrong is told.
pub(crate) fn coerce(
    index: &SchemaIndex,
    definitions: &[Positioned<VariableDefinition>],
    mut given: Map<String, Json>,
) -> Result<Variables, Vec<VariableError>> {
    let mut variables = Variables::default();
    let mut errors = Vec::new();
    for definition in definitions {
        let name = &definition.node.name.node;
        let ty = &definition.node.var_type.node;
        let default = definition.node.default_value.as_ref();
        let mut wrong = |message| errors.push(VariableError { message, at: definition.pos });
        let value = match (given.remove(name.as_str()), default) {
            (Some(json), _) => {
                let mut coercion = Coercion { index, path: name.to_string(), faults: Vec::new() };
                let value = coercion.value(ty, json);
                for fault in coercion.faults {
                    wrong(format!("Variable \"${name}\" got invalid value {fault}"));
                }
                value
            }
            (None, Some(default)) => Some(default.node.clone()),
            (None, None) if ty.nullable => None,
            (None, None) => {
                wrong(format!("Variable \"${name}\" of required type \"{ty}\" was not provided."));
                None
            }
        };
        if let Some(value) = value {
            variables.insert(name.clone(), value);
        }
    }
    if errors.is_empty() { Ok(variables) } else { Err(errors) }
}

/// Writes coerced variables in one spelling: definition order outside, key order inside objects.
pub(crate) fn canonical(definitions: &[Positioned<VariableDefinition>], variables: &Variables) -> String {
    let mut text = String::new();
    for definition in definitions {
        if let Some(value) = variables.get(&definition.node.name.node) {
            text.push_str(&definition.node.name.node);
            text.push(':');
            write_canonical(value, &mut text);
            text.push(';');
        }
    }
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::List(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (name, value) in sorted {
                // Quoted: a key that a scalar takes can hold anything.
                write!(text, "{:?}:", name.as_str()).expect("writing to a string cannot fail");
                write_canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        leaf => write!(text, "{leaf}").expect("writing to a string cannot fail"),
    }
}

/// At most some hundred characters of a value: an error must not be as large as its cause.
fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// One variable on its way from JSON to what the operation takes. Whatever gives no value leaves a fault.
struct Coercion<'a> {
    index: &'a SchemaIndex,
    /// Where it is, as in `input.keys[2].name`.
    path: String,
    faults: Vec<String>,
}

impl Coercion<'_> {
    fn fault<T>(&mut self, value: &Json, reason: &str) -> Option<T> {
        if self.faults.len() < MOST_FAULTS {
            // Of the variable as a whole, its name says enough.
            let is_inner = self.path.contains(['.', '[']);
            let place = if is_inner { format!(" at \"{}\"", self.path) } else { String::new() };
            self.faults.push(format!("{}{place}; {reason}", shown(value)));
        }
        None
    }

    fn value(&mut self, ty: &Type, json: Json) -> Option<Value> {
        if json.is_null() {
            return if ty.nullable {
                Some(Value::Null)
            } else {
                self.fault(&json, &format!("Expected non-nullable type \"{ty}\" not to be null."))
            };
        }
        match &ty.base {
            BaseType::List(item) => match json {
                Json::Array(items) => {
                    let items = items.into_iter().enumerate();
                    let coerced = items.map(|(at, json)| self.inside(format_args!("[{at}]"), item, json));
                    // Collected twice, so that the first fault does not end it.
                    let coerced: Vec<Option<Value>> = coerced.collect();
                    coerced.into_iter().collect::<Option<_>>().map(Value::List)
                }
                // The specification's rule: one value stands for a list of one.
                single => Some(Value::List(vec![self.value(item, single)?])),
            },
            BaseType::Named(name) => self.named(name, json),
        }
    }

    fn inside(&mut self, step: std::fmt::Arguments<'_>, ty: &Type, json: Json) -> Option<Value> {
        let outer = self.path.len();
        self.path.write_fmt(step).expect("writing to a string cannot fail");
        let value = self.value(ty, json);
        self.path.truncate(outer);
        value
    }

    fn named(&mut self, name: &Name, json: Json) -> Option<Value> {
        match self.index.get(name) {
            Some(TypeEntry::Enum(values)) => match &json {
                Json::String(text) if values.contains(text.as_str()) => Some(Value::Enum(Name::new(text))),
                _ => self.fault(&json, &format!("Value does not exist in \"{name}\" enum.")),
            },
            Some(TypeEntry::Input { fields, one_of }) => match json {
                Json::Object(given) => self.object(name, fields, *one_of, given),
                other => self.fault(&other, &format!("Expected type \"{name}\" to be an object.")),
            },
            _ => match scalar(name, json) {
                Ok(value) => Some(value),
                Err((json, reason)) => self.fault(&json, &reason),
            },
        }
    }

    fn object(
        &mut self,
        name: &Name,
        fields: &[(Name, super::index::InputField)],
        one_of: bool,
        mut given: Map<String, Json>,
    ) -> Option<Value> {
        if one_of && given.len() != 1 {
            let reason = format!("Exactly one key must be specified for OneOf type \"{name}\".");
            return self.fault(&Json::Object(given), &reason);
        }
        let (mut coerced, mut missing, before) = (IndexMap::new(), Vec::new(), self.faults.len());
        for (field, input) in fields {
            match given.remove(field.as_str()) {
                Some(json) => {
                    let value = self.inside(format_args!(".{field}"), &input.ty, json);
                    coerced.extend(value.map(|value| (field.clone(), value)));
                }
                None if input.ty.nullable || input.has_default => {}
                None => missing.push(format!("Field \"{field}\" of required type \"{}\" was not provided.", input.ty)),
            }
        }
        let unknown: Vec<String> = given.keys().take(MOST_FAULTS).cloned().collect();
        let rest = Json::Object(given);
        let unknown = unknown.iter().map(|unknown| format!("Field \"{unknown}\" is not defined by type \"{name}\"."));
        for reason in missing.into_iter().chain(unknown) {
            self.fault::<Value>(&rest, &reason);
        }
        // No more are told than that, and then there are enough already.
        (self.faults.len() == before && before < MOST_FAULTS).then_some(Value::Object(coerced))
    }
}

/// The value, or what was given and why it is none.
fn scalar(name: &Name, json: Json) -> Result<Value, (Json, String)> {
    let refuse = |json: Json, what: &str| {
        let reason = format!("{name} cannot represent {what}: {}", shown(&json));
        Err((json, reason))
    };
    match (name.as_str(), json) {
        ("Int", Json::Number(number)) => match number.as_i64().map(i32::try_from) {
            Some(Ok(number)) => Ok(Value::Number(number.into())),
            Some(Err(_)) => refuse(Json::Number(number), "non 32-bit signed integer value"),
            None => refuse(Json::Number(number), "non-integer value"),
        },
        ("Float", Json::Number(number)) => Ok(Value::Number(number)),
        ("String" | "ID", Json::String(text)) => Ok(Value::String(text)),
        ("ID", Json::Number(number)) if number.is_i64() || number.is_u64() => Ok(Value::String(number.to_string())),
        ("Boolean", Json::Bool(given)) => Ok(Value::Boolean(given)),
        ("Int", other) => refuse(other, "non-integer value"),
        ("Float", other) => refuse(other, "non numeric value"),
        ("String", other) => refuse(other, "a non string value"),
        ("Boolean", other) => refuse(other, "a non boolean value"),
        ("ID", other) => refuse(other, "value"),
        // A scalar of our own says itself what it takes, when it is parsed.
        (_, other) => Ok(constant(other)),
    }
}

fn constant(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(given) => Value::Boolean(given),
        Json::Number(number) => Value::Number(number),
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::List(items.into_iter().map(constant).collect()),
        Json::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (Name::new(name), constant(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    const SDL: &str = "type Query { a: Int } enum Color { RED BLUE } scalar Decimal \
        input Point { x: Int!, y: Int = 3, label: String } \
        input Pick @oneOf { a: Int, b: Int }";

    fn run(definitions: &str, given: &Json) -> Result<String, String> {
        let index = SchemaIndex::read(SDL).unwrap();
        let document = parse_query(format!("query({definitions}){{a}}")).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let definitions = &operation.node.variable_definitions;
        let given = given.as_object().unwrap().clone();
        coerce(&index, definitions, given)
            .map(|variables| canonical(definitions, &variables))
            .map_err(|errors| errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn what_fits_is_coerced_to_one_spelling() {
        for (definitions, given, expected) in [
            ("$a: Int", json!({"a": 3, "unknown": 1}), "a:3;"),
            ("$a: Int", json!({}), ""),
            ("$a: Int", json!({"a": null}), "a:null;"),
            ("$a: Int = 7", json!({}), "a:7;"),
            ("$a: [String!]!", json!({"a": "one"}), "a:[\"one\",];"),
            ("$a: [[Int]]", json!({"a": [[1], null]}), "a:[[1,],null,];"),
            ("$a: ID!", json!({"a": 12}), "a:\"12\";"),
            ("$a: Color", json!({"a": "RED"}), "a:RED;"),
            ("$a: Point", json!({"a": {"label": "z", "x": 1}}), "a:{\"label\":\"z\",\"x\":1,};"),
            ("$a: Pick", json!({"a": {"b": 1}}), "a:{\"b\":1,};"),
            ("$a: Decimal", json!({"a": "1.5"}), "a:\"1.5\";"),
            ("$b: Int, $a: Int", json!({"a": 1, "b": 2}), "b:2;a:1;"),
        ] {
            assert_eq!(run(definitions, &given).as_deref(), Ok(expected), "{definitions} {given}");
        }
    }

    #[test]
    fn what_does_not_fit_says_so_as_graphql_js_does() {
        for (definitions, given, expected) in [
            ("$a: Int!", json!({}), "Variable \"$a\" of required type \"Int!\" was not provided."),
            (
                "$a: Int!",
                json!({"a": null}),
                "Variable \"$a\" got invalid value null; Expected non-nullable type \"Int!\" not to be null.",
            ),
            (
                "$a: Int",
                json!({"a": 1.5}),
                "Variable \"$a\" got invalid value 1.5; Int cannot represent non-integer value: 1.5",
            ),
            (
                "$a: Int",
                json!({"a": 3_000_000_000_u64}),
                "Variable \"$a\" got invalid value 3000000000; \
                 Int cannot represent non 32-bit signed integer value: 3000000000",
            ),
            (
                "$a: [String!]!",
                json!({"a": ["x", 5]}),
                "Variable \"$a\" got invalid value 5 at \"a[1]\"; String cannot represent a non string value: 5",
            ),
            (
                "$a: Color",
                json!({"a": "GREEN"}),
                "Variable \"$a\" got invalid value \"GREEN\"; Value does not exist in \"Color\" enum.",
            ),
            (
                "$a: Point",
                json!({"a": {"x": 1, "z": 2}}),
                "Variable \"$a\" got invalid value {\"z\":2}; Field \"z\" is not defined by type \"Point\".",
            ),
            (
                "$a: Point, $b: Int!",
                json!({"a": {"x": "1"}}),
                "Variable \"$a\" got invalid value \"1\" at \"a.x\"; Int cannot represent non-integer value: \"1\" \
                 | Variable \"$b\" of required type \"Int!\" was not provided.",
            ),
            (
                "$a: Pick",
                json!({"a": {"a": 1, "b": 2}}),
                "Variable \"$a\" got invalid value {\"a\":1,\"b\":2}; \
                 Exactly one key must be specified for OneOf type \"Pick\".",
            ),
        ] {
            assert_eq!(run(definitions, &given), Err(expected.to_owned()), "{definitions} {given}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let given = json!({"a": [{"x": "1", "z": 2}, {"x": 1}, 7]});
        let told = run("$a: [Point]", &given).unwrap_err();
        let expected = [
            r#"Variable "$a" got invalid value "1" at "a[0].x"; Int cannot represent non-integer value: "1""#,
            r#"Variable "$a" got invalid value {"z":2} at "a[0]"; Field "z" is not defined by type "Point"."#,
            r#"Variable "$a" got invalid value 7 at "a[2]"; Expected type "Point" to be an object."#,
        ];
        assert_eq!(told, expected.join(" | "));
        let told = run("$a: [Int]", &json!({"a": vec!["x"; 1_000]})).unwrap_err();
        assert_eq!(told.matches("Variable").count(), MOST_FAULTS);
    }

    #[test]
    fn an_error_is_not_as_large_as_its_cause() {
        let error = run("$a: Int", &json!({"a": "x".repeat(100_000)})).unwrap_err();
        assert!(error.len() < 1_000, "{}", error.len());
    }
}
