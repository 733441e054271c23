//! The directives of the contract, as they print in the SDL.
//!
//! They run nothing here: the plan reads them back from the SDL and admission enforces them.

use std::borrow::Cow;

use async_graphql::{
    Enum, TypeDirective,
    registry::{
        __DirectiveLocation, MetaDirectiveInvocation, Registry,
        location_traits::{Directive_At_FIELD_DEFINITION, Directive_At_OBJECT},
    },
};

use crate::model::Role;

/// What a caller must be allowed to do. ADMIN includes USER.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "Role", remote = "Role")]
pub(crate) enum RequiredRole {
    /// A builder with a token.
    User,
    /// An operator.
    Admin,
}

/// Who may share a cached answer.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheControlScope {
    /// Everybody who is admitted to the operation.
    Public,
    /// Only the caller.
    Private,
}

/// The field needs a caller with at least this role. Refused with `UNAUTHENTICATED` or `FORBIDDEN` before anything
/// executes.
#[TypeDirective(location = "FieldDefinition", name = "auth")]
pub(crate) fn auth(requires: RequiredRole) {}

/// The field may be selected this many times in this many seconds by one caller (by one address without a token).
/// Aliases count. Refused with `RATE_LIMITED` before anything executes.
#[TypeDirective(location = "FieldDefinition", name = "rateLimit")]
pub(crate) fn rate_limit(limit: i32, duration: i32) {}

/// How long, in seconds, an answer with this field may be kept, and by whom.
#[TypeDirective(location = "FieldDefinition", location = "Object", location = "Interface", name = "cacheControl")]
fn cache_control(max_age: Option<i32>, scope: Option<CacheControlScope>, inherit_max_age: Option<bool>) {}

/// `@cacheControl`, declared on unions too: a location that the library's macro does not know.
pub(crate) struct CacheControl;

impl CacheControl {
    /// `@cacheControl(maxAge: …)`.
    pub(crate) fn apply(max_age: u16) -> MetaDirectiveInvocation {
        cache_control::apply(Some(max_age.into()), None, None)
    }
}

impl TypeDirective for CacheControl {
    fn name(&self) -> Cow<'static, str> {
        cache_control.name()
    }

    fn register(&self, registry: &mut Registry) {
        cache_control.register(registry);
        if let Some(declared) = registry.directives.get_mut("cacheControl") {
            declared.locations.push(__DirectiveLocation::UNION);
        }
    }
}

impl Directive_At_FIELD_DEFINITION for CacheControl {}
impl Directive_At_OBJECT for CacheControl {}

/// `@cacheControl(scope: PRIVATE)`: an answer that is the caller's alone, and is not kept.
pub(crate) struct Private;

impl Private {
    pub(crate) fn apply() -> MetaDirectiveInvocation {
        cache_control::apply(None, Some(CacheControlScope::Private), None)
    }
}

impl TypeDirective for Private {
    fn name(&self) -> Cow<'static, str> {
        CacheControl.name()
    }

    fn register(&self, registry: &mut Registry) {
        CacheControl.register(registry);
    }
}

impl Directive_At_FIELD_DEFINITION for Private {}

/// `@cacheControl(inheritMaxAge: true)`: a composite type whose answers live as long as their parent's.
pub(crate) struct Inherit;

impl Inherit {
    pub(crate) fn apply() -> MetaDirectiveInvocation {
        cache_control::apply(None, None, Some(true))
    }
}

impl TypeDirective for Inherit {
    fn name(&self) -> Cow<'static, str> {
        CacheControl.name()
    }

    fn register(&self, registry: &mut Registry) {
        CacheControl.register(registry);
    }
}

impl Directive_At_OBJECT for Inherit {}
