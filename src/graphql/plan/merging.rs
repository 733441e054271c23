//! Whether selections that share a response key can be merged: the specification's rule "Field Selection Merging".
//!
//! The library compares only the fields of one selection set, not those that fragments bring in nor what stands below
//! fields that merge; there one of two different fields silently won. Every field is looked at once for each time that
//! it appears with fragments spread out, which `measure` has bounded.

use std::collections::HashSet;

use async_graphql::{
    Name, Positioned, ServerError,
    indexmap::IndexMap,
    parser::types::{BaseType, ExecutableDocument, Field, Selection, SelectionSet, Type},
};

use super::index::{FieldEntry, SchemaIndex};

/// The conflicts in every operation of a document whose fields are known to exist.
pub(crate) fn conflicts(index: &SchemaIndex, document: &ExecutableDocument) -> Vec<ServerError> {
    let mut checker = Checker { index, document, errors: Vec::new() };
    for (_, operation) in document.operations.iter() {
        let root = Some(index.root(operation.node.ty));
        checker.merge(&[(root, &operation.node.selection_set.node)]);
    }
    checker.errors
}

/// Selections that come together under one response key, each with the type that it is made on. Introspection's types
/// are not known here; none of them can stand for another.
type Together<'a> = Vec<(Option<&'a Name>, &'a Positioned<Field>)>;

struct Checker<'a> {
    index: &'a SchemaIndex,
    document: &'a ExecutableDocument,
    errors: Vec<ServerError>,
}

impl<'a> Checker<'a> {
    fn merge(&mut self, sets: &[(Option<&'a Name>, &'a SelectionSet)]) {
        let (mut by_key, mut seen) = (IndexMap::new(), HashSet::new());
        for (on, set) in sets {
            self.collect(*on, set, &mut by_key, &mut seen);
        }
        for (key, fields) in by_key {
            self.compare(key, &fields);
            let below: Vec<_> = fields
                .iter()
                .map(|(on, field)| {
                    let entry = on.and_then(|on| self.index.field(on, &field.node.name.node));
                    (entry.map(FieldEntry::type_name), &field.node.selection_set.node)
                })
                .filter(|(_, set)| !set.items.is_empty())
                .collect();
            if !below.is_empty() {
                self.merge(&below);
            }
        }
    }

    fn collect(
        &self,
        on: Option<&'a Name>,
        set: &'a SelectionSet,
        by_key: &mut IndexMap<&'a Name, Together<'a>>,
        seen: &mut HashSet<&'a Name>,
    ) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    by_key.entry(&field.node.response_key().node).or_default().push((on, field));
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    self.collect(condition.or(on), &inline.node.selection_set.node, by_key, seen);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && seen.insert(name)
                    {
                        let condition = Some(&fragment.node.type_condition.node.on.node);
                        self.collect(condition, &fragment.node.selection_set.node, by_key, seen);
                    }
                }
            }
        }
    }

    /// Fields that may belong to the same object must be the same; others must at least look the same.
    fn compare(&mut self, key: &Name, fields: &Together<'a>) {
        let mut representatives: Together<'a> = Vec::new();
        for (on, field) in fields {
            let reason = representatives.iter().find_map(|(other_on, other)| {
                let reason = if self.may_meet(*on, *other_on) {
                    difference(&field.node, &other.node)
                } else {
                    let shape = |on: Option<&Name>, field: &Field| Some(self.index.field(on?, &field.name.node)?.ty());
                    let (one, two) = (shape(*on, &field.node), shape(*other_on, &other.node));
                    let differ = one.zip(two).is_some_and(|(one, two)| !self.same_shape(one, two));
                    differ.then(|| "they return conflicting types".to_owned())
                };
                reason.map(|reason| (reason, other.pos))
            });
            if let Some((reason, other)) = reason {
                let message = format!(
                    "Fields \"{key}\" conflict because {reason}. \
                     Use different aliases on the fields to fetch both if this was intentional."
                );
                let mut error = ServerError::new(message, Some(other));
                error.locations.push(field.pos);
                self.errors.push(error);
                return;
            }
            if representatives.iter().all(|(other, _)| other != on) {
                representatives.push((*on, field));
            }
        }
    }

    /// Two different object types never meet in one object; an interface or union may be either.
    fn may_meet(&self, one: Option<&Name>, two: Option<&Name>) -> bool {
        let is_object = |name: &Name| self.index.is_object(name);
        one == two || !one.is_some_and(is_object) || !two.is_some_and(is_object)
    }

    fn same_shape(&self, one: &Type, two: &Type) -> bool {
        one.nullable == two.nullable
            && match (&one.base, &two.base) {
                (BaseType::List(one), BaseType::List(two)) => self.same_shape(one, two),
                (BaseType::Named(one), BaseType::Named(two)) => {
                    let are_composite = [one, two].iter().all(|name| self.index.composite_hint(name).is_some());
                    one == two || are_composite
                }
                _ => false,
            }
    }
}

fn difference(one: &Field, two: &Field) -> Option<String> {
    if one.name.node != two.name.node {
        return Some(format!("\"{}\" and \"{}\" are different fields", two.name.node, one.name.node));
    }
    let are_same = one.arguments.len() == two.arguments.len()
        && one
            .arguments
            .iter()
            .all(|(name, value)| two.get_argument(&name.node).is_some_and(|other| other.node == value.node));
    (!are_same).then(|| "they have differing arguments".to_owned())
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SDL: &str = "type Query { a(x: Int): Query b: Query n: Int m: Int s: Shape } \
                       interface Shape { area: Int } \
                       type Round implements Shape { area: Int size: Int! name: String } \
                       type Square implements Shape { area: Int size: Int name: String side: Int }";

    #[test]
    fn what_merges_is_the_same() {
        for (document, merges) in [
            ("{ n n }", true),
            ("{ x: n x: m }", false),
            ("{ n: m n }", false),
            ("{ a(x: 1) { n } a(x: 1) { m } }", true),
            ("{ a(x: 1) { n } a(x: 2) { n } }", false),
            ("{ a(x: 1) { n } a { n } }", false),
            ("query($v: Int) { a(x: $v) { n } a(x: $v) { m } }", true),
            ("{ a { x: n } a { x: m } }", false),
            ("{ a { ... on Query { x: n } } ...F } fragment F on Query { a { x: m } }", false),
            ("{ n ... on Query { n: m } }", false),
            ("{ n ... { n } ...F } fragment F on Query { n }", true),
            ("{ a { a { x: n } } ...F } fragment F on Query { a { a { ...G } } } fragment G on Query { x: m }", false),
            ("{ s { ... on Round { x: name } ... on Square { x: side } } }", false),
            ("{ s { ... on Round { x: name } ... on Square { x: name } } }", true),
            ("{ s { ... on Round { size } ... on Square { size } } }", false),
            ("{ s { x: area ... on Square { x: side } } }", false),
            ("{ __schema { x: types { name } x: types { kind } } }", true),
            ("{ __schema { x: types { y: name } x: types { y: kind } } }", false),
        ] {
            let index = SchemaIndex::read(SDL).unwrap();
            let errors = conflicts(&index, &parse_query(document).unwrap());
            assert_eq!(errors.is_empty(), merges, "{document}: {errors:?}");
        }
    }
}
