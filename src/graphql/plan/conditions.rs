//! `@skip` and `@include`: read in one place, for admission, for validity and for execution alike.
//!
//! Whatever admission takes for left out is taken out of the document before it executes. Two readings of the same
//! condition would be a way around every role and limit.

use async_graphql::{
    Name, Positioned, Variables,
    parser::types::{Directive, DocumentOperations, ExecutableDocument, Selection, SelectionSet},
};
use async_graphql_value::{ConstValue, Value};

/// A condition that a variable decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) variable: Name,
    /// What the variable must be for the selection to stay.
    pub(crate) expected: bool,
}

impl Condition {
    /// Whether the selection stays. Only a variable that says so exactly takes it out.
    pub(crate) fn holds(&self, variables: &Variables) -> bool {
        !matches!(variables.get(&self.variable), Some(ConstValue::Boolean(given)) if *given != self.expected)
    }
}

/// The conditions of a selection; `None` when a literal takes it out whatever the variables are.
pub(crate) fn of(directives: &[Positioned<Directive>]) -> Option<Vec<Condition>> {
    let mut conditions = Vec::new();
    for directive in directives {
        let Some(expected) = expected(&directive.node) else { continue };
        match directive.node.get_argument("if").map(|value| &value.node) {
            Some(Value::Variable(variable)) => conditions.push(Condition { variable: variable.clone(), expected }),
            Some(Value::Boolean(given)) if *given != expected => return None,
            _ => {}
        }
    }
    Some(conditions)
}

/// What `if` has to be for the selection to stay; `None` for other directives.
fn expected(directive: &Directive) -> Option<bool> {
    match directive.name.node.as_str() {
        "include" => Some(true),
        "skip" => Some(false),
        _ => None,
    }
}

/// Takes out of a document what its conditions leave out, and the conditions with it.
pub(crate) fn apply(document: &mut ExecutableDocument, variables: &Variables) {
    let operation = match &mut document.operations {
        DocumentOperations::Single(operation) => Some(operation),
        // A plan's document has one operation, and no name is needed to choose it.
        DocumentOperations::Multiple(_) => None,
    };
    let operation = operation.map(|operation| &mut operation.node.selection_set.node);
    let fragments = document.fragments.values_mut().map(|fragment| &mut fragment.node.selection_set.node);
    for set in fragments.chain(operation) {
        apply_to(set, variables);
    }
}

fn apply_to(set: &mut SelectionSet, variables: &Variables) {
    set.items.retain(|selection| {
        of(selection.node.directives())
            .is_some_and(|conditions| conditions.iter().all(|condition| condition.holds(variables)))
    });
    for selection in &mut set.items {
        selection.node.directives_mut().retain(|directive| expected(&directive.node).is_none());
        match &mut selection.node {
            Selection::Field(field) => apply_to(&mut field.node.selection_set.node, variables),
            Selection::InlineFragment(inline) => apply_to(&mut inline.node.selection_set.node, variables),
            Selection::FragmentSpread(_) => {}
        }
    }
}
