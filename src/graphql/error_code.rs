//! The closed list of `extensions.code` values.

/// What `extensions.code` of an error can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The document is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema, or the operation cannot be chosen.
    GraphqlValidationFailed,
    /// An argument, a variable or the request's envelope is wrong.
    BadUserInput,
    /// The field needs a principal and there is none, or the token is not good.
    Unauthenticated,
    /// The principal's role is too low.
    Forbidden,
    /// A rate limit is used up.
    RateLimited,
    /// What was asked for does not exist.
    NotFound,
    /// The change lost against another one.
    Conflict,
    /// Too many bytes, tokens, levels, aliases, or too high a cost.
    OperationTooComplex,
    /// The deadline passed.
    Timeout,
    /// Something behind Tidegate did not answer, or its breaker is open.
    UpstreamUnavailable,
    /// The hash of an automatic persisted query is not known yet.
    PersistedQueryNotFound,
    /// Persisted queries are off, or only trusted documents are served.
    PersistedQueryNotSupported,
    /// A fault of Tidegate itself; the message says nothing more.
    InternalServerError,
}

impl ErrorCode {
    /// The text in `extensions.code`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::RateLimited => "RATE_LIMITED",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::OperationTooComplex => "OPERATION_TOO_COMPLEX",
            Self::Timeout => "TIMEOUT",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::PersistedQueryNotSupported => "PERSISTED_QUERY_NOT_SUPPORTED",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
        }
    }
}
