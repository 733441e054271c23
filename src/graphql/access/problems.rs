//! What is wrong with an input, as mutations of this area tell it.

use async_graphql::{Enum, SimpleObject};

use crate::model::FieldError;

/// Something wrong with the input.
#[derive(SimpleObject)]
pub(crate) struct AccessUserError {
    /// What kind of error it is.
    code: AccessErrorCode,
    /// The path of the input field.
    field: Vec<String>,
    /// A sentence for people, which never repeats what was sent.
    message: String,
}

/// What can be wrong with the input.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessErrorCode {
    /// The value cannot be used.
    BadUserInput,
    /// There is no API key of that id.
    NotFound,
    /// There is no second factor, or none that waits to be confirmed.
    NotEnrolled,
    /// The code is wrong, or too old.
    WrongCode,
    /// The code was right and was used before.
    UsedCode,
}

impl AccessUserError {
    pub(super) fn new(code: AccessErrorCode, field: &str, message: &impl ToString) -> Self {
        Self { code, field: vec!["input".into(), field.into()], message: message.to_string() }
    }

    /// All that validation found.
    pub(super) fn all(problems: Vec<FieldError>) -> Vec<Self> {
        let told =
            |FieldError { path, message, .. }| Self { code: AccessErrorCode::BadUserInput, field: path, message };
        problems.into_iter().map(told).collect()
    }
}
