//! Whether each variable may stand where it is used: the specification's rule "All Variable Usages Are Allowed".
//!
//! The library has this rule, but its release candidate never tells it about values, so it finds nothing. Coercion
//! checks what is sent against what is declared; this checks what is declared against where it goes.

use std::collections::{BTreeSet, HashSet};

use async_graphql::{
    Name, Pos, Positioned, ServerError,
    parser::types::{
        BaseType, Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet, Type,
        VariableDefinition,
    },
};
use async_graphql_value::{ConstValue, Value};

use super::index::{InputField, SchemaIndex, TypeEntry};

/// The misuses in every operation of a document whose fields and arguments are known to exist.
pub(crate) fn misplaced(index: &SchemaIndex, document: &ExecutableDocument) -> Vec<ServerError> {
    let operations = document.operations.iter();
    operations.flat_map(|(_, operation)| check(index, document, &operation.node).errors).collect()
}

/// The variables of an operation that must not be null although their types allow it: a default stands in for what is
/// not sent, not for a null that is.
pub(crate) fn needed(
    index: &SchemaIndex,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
) -> BTreeSet<Name> {
    check(index, document, operation).needed
}

fn check<'a>(
    index: &'a SchemaIndex,
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
) -> Checker<'a> {
    let (errors, needed) = (Vec::new(), BTreeSet::new());
    let mut checker = Checker { index, document, operation, seen: HashSet::new(), errors, needed };
    checker.directives(&operation.directives);
    checker.selection_set(&operation.selection_set.node, index.root(operation.ty));
    checker
}

struct Checker<'a> {
    index: &'a SchemaIndex,
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    /// A fragment's positions do not depend on where it is spread.
    seen: HashSet<&'a Name>,
    errors: Vec<ServerError>,
    needed: BTreeSet<Name>,
}

impl<'a> Checker<'a> {
    fn selection_set(&mut self, set: &'a SelectionSet, type_name: &Name) {
        for selection in &set.items {
            self.directives(selection.node.directives());
            match &selection.node {
                Selection::Field(field) => self.field(&field.node, type_name),
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    self.selection_set(&inline.node.selection_set.node, condition.unwrap_or(type_name));
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.seen.insert(name)
                    {
                        self.directives(&fragment.node.directives);
                        let on = &fragment.node.type_condition.node.on.node;
                        self.selection_set(&fragment.node.selection_set.node, on);
                    }
                }
            }
        }
    }

    fn field(&mut self, field: &'a Field, type_name: &Name) {
        // `__typename` and introspection have no arguments of ours.
        let Some(entry) = self.index.field(type_name, &field.name.node) else { return };
        for (name, value) in &field.arguments {
            if let Some(argument) = entry.argument(&name.node) {
                self.value(&value.node, &argument.ty, argument.has_default, value.pos);
            }
        }
        self.selection_set(&field.selection_set.node, entry.type_name());
    }

    /// Only `@skip` and `@include` can stand in an operation, and both have `if: Boolean!`.
    fn directives(&mut self, directives: &'a [Positioned<Directive>]) {
        let condition = Type { base: BaseType::Named(Name::new("Boolean")), nullable: false };
        for (_, value) in directives.iter().flat_map(|directive| &directive.node.arguments) {
            self.value(&value.node, &condition, false, value.pos);
        }
    }

    fn value(&mut self, value: &Value, ty: &Type, has_default: bool, at: Pos) {
        match (value, &ty.base) {
            (Value::Variable(name), _) => self.variable(name, ty, has_default, at),
            (Value::List(items), BaseType::List(item)) => {
                for value in items {
                    self.value(value, item, false, at);
                }
            }
            // One value stands for a list of one.
            (Value::Object(_), BaseType::List(item)) => self.value(value, item, false, at),
            (Value::Object(given), BaseType::Named(name)) => {
                let Some(TypeEntry::Input { fields, .. }) = self.index.get(name) else { return };
                for (field, InputField { ty, has_default }) in fields {
                    if let Some(value) = given.get(field) {
                        self.value(value, ty, *has_default, at);
                    }
                }
            }
            _ => {}
        }
    }

    fn variable(&mut self, name: &Name, ty: &Type, has_default: bool, at: Pos) {
        let definitions = &self.operation.variable_definitions;
        // An undefined variable is another rule's to report.
        let Some(definition) = definitions.iter().find(|definition| definition.node.name.node == *name) else { return };
        if !ty.nullable && definition.node.var_type.node.nullable {
            self.needed.insert(name.clone());
        }
        if !is_allowed(&definition.node, ty, has_default) {
            let given = &definition.node.var_type.node;
            let message = format!("Variable \"${name}\" of type \"{given}\" used in position expecting type \"{ty}\".");
            let mut error = ServerError::new(message, Some(definition.pos));
            error.locations.push(at);
            self.errors.push(error);
        }
    }
}

