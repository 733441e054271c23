//! Why a schema cannot be used.

use thiserror::Error;

/// Why arguments cannot be checked against a tool's schema, in words for operators. Such a tool is not called: what it is sent
/// has been checked, or it is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaProblem {
    /// It is not one of an object's.
    #[error("the schema must be an object")]
    NotAnObject,
    /// It has more bytes than may be.
    #[error("the schema has more than {0} bytes")]
    TooLarge(usize),
    /// It is nested deeper than may be.
    #[error("the schema is nested deeper than {0} levels")]
    TooDeep(usize),
    /// It has more patterns than may be.
    #[error("the schema has more than {0} patterns")]
    TooManyPatterns(usize),
    /// It refers to something outside of itself, or to nothing.
    #[error("the schema refers to {0:?}, which is not in it")]
    Elsewhere(String),
    /// It says of a value that it must be what the schema says, and no more.
    #[error("the schema refers to itself without end")]
    Endless,
    /// Its parts refer to each other so often that one value would be checked thousands of times.
    #[error("the schema's references unfold to more than {0} checks of one value")]
    Unfolds(u64),
    /// It makes no sense as JSON Schema.
    #[error("the schema is not valid: {0}")]
    Invalid(String),
}
