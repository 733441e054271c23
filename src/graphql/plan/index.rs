//! The schema as its own SDL tells it: every field's type and what its directives demand.
//!
//! The SDL is the one source. What `@auth`, `@rateLimit` and `@cacheControl` say there is what the plan enforces, so
//! that the printed contract and the running server cannot drift apart.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_graphql::{
    Name, Positioned, Value,
    parser::{
        parse_schema,
        types::{
            BaseType, ConstDirective, FieldDefinition, InputValueDefinition, OperationType, Type, TypeDefinition,
            TypeKind, TypeSystemDefinition,
        },
    },
};

use crate::model::Role;

/// Why the schema's own text cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The SDL is not GraphQL.
    #[error("the schema's text does not parse: {0}")]
    Syntax(String),
    /// A directive's arguments are not what its declaration says.
    #[error("@{directive} on {coordinate} is malformed")]
    Directive {
        /// The directive's name.
        directive: &'static str,
        /// The field or type it stands on.
        coordinate: String,
    },
    /// A field is reachable through its interface without what it demands.
    #[error("{coordinate} and its interface {interface} must demand the same")]
    Interface {
        /// The field of the object.
        coordinate: String,
        /// The interface.
        interface: String,
    },
}

/// The types of the schema, by name.
#[derive(Debug)]
pub(crate) struct SchemaIndex {
    types: HashMap<Name, TypeEntry>,
    roots: Roots,
}

#[derive(Debug)]
struct Roots {
    query: Name,
    mutation: Name,
    subscription: Name,
}

/// What the plan needs to know of a type.
#[derive(Debug)]
pub(crate) enum TypeEntry {
    /// An object, interface or union.
    Composite { fields: HashMap<Name, FieldEntry>, hint: CacheHint, is_object: bool },
    /// An input object.
    Input { fields: Vec<(Name, InputField)>, one_of: bool },
    /// An enum and its values.
    Enum(HashSet<Name>),
    /// A scalar.
    Scalar,
}

/// What the plan needs to know of a field.
#[derive(Debug)]
pub(crate) struct FieldEntry {
    pub(crate) coordinate: Arc<str>,
    ty: Type,
    pub(crate) requires: Option<Role>,
    pub(crate) limit: Option<RateLimit>,
    pub(crate) hint: CacheHint,
    arguments: Vec<(Name, InputField)>,
}

impl FieldEntry {
    pub(crate) fn ty(&self) -> &Type {
        &self.ty
    }

    /// The type without its lists.
    pub(crate) fn type_name(&self) -> &Name {
        innermost(&self.ty)
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.ty.base, BaseType::List(_))
    }

    pub(crate) fn argument(&self, name: &str) -> Option<&InputField> {
        self.arguments.iter().find(|(found, _)| found == name).map(|(_, argument)| argument)
    }
}

/// A field of an input object, or an argument.
#[derive(Debug)]
pub(crate) struct InputField {
    pub(crate) ty: Type,
    pub(crate) has_default: bool,
}

/// `@rateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub(crate) limit: u32,
    pub(crate) window: Duration,
}

/// `@cacheControl`, as written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheHint {
    pub(crate) max_age: Option<u32>,
    pub(crate) private: Option<bool>,
    pub(crate) inherit: bool,
}

