//! Schemas and arguments that mean harm. None may take long, overflow the stack (this process would be gone) or panic.

use serde_json::{Value, json};

use super::schemas::compiled;
use crate::mcp::catalogue::{SchemaProblem, arguments::CompiledSchema};

fn nested(levels: usize, innermost: Value, wrap: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(innermost, |inner, _| wrap(inner))
}

/// `L0` leads twice to `L1`, that twice to `L2`, and so on.
fn doubling(levels: usize, twice: impl Fn(Value) -> Value) -> Value {
    let mut definitions: serde_json::Map<_, _> =
        (0..levels).map(|at| (format!("L{at}"), twice(json!({"$ref": format!("#/$defs/L{}", at + 1)})))).collect();
    definitions.insert(format!("L{levels}"), json!({"type": "string"}));
    json!({"$defs": definitions, "properties": {"a": {"$ref": "#/$defs/L0"}}})
}

#[test]
fn what_would_be_checked_without_end_or_thousands_of_times_is_refused() {
    let deep = nested(100, json!({}), |inner| json!({"properties": {"a": inner}}));
    assert_eq!(CompiledSchema::compile(&deep).err(), Some(SchemaProblem::TooDeep(64)));
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "properties": {"x": {"$ref": "#/$defs/a"}}}),
        json!({"$dynamicAnchor": "x", "anyOf": [{"$dynamicRef": "#x"}]}),
    ] {
        assert_eq!(CompiledSchema::compile(&schema).err(), Some(SchemaProblem::Endless), "{schema}");
    }
    let chain: serde_json::Map<_, _> =
        (0..2_000).map(|at| (format!("c{at}"), json!({"$ref": format!("#/$defs/c{}", at + 1)}))).collect();
    let mut chain = json!({"$defs": chain, "$ref": "#/$defs/c0"});
    chain["$defs"]["c2000"] = json!({});
    for schema in [chain, doubling(30, |next| json!({"allOf": [next, next]}))] {
        assert_eq!(CompiledSchema::compile(&schema).err(), Some(SchemaProblem::Unfolds(2_000)));
    }
    let same = |_| json!({"$anchor": "a", "$ref": "#a"});
    let problem = CompiledSchema::compile(&json!({"oneOf": (0..5_000).map(same).collect::<Vec<_>>()})).err();
    assert_eq!(problem, Some(SchemaProblem::Unfolds(2_000)));
    let patterns: serde_json::Map<_, _> = (0..101).map(|at| (at.to_string(), json!({"pattern": "a"}))).collect();
    let problem = CompiledSchema::compile(&json!({"properties": patterns})).err();
    assert_eq!(problem, Some(SchemaProblem::TooManyPatterns(100)));
    let huge = json!({"properties": {"a": {"pattern": "^((((a{100}){100}){100}){100})$"}}});
    assert!(matches!(CompiledSchema::compile(&huge).err(), Some(SchemaProblem::Invalid(_))));
}

#[test]
fn arguments_that_would_take_too_long_are_refused_and_harmless_ones_are_not() {
    let doubling = doubling(40, |next| json!({"allOf": [{"items": next}, {"items": next}]}));
    let list = |levels| json!({"a": nested(levels, json!("x"), |inner| json!([inner]))});
    let recursive = json!({"$defs": {"n": {"allOf": [
        {"properties": {"a": {"$ref": "#/$defs/n"}}}, {"additionalProperties": {"$ref": "#/$defs/n"}},
        {"patternProperties": {"a": {"$ref": "#/$defs/n"}}}, {"not": {"const": 1}}]}}, "properties": {"a": {"$ref": "#/$defs/n"}}});
    let object = |levels| nested(levels, json!({}), |inner| json!({"a": inner}));
    let unevaluated = json!({"$defs": {"n": {"unevaluatedProperties": false, "anyOf": [
        {"properties": {"a": {"$ref": "#/$defs/n"}}}, {"properties": {"a": {"$ref": "#/$defs/n"}}}]}},
        "properties": {"a": {"$ref": "#/$defs/n"}}});
    for (schema, arguments, expected) in [
        (&doubling, list(5), true),
        (&doubling, list(40), false),
        (&recursive, object(6), true),
        (&recursive, object(60), false),
        (&unevaluated, object(4), true),
        (&unevaluated, object(12), false),
    ] {
        let problems = compiled(schema).validate(Some(&arguments));
        // What is nested less than the schema is deep is valid, or wrong somewhere inside.
        let is_checked = problems.iter().all(|problem| !problem.message.starts_with("too large"));
        assert_eq!(is_checked, expected, "{problems:?} {arguments}");
    }
}