fn is_allowed(definition: &VariableDefinition, place: &Type, place_has_default: bool) -> bool {
    let given = &definition.var_type.node;
    if place.nullable || !given.nullable {
        return is_compatible(given, place);
    }
    let default = definition.default_value.as_ref().map(|value| &value.node);
    let has_default = default.is_some_and(|default| *default != ConstValue::Null);
    (has_default || place_has_default) && is_compatible(given, &Type { base: place.base.clone(), nullable: true })
}

fn is_compatible(given: &Type, place: &Type) -> bool {
    if given.nullable && !place.nullable {
        return false;
    }
    match (&given.base, &place.base) {
        (BaseType::Named(given), BaseType::Named(place)) => given == place,
        (BaseType::List(given), BaseType::List(place)) => is_compatible(given, place),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str = "type Query { one(a: Int, b: Int! = 3, c: Int!, list: [Int!], needed: [Int!]!, in: In): Query } \
                       input In { x: Int!, y: Int! = 1, z: [In!] }";

    #[test]
    fn the_specifications_examples() {
        for (document, allowed) in [
            ("query($v: Int) { one(a: $v) { one(b: $v) { __typename } } }", true),
            ("query($v: Int) { one(c: $v) { __typename } }", false),
            ("query($v: Int!) { one(c: $v, a: $v) { __typename } }", true),
            ("query($v: Int = 1) { one(c: $v) { __typename } }", true),
            ("query($v: Int = null) { one(c: $v) { __typename } }", false),
            ("query($v: String) { one(a: $v) { __typename } }", false),
            ("query($v: [Int]) { one(list: $v) { __typename } }", false),
            ("query($v: [Int!]!) { one(list: $v) { __typename } }", true),
            ("query($v: Int) { one(list: [$v]) { __typename } }", false),
            ("query($v: Int!) { one(list: [1, $v]) { __typename } }", true),
            ("query($v: Int) { one(list: $v) { __typename } }", false),
            ("query($v: Int) { one(in: {x: $v}) { __typename } }", false),
            ("query($v: Int) { one(in: {x: 1, y: $v, z: {x: 2}}) { __typename } }", true),
            ("query($v: Int) { one(in: {x: 1, z: [{x: $v}]}) { __typename } }", false),
            ("query($v: Boolean!) { one @skip(if: $v) { __typename } }", true),
            ("query($v: Boolean) { one @skip(if: $v) { __typename } }", false),
            ("query($v: Boolean = false) { one @include(if: $v) { __typename } }", true),
            ("query($v: Boolean = null) { one @include(if: $v) { __typename } }", false),
            ("query($v: String!) { one @skip(if: $v) { __typename } }", false),
            ("query($v: [Boolean!]!) { ... @skip(if: $v) { __typename } }", false),
            (
                "query($v: In!) { ...F } fragment F on Query { ...G @include(if: $v) } fragment G on Query { a: __typename }",
                false,
            ),
            ("query A { __typename } query B($v: Int!) { one @skip(if: $v) { __typename } }", false),
        ] {
            let index = SchemaIndex::read(SDL).unwrap();
            let errors = misplaced(&index, &parse_query(document).unwrap());
            assert_eq!(errors.is_empty(), allowed, "{document}: {errors:?}");
        }
    }
}
