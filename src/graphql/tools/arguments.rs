//! The arguments of a tool: an operation's variables as JSON Schema (2020-12, which is MCP's own).
//!
//! What fits the schema is what the variables' coercion takes, but for its leniencies: one value for a list of one, whole
//! numbers for ids.

use async_graphql::{
    Name, Positioned,
    parser::types::{
        BaseType, ConstDirective, InputObjectType, InputValueDefinition, OperationDefinition, Type, TypeKind,
    },
};
use async_graphql_value::{ConstValue, Value};
use serde_json::{Map, Value as Json, json};

use super::contract::Contract;

type Schema = Map<String, Json>;

/// The schema of an object with a property for each variable of the operation.
pub(super) fn schema(contract: &Contract, operation: &OperationDefinition) -> Schema {
    let mut writer = Writer { contract, definitions: Map::new() };
    let properties = operation.variable_definitions.iter().map(|variable| {
        let (variable, name) = (&variable.node, &variable.node.name.node);
        Property {
            name,
            ty: &variable.var_type.node,
            description: described(contract, operation, name),
            default: variable.default_value.as_ref().map(|default| &default.node),
        }
    });
    let mut schema = writer.object(properties);
    if !writer.definitions.is_empty() {
        schema.insert("$defs".to_owned(), Json::Object(writer.definitions));
    }
    schema
}

/// What the schema says of the argument that a variable stands for, where it is one of a root field.
fn described<'a>(contract: &'a Contract, operation: &'a OperationDefinition, variable: &Name) -> Option<&'a str> {
    contract.root_fields(operation).find_map(|(selected, defined)| {
        let mut arguments = selected.arguments.iter();
        let (argument, _) =
            arguments.find(|(_, value)| matches!(&value.node, Value::Variable(name) if name == variable))?;
        let mut known = defined.arguments.iter();
        let known = known.find(|known| known.node.name.node == argument.node)?;
        known.node.description.as_ref().map(|description| description.node.as_str())
    })
}

/// A variable, or a field of an input object.
struct Property<'a> {
    name: &'a Name,
    ty: &'a Type,
    description: Option<&'a str>,
    default: Option<&'a ConstValue>,
}

impl<'a> Property<'a> {
    fn of(field: &'a InputValueDefinition) -> Self {
        Self {
            name: &field.name.node,
            ty: &field.ty.node,
            description: field.description.as_ref().map(|description| description.node.as_str()),
            default: field.default_value.as_ref().map(|default| &default.node),
        }
    }
}

struct Writer<'c> {
    contract: &'c Contract,
    /// The named types that have been met, so that types which hold themselves come to an end.
    definitions: Schema,
}

