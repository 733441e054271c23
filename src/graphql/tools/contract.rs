//! What the schema's text says of types and fields that the plan does not need: descriptions, defaults.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned,
    parser::{
        parse_schema,
        types::{
            Field, FieldDefinition, OperationDefinition, OperationType, Selection, TypeDefinition, TypeKind,
            TypeSystemDefinition,
        },
    },
};

/// The types of the schema, as written.
pub(super) struct Contract(HashMap<Name, TypeDefinition>);

impl Contract {
    /// Reads a schema's SDL, of which the gateway has made its own index before.
    pub(super) fn read(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the schema's own text was read before");
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some((definition.node.name.node.clone(), definition.node)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        Self(types.collect())
    }

    pub(super) fn get(&self, name: &Name) -> Option<&TypeDefinition> {
        self.0.get(name)
    }

    pub(super) fn has_field(&self, ty: &str, field: &Name) -> bool {
        self.fields(ty).iter().any(|found| found.node.name.node == *field)
    }

    fn fields(&self, ty: &str) -> &[Positioned<FieldDefinition>] {
        match self.0.get(ty).map(|found| &found.kind) {
            Some(TypeKind::Object(object)) => &object.fields,
            _ => &[],
        }
    }

    /// The fields that an operation selects at its root, fragments aside, and what the schema says of each.
    pub(super) fn root_fields<'a>(
        &'a self,
        operation: &'a OperationDefinition,
    ) -> impl Iterator<Item = (&'a Field, &'a FieldDefinition)> {
        let root = match operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let fields = self.fields(root);
        operation.selection_set.node.items.iter().filter_map(move |selection| {
            let Selection::Field(selected) = &selection.node else { return None };
            let defined = fields.iter().find(|field| field.node.name.node == selected.node.name.node)?;
            Some((&selected.node, &defined.node))
        })
    }
}
