//! What an operation demands: roles, tokens of rate limits, cost, and how long its answer may be kept.
//!
//! The walk spreads fragments out, so it only ever sees documents that `measure` has bounded and validation has
//! found to fit the schema.

use std::sync::Arc;

use async_graphql::{
    Name, Pos, Positioned, Variables,
    parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet},
};

use super::{
    cache_policy::{CachePolicy, FieldPlace},
    conditions::{self, Condition},
    index::{FieldEntry, RateLimit, SchemaIndex},
};
use crate::model::Role;

/// How many items a list is taken to have when its answer's cost is estimated.
const ASSUMED_LIST_SIZE: u64 = 10;

/// What the walk over one operation found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) demands: Vec<Demand>,
    pub(crate) cost: u64,
    pub(crate) introspection_cost: u64,
    pub(crate) depth: u32,
    /// Root fields, introspection aside.
    pub(crate) root_fields: u32,
    pub(crate) cache: CachePolicy,
}

/// One occurrence of a field that demands a role or draws from a limit.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub(crate) coordinate: Arc<str>,
    /// Response keys from the root to the field, for the error's path.
    pub(crate) path: Vec<Name>,
    pub(crate) at: Pos,
    pub(crate) requires: Option<Role>,
    pub(crate) limit: Option<RateLimit>,
    /// All must hold for the field to be executed at all.
    pub(crate) conditions: Vec<Condition>,
}

impl Demand {
    /// Whether the variables leave the field in.
    pub(crate) fn is_selected(&self, variables: &Variables) -> bool {
        self.conditions.iter().all(|condition| condition.holds(variables))
    }
}

/// Walks one operation.
pub(crate) fn walk(
    index: &SchemaIndex,
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
) -> Findings {
    let mut walker = Walker { index, document, found: Findings::default(), path: Vec::new(), conditions: Vec::new() };
    let root = index.root(operation.node.ty);
    let place = Place { type_name: root, level: 1, factor: 1, is_root: true };
    walker.selection_set(&operation.node.selection_set, place);
    walker.found
}

/// Where in the operation the walk stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    type_name: &'a Name,
    level: u32,
    /// How many objects are taken to stand here.
    factor: u64,
    is_root: bool,
}

struct Walker<'a> {
    index: &'a SchemaIndex,
    document: &'a ExecutableDocument,
    found: Findings,
    path: Vec<Name>,
    conditions: Vec<Condition>,
}

impl<'a> Walker<'a> {
    fn selection_set(&mut self, set: &'a Positioned<SelectionSet>, place: Place<'a>) {
        for selection in &set.node.items {
            let outer = self.conditions.len();
            let Some(mut conditions) = conditions::of(selection.node.directives()) else { continue };
            self.conditions.append(&mut conditions);
            match &selection.node {
                Selection::Field(field) => self.field(field, place),
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    let type_name = condition.unwrap_or(place.type_name);
                    self.selection_set(&inline.node.selection_set, Place { type_name, ..place });
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        let type_name = &fragment.node.type_condition.node.on.node;
                        self.selection_set(&fragment.node.selection_set, Place { type_name, ..place });
                    }
                }
            }
            self.conditions.truncate(outer);
        }
    }

    fn field(&mut self, field: &'a Positioned<Field>, place: Place<'a>) {
        let name = field.node.name.node.as_str();
        if name == "__typename" {
            return;
        }
        if place.is_root && matches!(name, "__schema" | "__type") {
            self.found.introspection_cost =
                self.found.introspection_cost.saturating_add(self.introspection(&field.node.selection_set, 1));
            // Apollo's rule: a root field without a hint is not cacheable.
            self.found.cache.restrict(0, false);
            return;
        }
        // Validation has seen the document: the field exists.
        let Some(entry) = self.index.field(place.type_name, name) else { return };
        if place.is_root {
            self.found.root_fields += 1;
        }
        self.found.depth = self.found.depth.max(place.level);
        self.found.cost = self.found.cost.saturating_add(place.factor);
        self.found.cache.add(FieldPlace {
            hint: entry.hint,
            of_type: self.index.composite_hint(entry.type_name()),
            is_root: place.is_root,
        });
        self.path.push(field.node.response_key().node.clone());
        self.demand(entry, field.pos);
        let below = if entry.is_list() { ASSUMED_LIST_SIZE } else { 1 };
        self.selection_set(
            &field.node.selection_set,
            Place {
                type_name: entry.type_name(),
                level: place.level + 1,
                factor: place.factor.saturating_mul(below),
                is_root: false,
            },
        );
        self.path.pop();
    }

    fn demand(&mut self, entry: &FieldEntry, at: Pos) {
        if entry.requires.is_some() || entry.limit.is_some() {
            self.found.demands.push(Demand {
                coordinate: Arc::clone(&entry.coordinate),
                path: self.path.clone(),
                at,
                requires: entry.requires,
                limit: entry.limit,
                conditions: self.conditions.clone(),
            });
        }
    }

    /// The cost of an introspection part: its lists multiply like any others.
    fn introspection(&self, set: &Positioned<SelectionSet>, factor: u64) -> u64 {
        let mut cost = 0_u64;
        for selection in &set.node.items {
            cost = cost.saturating_add(match &selection.node {
                Selection::Field(field) => {
                    let is_list = matches!(
                        field.node.name.node.as_str(),
                        "types"
                            | "fields"
                            | "args"
                            | "interfaces"
                            | "possibleTypes"
                            | "enumValues"
                            | "inputFields"
                            | "directives"
                            | "locations"
                    );
                    let below = factor.saturating_mul(if is_list { ASSUMED_LIST_SIZE } else { 1 });
                    factor.saturating_add(self.introspection(&field.node.selection_set, below))
                }
                Selection::InlineFragment(inline) => self.introspection(&inline.node.selection_set, factor),
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    fragment.map_or(0, |fragment| self.introspection(&fragment.node.selection_set, factor))
                }
            });
        }
        cost
    }
}