impl Writer<'_> {
    fn object<'a>(&mut self, properties: impl Iterator<Item = Property<'a>>) -> Schema {
        let (mut written, mut required) = (Map::new(), Vec::new());
        for property in properties {
            let mut schema = self.of(property.ty);
            schema.extend(property.description.map(|words| ("description".to_owned(), words.into())));
            let default = property.default.and_then(|default| default.clone().into_json().ok());
            if default.is_none() && !property.ty.nullable {
                required.push(Json::from(property.name.as_str()));
            }
            schema.extend(default.map(|default| ("default".to_owned(), default)));
            written.insert(property.name.to_string(), Json::Object(schema));
        }
        let mut schema = of_type("object");
        schema.insert("properties".to_owned(), Json::Object(written));
        if !required.is_empty() {
            schema.insert("required".to_owned(), Json::Array(required));
        }
        schema.insert("additionalProperties".to_owned(), Json::Bool(false));
        schema
    }

    fn of(&mut self, ty: &Type) -> Schema {
        let schema = match &ty.base {
            BaseType::Named(name) => self.named(name),
            BaseType::List(item) => {
                let mut list = of_type("array");
                list.insert("items".to_owned(), Json::Object(self.of(item)));
                list
            }
        };
        if ty.nullable { or_null(schema) } else { schema }
    }

    fn named(&mut self, name: &Name) -> Schema {
        let Some(definition) = self.contract.get(name) else { return built_in(name) };
        let description = definition.description.as_ref().map(|words| words.node.as_str());
        if matches!(definition.kind, TypeKind::Scalar) {
            return with_description(own_scalar(name), description);
        }
        if !self.definitions.contains_key(name.as_str()) {
            self.definitions.insert(name.to_string(), Json::Null);
            let schema = match &definition.kind {
                TypeKind::InputObject(input) => self.input(input, &definition.directives),
                TypeKind::Enum(values) => {
                    let values = values.values.iter().map(|value| Json::from(value.node.value.node.as_str()));
                    let mut schema = of_type("string");
                    schema.insert("enum".to_owned(), Json::Array(values.collect()));
                    schema
                }
                // No variable is of another kind of type: the plan has seen to it.
                _ => Map::new(),
            };
            self.definitions.insert(name.to_string(), Json::Object(with_description(schema, description)));
        }
        Map::from_iter([("$ref".to_owned(), Json::from(format!("#/$defs/{name}")))])
    }

    fn input(&mut self, input: &InputObjectType, directives: &[Positioned<ConstDirective>]) -> Schema {
        let mut schema = self.object(input.fields.iter().map(|field| Property::of(&field.node)));
        if directives.iter().any(|directive| directive.node.name.node == "oneOf") {
            schema.insert("minProperties".to_owned(), 1.into());
            schema.insert("maxProperties".to_owned(), 1.into());
        }
        schema
    }
}

fn of_type(name: &str) -> Schema {
    Map::from_iter([("type".to_owned(), Json::from(name))])
}

fn built_in(name: &Name) -> Schema {
    match name.as_str() {
        "Int" => {
            let mut schema = of_type("integer");
            schema.insert("minimum".to_owned(), i32::MIN.into());
            schema.insert("maximum".to_owned(), i32::MAX.into());
            schema
        }
        "Float" => of_type("number"),
        "Boolean" => of_type("boolean"),
        // String and ID.
        _ => of_type("string"),
    }
}

/// A scalar of the contract. One that is not known here takes any JSON.
fn own_scalar(name: &Name) -> Schema {
    match name.as_str() {
        "BigInt" | "Decimal" => of_type("string"),
        "DateTime" => {
            let mut schema = of_type("string");
            schema.insert("format".to_owned(), "date-time".into());
            schema
        }
        _ => Map::new(),
    }
}

fn with_description(mut schema: Schema, description: Option<&str>) -> Schema {
    schema.extend(description.map(|words| ("description".to_owned(), words.into())));
    schema
}