impl SchemaIndex {
    /// Reads a schema's SDL.
    pub(crate) fn read(sdl: &str) -> Result<Self, SchemaError> {
        let document = parse_schema(sdl).map_err(|error| SchemaError::Syntax(error.to_string()))?;
        let mut types: HashMap<Name, TypeEntry> =
            ["Int", "Float", "String", "Boolean", "ID"].map(|name| (Name::new(name), TypeEntry::Scalar)).into();
        let mut roots = Roots {
            query: Name::new("Query"),
            mutation: Name::new("Mutation"),
            subscription: Name::new("Subscription"),
        };
        let mut implemented = Vec::new();
        for definition in document.definitions {
            match definition {
                TypeSystemDefinition::Type(definition) => {
                    let name = definition.node.name.node.clone();
                    implemented.extend(interfaces(&definition.node).map(|interface| (name.clone(), interface)));
                    types.insert(name, TypeEntry::read(&definition.node)?);
                }
                TypeSystemDefinition::Schema(definition) => {
                    let named = |given: Option<Positioned<Name>>, default| given.map_or(default, |name| name.node);
                    roots.query = named(definition.node.query, roots.query);
                    roots.mutation = named(definition.node.mutation, roots.mutation);
                    roots.subscription = named(definition.node.subscription, roots.subscription);
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        let index = Self { types, roots };
        for (object, interface) in &implemented {
            index.check_interface(object, interface)?;
        }
        Ok(index)
    }

    /// Selections through an interface are looked up there: it must demand no less than the objects behind it.
    fn check_interface(&self, object: &Name, interface: &Name) -> Result<(), SchemaError> {
        let Some(TypeEntry::Composite { fields, .. }) = self.types.get(interface) else { return Ok(()) };
        for (name, through) in fields {
            let Some(field) = self.field(object, name) else { continue };
            if (through.requires, through.limit) != (field.requires, field.limit) {
                let coordinate = field.coordinate.to_string();
                return Err(SchemaError::Interface { coordinate, interface: interface.to_string() });
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self, operation: OperationType) -> &Name {
        match operation {
            OperationType::Query => &self.roots.query,
            OperationType::Mutation => &self.roots.mutation,
            OperationType::Subscription => &self.roots.subscription,
        }
    }

    pub(crate) fn get(&self, type_name: &str) -> Option<&TypeEntry> {
        self.types.get(type_name)
    }

    pub(crate) fn field(&self, type_name: &str, field: &str) -> Option<&FieldEntry> {
        match self.types.get(type_name)? {
            TypeEntry::Composite { fields, .. } => fields.get(field),
            _ => None,
        }
    }

    /// The coordinates of the fields with a limit, sorted.
    pub(crate) fn limited(&self) -> Vec<Arc<str>> {
        let fields = self.types.values().filter_map(|entry| match entry {
            TypeEntry::Composite { fields, .. } => Some(fields.values()),
            _ => None,
        });
        let limited = fields.flatten().filter(|field| field.limit.is_some());
        let mut coordinates: Vec<Arc<str>> = limited.map(|field| Arc::clone(&field.coordinate)).collect();
        coordinates.sort_unstable();
        coordinates
    }

    pub(crate) fn is_object(&self, type_name: &str) -> bool {
        matches!(self.types.get(type_name), Some(TypeEntry::Composite { is_object: true, .. }))
    }

    /// The hint of a composite type; `None` for leaf types, which inherit.
    pub(crate) fn composite_hint(&self, type_name: &str) -> Option<CacheHint> {
        match self.types.get(type_name)? {
            TypeEntry::Composite { hint, .. } => Some(*hint),
            _ => None,
        }
    }
}

impl TypeEntry {
    fn read(definition: &TypeDefinition) -> Result<Self, SchemaError> {
        let name = &definition.name.node;
        let composite = |fields: &[Positioned<FieldDefinition>]| {
            let fields = fields
                .iter()
                .map(|field| Ok((field.node.name.node.clone(), FieldEntry::read(name, &field.node)?)))
                .collect::<Result<_, SchemaError>>()?;
            let is_object = matches!(definition.kind, TypeKind::Object(_));
            Ok(Self::Composite { fields, hint: CacheHint::read(&definition.directives, name)?, is_object })
        };
        match &definition.kind {
            TypeKind::Object(object) => composite(&object.fields),
            TypeKind::Interface(interface) => composite(&interface.fields),
            TypeKind::Union(_) => composite(&[]),
            TypeKind::Enum(values) => {
                Ok(Self::Enum(values.values.iter().map(|value| value.node.value.node.clone()).collect()))
            }
            TypeKind::InputObject(input) => Ok(Self::Input {
                fields: input.fields.iter().map(|field| InputField::read(&field.node)).collect(),
                one_of: definition.directives.iter().any(|directive| directive.node.name.node == "oneOf"),
            }),
            TypeKind::Scalar => Ok(Self::Scalar),
        }
    }
}

impl InputField {
    fn read(definition: &InputValueDefinition) -> (Name, Self) {
        let ty = definition.ty.node.clone();
        (definition.name.node.clone(), Self { ty, has_default: definition.default_value.is_some() })
    }
}

impl FieldEntry {
    fn read(type_name: &Name, definition: &FieldDefinition) -> Result<Self, SchemaError> {
        let coordinate = format!("{type_name}.{}", definition.name.node);
        let find = |name: &str| definition.directives.iter().find(|directive| directive.node.name.node == name);
        let malformed = |directive| SchemaError::Directive { directive, coordinate: coordinate.clone() };
        let requires =
            find("auth").map(|directive| role(&directive.node).ok_or_else(|| malformed("auth"))).transpose()?;
        let limit = find("rateLimit")
            .map(|directive| RateLimit::read(&directive.node).ok_or_else(|| malformed("rateLimit")))
            .transpose()?;
        Ok(Self {
            ty: definition.ty.node.clone(),
            requires,
            limit,
            hint: CacheHint::read(&definition.directives, &coordinate)?,
            arguments: definition.arguments.iter().map(|argument| InputField::read(&argument.node)).collect(),
            coordinate: coordinate.into(),
        })
    }
}

impl RateLimit {
    fn read(directive: &ConstDirective) -> Option<Self> {
        let limit = integer(directive, "limit").filter(|limit| *limit > 0)?;
        let seconds = integer(directive, "duration").filter(|seconds| *seconds > 0)?;
        Some(Self { limit, window: Duration::from_secs(seconds.into()) })
    }
}

impl CacheHint {
    fn read(directives: &[Positioned<ConstDirective>], coordinate: &str) -> Result<Self, SchemaError> {
        let Some(directive) = directives.iter().find(|directive| directive.node.name.node == "cacheControl") else {
            return Ok(Self::default());
        };
        let directive = &directive.node;
        let malformed = || SchemaError::Directive { directive: "cacheControl", coordinate: coordinate.to_owned() };
        let given = |name| directive.get_argument(name).filter(|value| value.node != Value::Null);
        let max_age = given("maxAge").map(|_| integer(directive, "maxAge").ok_or_else(malformed)).transpose()?;
        let private = given("scope")
            .map(|scope| match &scope.node {
                Value::Enum(name) if name == "PRIVATE" => Ok(true),
                Value::Enum(name) if name == "PUBLIC" => Ok(false),
                _ => Err(malformed()),
            })
            .transpose()?;
        let inherit = given("inheritMaxAge").is_some_and(|value| value.node == Value::Boolean(true));
        Ok(Self { max_age, private, inherit })
    }
}

fn interfaces(definition: &TypeDefinition) -> impl Iterator<Item = Name> {
    let implements = match &definition.kind {
        TypeKind::Object(object) => object.implements.as_slice(),
        TypeKind::Interface(interface) => interface.implements.as_slice(),
        _ => &[],
    };
    implements.iter().map(|name| name.node.clone())
}

fn role(directive: &ConstDirective) -> Option<Role> {
    match &directive.get_argument("requires")?.node {
        Value::Enum(name) => name.parse().ok(),
        _ => None,
    }
}

fn integer(directive: &ConstDirective, argument: &str) -> Option<u32> {
    match &directive.get_argument(argument)?.node {
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        _ => None,
    }
}

fn innermost(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => innermost(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_from_the_text() {
        let index = SchemaIndex::read(
            "type Query { a(x: Int): [P!]! @auth(requires: ADMIN) @rateLimit(limit: 5, duration: 60) \
             b: Int @cacheControl(maxAge: 3, scope: PRIVATE) c: P } \
             type P @cacheControl(maxAge: 10) { d: Int @cacheControl(inheritMaxAge: true) }",
        )
        .unwrap();
        let a = index.field("Query", "a").unwrap();
        assert_eq!((&*a.coordinate, a.type_name().as_str(), a.is_list()), ("Query.a", "P", true));
        assert_eq!(a.requires, Some(Role::Admin));
        assert_eq!(a.limit, Some(RateLimit { limit: 5, window: Duration::from_mins(1) }));
        let b = index.field("Query", "b").unwrap();
        assert_eq!(b.hint, CacheHint { max_age: Some(3), private: Some(true), inherit: false });
        assert_eq!(index.composite_hint("P").unwrap().max_age, Some(10));
        assert_eq!(index.composite_hint("Int"), None);
        assert!(index.field("P", "d").unwrap().hint.inherit);
    }

    #[test]
    fn an_interface_that_demands_less_stops_the_start() {
        let sdl = |through: &str| {
            format!(
                "type Query {{ a: I }} interface I {{ f: Int {through} }} \
                 type O implements I {{ f: Int @auth(requires: ADMIN) }}"
            )
        };
        assert!(SchemaIndex::read(&sdl("@auth(requires: ADMIN)")).is_ok());
        for through in ["", "@auth(requires: USER)"] {
            let error = SchemaIndex::read(&sdl(through)).unwrap_err();
            assert_eq!(error.to_string(), "O.f and its interface I must demand the same");
        }
    }

    #[test]
    fn a_malformed_directive_stops_the_start() {
        for (sdl, directive) in [
            ("type Query { a: Int @auth(requires: ROOT) }", "auth"),
            ("type Query { a: Int @rateLimit(limit: 0, duration: 60) }", "rateLimit"),
            ("type Query { a: Int @cacheControl(maxAge: -1) }", "cacheControl"),
        ] {
            let error = SchemaIndex::read(sdl).unwrap_err();
            assert!(
                matches!(&error, SchemaError::Directive { directive: found, .. } if *found == directive),
                "{error}"
            );
        }
    }
}
