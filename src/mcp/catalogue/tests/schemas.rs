use serde_json::{Value, json};

use crate::mcp::catalogue::{SchemaProblem, arguments::CompiledSchema};

pub(super) fn compiled(schema: &Value) -> CompiledSchema {
    CompiledSchema::compile(schema).unwrap_or_else(|problem| panic!("{problem}"))
}

/// Where something is wrong with arguments.
fn wrong(schema: &Value, arguments: &Value) -> Vec<String> {
    compiled(schema).validate(Some(arguments)).into_iter().map(|problem| problem.path[1..].join(".")).collect()
}

/// As the time server, made with pydantic, and the filesystem and everything servers, made with zod, send them.
fn real_ones() -> [(Value, Value); 5] {
    [
        (
            json!({"type": "object", "required": ["source_timezone", "time"], "properties": {
                "source_timezone": {"type": "string", "description": "Source IANA timezone name."},
                "time": {"type": "string", "description": "Time to convert in 24-hour format (HH:MM)"}}}),
            json!({"source_timezone": "Europe/Berlin", "time": "12:00"}),
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
                "required": ["path", "edits"], "properties": {
                    "path": {"type": "string"},
                    "edits": {"type": "array", "items": {"type": "object", "required": ["oldText", "newText"],
                        "additionalProperties": false,
                        "properties": {"oldText": {"type": "string"}, "newText": {"type": "string"}}}},
                    "dryRun": {"type": "boolean", "default": false}}}),
            json!({"path": "/a", "edits": [{"oldText": "a", "newText": "b"}]}),
        ),
        (
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["to"], "properties": {
                "to": {"type": "string", "format": "email", "pattern": ZOD_EMAIL},
                "id": {"type": "string", "format": "uuid", "pattern": "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|00000000-0000-0000-0000-000000000000)$"},
                "at": {"type": "string", "format": "date-time", "pattern": ZOD_DATE_TIME}}}),
            json!({"to": "a.b+c@example.com", "id": "00000000-0000-0000-0000-000000000000", "at": "2026-02-28T10:00:00Z"}),
        ),
        (
            json!({"$defs": {"Node": {"title": "Node", "type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"},
                    "parent": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": null},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}},
                "type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "required": ["root"]}),
            json!({"root": {"name": "a", "parent": null, "children": [{"name": "b", "children": [{"name": "c"}]}]}}),
        ),
        (
            json!({"type": "object", "properties": {"filter": {"$id": "T0", "anyOf": [
                {"type": "object", "required": ["and"], "properties": {"and": {"type": "array", "items": {"$ref": "T0"}}}},
                {"type": "object", "required": ["not"], "properties": {"not": {"$ref": "T0"}}},
                {"type": "object", "required": ["field", "equals"], "properties": {"field": {"type": "string"}}}]}}}),
            json!({"filter": {"and": [{"not": {"field": "a", "equals": 1}}, {"and": [{"field": "b", "equals": 2}]}]}}),
        ),
    ]
}

const ZOD_EMAIL: &str =
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$";
const ZOD_DATE_TIME: &str = r"^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))T(?:(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z))$";

#[test]
fn schemas_as_servers_send_them_accept_what_they_mean_and_say_what_is_wrong() {
    let schemas = real_ones();
    for (schema, arguments) in &schemas {
        assert_eq!(wrong(schema, arguments), [""; 0], "{arguments}");
    }
    let [time, edit, mail, tree, filter] = schemas.map(|(schema, _)| schema);
    for (schema, arguments, expected) in [
        (&time, json!({"time": 1}), vec!["arguments.time", "arguments.source_timezone"]),
        (&time, json!([]), vec!["arguments"]),
        (&time, json!(null), vec!["arguments"]),
        (&edit, json!({"path": "/a", "edits": [], "force": true}), vec!["arguments"]),
        (&edit, json!({"path": "/a", "edits": [{"oldText": "a"}]}), vec!["arguments.edits.0.newText"]),
        (&mail, json!({"to": "a..b@example.com"}), vec!["arguments.to"]),
        (&mail, json!({"to": "a@example.com", "at": "2026-02-30T10:00:00Z"}), vec!["arguments.at"]),
        (&tree, json!({"root": {"name": "a", "children": [{}]}}), vec!["arguments.root.children.0.name"]),
        (&filter, json!({"filter": {"and": [{"or": []}]}}), vec!["arguments.filter"]),
    ] {
        let mut found = wrong(schema, &arguments);
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{arguments}");
    }
    assert_eq!(compiled(&time).validate(None).len(), 2, "no arguments are an empty object");
    assert_eq!(compiled(&json!({"type": "object"})).validate(None), []);
}

#[test]
fn problems_name_the_field_and_not_the_value() {
    let schema = json!({"properties": {
        "mode": {"enum": ["read", "write"]}, "n": {"maximum": 3}, "a/b~c": {"type": "string"}, "text": {"maxLength": 3}}});
    for (arguments, path, message, candidates) in [
        (json!({"mode": "raed"}), "mode", r#"the value is not one of "read" or "write""#, &["read"][..]),
        (json!({"n": 4}), "n", "the value is greater than the maximum of 3", &[]),
        (json!({"a/b~c": 1}), "a/b~c", r#"the value is not of type "string""#, &[]),
        (json!({"text": "secret".repeat(99)}), "text", "the value is longer than 3 characters", &[]),
    ] {
        let problems = compiled(&schema).validate(Some(&arguments));
        assert_eq!(problems.len(), 1, "{arguments}");
        assert_eq!(problems[0].path, ["input", "arguments", path]);
        assert_eq!(problems[0].message, message);
        assert_eq!(problems[0].candidates, candidates);
    }
    let many: Vec<_> = (0..100).map(|at| at.to_string()).collect();
    let problems = compiled(&json!({"required": many})).validate(None);
    assert_eq!((problems.len(), &*problems[7].message), (20, "is missing"));
}

#[test]
fn structured_content_is_checked() {
    let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "integer"}}}});
    for (content, expected) in [
        (json!({"rows": [1]}), None),
        (json!({"rows": [1, "2"]}), Some(r#"rows.1: the value is not of type "integer""#)),
        (json!([]), Some(r#"the value is not of type "object""#)),
    ] {
        assert_eq!(compiled(&schema).check_output(&content).as_deref(), expected, "{content}");
    }
}

#[test]
fn schemas_that_cannot_be_used_say_why() {
    let refused = |schema: Value| CompiledSchema::compile(&schema).err();
    for (schema, expected) in [
        (json!(true), SchemaProblem::NotAnObject),
        (json!("object"), SchemaProblem::NotAnObject),
        (json!({"$ref": "https://example.com/a.json"}), SchemaProblem::Elsewhere("https://example.com/a.json".into())),
        (
            json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
            SchemaProblem::Elsewhere("file:///etc/passwd".into()),
        ),
        (json!({"items": {"$ref": "#/$defs/no"}}), SchemaProblem::Elsewhere("#/$defs/no".into())),
        (json!({"description": "x".repeat(300_000)}), SchemaProblem::TooLarge(262_144)),
    ] {
        assert_eq!(
            refused(schema.clone()),
            Some(expected),
            "{}",
            &schema.to_string()[..20.min(schema.to_string().len())]
        );
    }
    for schema in [
        json!({"type": "text"}),
        json!({"properties": []}),
        json!({"required": "a"}),
        json!({"properties": {"a": {"pattern": "("}}}),
        json!({"$schema": "https://example.com/my-own-dialect"}),
        json!({"default": {"$ref": "https://example.com/a"}, "$schema": "https://example.com/b"}),
    ] {
        assert!(matches!(refused(schema.clone()), Some(SchemaProblem::Invalid(_))), "{schema}");
    }
    let problem = refused(json!({"properties": {"a": {"pattern": "("}}})).map(|problem| problem.to_string());
    assert_eq!(problem.as_deref(), Some(r#"the schema is not valid: /properties/a/pattern: "(" is not a "regex""#));
    let data = json!({"properties": {"a": {"default": {"$ref": "https://example.com/a"}, "enum": [{"$ref": "#/x"}]}}});
    assert_eq!(refused(data), None, "what only looks like a reference is none");
}