fn or_null(mut schema: Schema) -> Schema {
    if schema.contains_key("$ref") {
        return Map::from_iter([("anyOf".to_owned(), json!([Json::Object(schema), { "type": "null" }]))]);
    }
    // Without a type it is any JSON, null too.
    if let Some(ty) = schema.get_mut("type") {
        *ty = json!([ty.take(), "null"]);
    }
    schema
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str = r#"
        type Query {
            search("What to look for." text: String, filter: Filter): Int
        }
        "Red or blue." enum Color { RED BLUE }
        "A number." scalar Decimal
        scalar Json
        scalar DateTime
        input Filter { color: Color! = RED, "At most." most: Decimal, and: [Filter!], at: DateTime! }
        input Either @oneOf { a: Int b: Int }
    "#;

    fn derived(document: &str) -> Json {
        let document = parse_query(document).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        Json::Object(schema(&Contract::read(SDL), &operation.node))
    }

    fn property(ty: &str) -> Json {
        derived(&format!("query A($v: {ty}) {{ search }}"))["properties"]["v"].clone()
    }

    #[test]
    fn every_kind_of_type_has_a_schema() {
        for (ty, expected) in [
            ("Int!", json!({"type": "integer", "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647})),
            ("Float!", json!({"type": "number"})),
            ("String!", json!({"type": "string"})),
            ("ID!", json!({"type": "string"})),
            ("Boolean", json!({"type": ["boolean", "null"]})),
            ("[String!]!", json!({"type": "array", "items": {"type": "string"}})),
            ("[String]", json!({"type": ["array", "null"], "items": {"type": ["string", "null"]}})),
            ("Decimal!", json!({"type": "string", "description": "A number."})),
            ("DateTime!", json!({"type": "string", "format": "date-time"})),
            ("Json", json!({})),
            ("Color!", json!({"$ref": "#/$defs/Color"})),
            ("Color", json!({"anyOf": [{"$ref": "#/$defs/Color"}, {"type": "null"}]})),
            (
                "Int = 3",
                json!({"type": ["integer", "null"], "minimum": -2_147_483_648_i64, "maximum": 2_147_483_647,
                "default": 3}),
            ),
            ("Color! = BLUE", json!({"$ref": "#/$defs/Color", "default": "BLUE"})),
        ] {
            assert_eq!(property(ty), expected, "{ty}");
        }
    }

    #[test]
    fn what_must_be_given_is_required() {
        for (variables, expected) in [
            ("($a: Int!, $b: Int)", json!(["a"])),
            ("($a: Int! = 1, $b: Int!)", json!(["b"])),
            ("($a: Int)", Json::Null),
            ("", Json::Null),
        ] {
            let schema = derived(&format!("query A{variables} {{ search }}"));
            assert_eq!(schema["required"], expected, "{variables}");
            assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)));
        }
    }

    #[test]
    fn input_objects_are_defined_once_and_may_hold_themselves() {
        let schema = derived("query A($f: Filter!, $g: Filter, $e: Either) { search }");
        let definitions = &schema["$defs"];
        assert_eq!(definitions.as_object().unwrap().keys().collect::<Vec<_>>(), ["Filter", "Color", "Either"]);
        assert_eq!(
            definitions["Color"],
            json!({"type": "string", "enum": ["RED", "BLUE"], "description": "Red or blue."})
        );
        let filter = &definitions["Filter"];
        assert_eq!(filter["required"], json!(["at"]));
        assert_eq!(filter["properties"]["and"]["items"], json!({"$ref": "#/$defs/Filter"}));
        assert_eq!(filter["properties"]["color"], json!({"$ref": "#/$defs/Color", "default": "RED"}));
        assert_eq!(filter["properties"]["most"], json!({"type": ["string", "null"], "description": "At most."}));
        assert_eq!(
            (&definitions["Either"]["minProperties"], &definitions["Either"]["maxProperties"]),
            (&json!(1), &json!(1))
        );
    }

    #[test]
    fn an_argument_of_a_root_field_describes_its_variable() {
        let schema = derived("query A($words: String) { search(text: $words) }");
        assert_eq!(schema["properties"]["words"]["description"], "What to look for.");
    }

    #[test]
    fn what_is_derived_is_json_schema() {
        let schema = derived("query A($f: Filter!, $n: Int = 2) { search }");
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for (arguments, fits) in [
            (
                json!({"f": {"at": "2026-11-21T08:30:00Z", "and": [{"at": "2026-11-21T08:30:00Z", "color": "BLUE"}]}}),
                true,
            ),
            (json!({"f": {"at": "2026-11-21T08:30:00Z"}, "n": null}), true),
            (json!({"f": {}}), false),
            (json!({"n": 1}), false),
            (json!({"f": {"at": "2026-11-21T08:30:00Z", "color": "GREEN"}}), false),
            (json!({"f": {"at": "2026-11-21T08:30:00Z"}, "m": 1}), false),
        ] {
            assert_eq!(validator.is_valid(&arguments), fits, "{arguments}");
        }
    }
}