#[test]
fn deep_arguments_end_before_the_stack_does() {
    let tree = json!({"$defs": {"n": {"properties": {"a": {"$ref": "#/$defs/n"}}, "additionalProperties": false}},
        "properties": {"a": {"$ref": "#/$defs/n"}}});
    let object = |levels| nested(levels, json!({}), |inner| json!({"a": inner}));
    for (levels, good) in [(1, true), (60, true), (70, false), (100, false)] {
        assert_eq!(compiled(&tree).validate(Some(&object(levels))).is_empty(), good, "{levels}");
    }
    let wrong = nested(60, json!({"b": 1}), |inner| json!({"a": inner}));
    assert_eq!(compiled(&tree).validate(Some(&wrong))[0].path.len(), 62);
}

/// With a fraction of the stack that a thread of the runtime has.
#[test]
fn the_longest_way_down_leaves_most_of_the_stack() {
    let inner = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}});
    let inner = nested(4, inner, |inner| json!({"allOf": [{"anyOf": [inner]}]}));
    let chains = json!({"$defs": {"n": inner}, "properties": {"a": {"$ref": "#/$defs/n"}}});
    let object = |levels, innermost| nested(levels, innermost, |inner| json!({"a": inner}));
    let check = move || {
        let schema = compiled(&chains);
        let most = (1..64).rev().find(|levels| schema.validate(Some(&object(*levels, json!({})))).is_empty());
        assert_eq!(most, Some(31), "ten parts for each level, and then it is too deep");
        assert_eq!(schema.validate(Some(&object(31, json!(1)))).len(), 1);
    };
    std::thread::Builder::new().stack_size(512 * 1_024).spawn(check).unwrap().join().unwrap();
}

#[test]
fn patterns_cannot_be_made_to_take_long() {
    let text = |length: usize| json!({"a": format!("{}!", "a".repeat(length))});
    for (pattern, arguments) in [
        ("^(a+)+$", text(40)),
        ("^(a+)+$", text(50_000)),
        ("^(a|a)*$", text(50_000)),
        ("^(?!b)(a+)+$", text(40)),
        (r"^(a+)\1+$", text(40)),
        (r"^(?=(a+))(a+)+\1$", text(5_000)),
        (r"(?<!b)(a*)*(?!a)c", text(5_000)),
    ] {
        let schema = json!({"properties": {"a": {"pattern": pattern}}});
        let problems = compiled(&schema).validate(Some(&arguments));
        assert_eq!(problems.len(), 1, "{pattern}");
    }
    let names = json!({"propertyNames": {"pattern": r"^(?!b)(a+)+\b$"}, "additionalProperties": {"type": "string"}});
    let many: serde_json::Map<_, _> = (1..2_000).map(|at| (format!("{}!", "a".repeat(at)), json!("x"))).collect();
    let problems = compiled(&names).validate(Some(&Value::Object(many)));
    assert!(problems[0].message.starts_with("too large"), "{problems:?}");
}

#[test]
fn large_schemas_and_arguments_are_checked() {
    let options: Vec<_> = (0..15_000).map(|at| format!("option-{at}")).collect();
    let schema = compiled(&json!({"properties": {"a": {"enum": options}}}));
    assert_eq!(schema.validate(Some(&json!({"a": "option-14999"}))), []);
    let problems = schema.validate(Some(&json!({"a": "option-x"})));
    assert!(problems[0].message.len() < 1_000 && !problems[0].candidates.is_empty(), "{problems:?}");
    let list = compiled(&json!({"properties": {"a": {"type": "array", "items": {"type": "integer"}}}}));
    for (count, expected) in [(10, 10), (1_000, 20), (90_000, 1), (200_000, 1)] {
        let wrong = vec!["x"; count];
        assert_eq!(list.validate(Some(&json!({"a": wrong}))).len(), expected, "{count}");
    }
    assert_eq!(list.validate(Some(&json!({"a": vec![1; 90_000]}))), []);
}

#[test]
fn odd_identifiers_do_not_panic() {
    for id in
        ["", "#", "#a", "a", "a#", "a#b", "http://[::1", "urn:x:y", "json-schema:///", "http://a/#", "%", "//", "?x"]
    {
        for keyword in ["$id", "id", "$anchor", "$schema", "$ref", "$dynamicRef", "$recursiveRef"] {
            for schema in [json!({keyword: id}), json!({"properties": {"a": {keyword: id, "items": {"$ref": "#"}}}})] {
                // Accepted or refused, but never worse.
                let compiled = CompiledSchema::compile(&schema);
                assert!(compiled.is_err() || compiled.is_ok_and(|schema| schema.validate(None).len() < 2), "{schema}");
            }
        }
    }
}
