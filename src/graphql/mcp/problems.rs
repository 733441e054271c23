//! What is wrong with an input, as mutations of this area tell it.

use async_graphql::{Enum, SimpleObject};

use crate::{graphql::error::ApiError, mcp::McpError, model::FieldError};

/// Something wrong with the input.
#[derive(SimpleObject)]
pub(crate) struct McpUserError {
    /// What kind of error it is.
    code: McpErrorCode,
    /// The path of the input field.
    field: Vec<String>,
    /// A sentence for people.
    message: String,
    /// What may have been meant instead; often empty.
    candidates: Vec<String>,
}

/// What can be wrong with the input.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum McpErrorCode {
    /// The value cannot be used.
    BadUserInput,
    /// There is no such server, or no such tool that the caller may call.
    NotFound,
    /// Several servers have a tool of that name.
    Ambiguous,
    /// Another server has that name.
    NameTaken,
    /// The server is configured in a file, and changed there.
    FromFile,
    /// The server is disabled.
    Disabled,
    /// The tool has changed what it says of its effects, and waits for approval.
    NeedsApproval,
    /// What the tool says of its arguments cannot be used, so that they cannot be checked.
    BadSchema,
    /// The server says that the call makes no sense.
    Refused,
}

impl McpUserError {
    /// What the caller can do something about; anything else is an error of the whole field. `field` is what names the server or the tool.
    pub(super) fn from_error(error: McpError, field: &str) -> Result<Vec<Self>, ApiError> {
        let message = error.to_string();
        let one = |code, candidates: Vec<String>| {
            Ok(vec![Self { code, field: vec!["input".into(), field.into()], message, candidates }])
        };
        match error {
            McpError::Invalid(problems) => Ok(problems.into_iter().map(Self::from_field).collect()),
            McpError::NoServer(_) => one(McpErrorCode::NotFound, Vec::new()),
            McpError::NoTool { candidates, .. } => one(McpErrorCode::NotFound, candidates),
            McpError::Ambiguous { candidates, .. } => one(McpErrorCode::Ambiguous, candidates),
            McpError::NameTaken(_) => one(McpErrorCode::NameTaken, Vec::new()),
            McpError::FromFile(_) => one(McpErrorCode::FromFile, Vec::new()),
            McpError::Disabled(_) => one(McpErrorCode::Disabled, Vec::new()),
            McpError::NeedsApproval(_) => one(McpErrorCode::NeedsApproval, Vec::new()),
            McpError::BadSchema { .. } => one(McpErrorCode::BadSchema, Vec::new()),
            McpError::Refused { .. } => one(McpErrorCode::Refused, Vec::new()),
            McpError::Call { .. } | McpError::Events(_) => Err(error.into()),
        }
    }

    fn from_field(FieldError { path, message, candidates }: FieldError) -> Self {
        Self { code: McpErrorCode::BadUserInput, field: path, message, candidates }
    }
}
