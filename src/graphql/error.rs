//! Every error that leaves the house: its code, its message, and what is kept from the caller.
//!
//! Rooms say what failed in their own words; this file alone decides what a caller is told. An
//! `INTERNAL_SERVER_ERROR` has a constant message and a request id; what really happened is logged here, once.

use std::time::Duration;

use async_graphql::{ErrorExtensionValues, Name, Pos, ServerError, Value};
use bytes::Bytes;
use serde::Serialize;

use super::{ErrorCode, RequestId};
use crate::{
    agent::AgentError,
    auth::{ApiKeyError, FactorError, RevocationError},
    cache::LoadLost,
    chains::ChainError,
    events::EventsError,
    market::{PriceError, SwapError, SwapFailure},
    mcp::McpError,
    model::FieldError,
    resilience::CallError,
    store::DatabaseError,
    vault::VaultError,
};

/// Most errors in one refusal; the rest say nothing new, and an answer must not be as large as a bad request.
const MAX_ERRORS: usize = 20;

const INTERNAL_MESSAGE: &str = "internal server error";

/// What a resolver tells the caller.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: String,
    retry_after: Option<Duration>,
    details: Vec<(&'static str, Value)>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, details: Vec::new() }
    }

    /// A fault of our own: logged here, masked for the caller.
    pub(crate) fn internal(fault: &dyn std::error::Error) -> Self {
        tracing::error!(error = %fault, "internal error");
        Self::new(ErrorCode::InternalServerError, INTERNAL_MESSAGE)
    }

    pub(crate) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The same, said before anything executed, about what `place` points at.
    pub(crate) fn refusal(self, mut place: ServerError) -> Refusal {
        place.message = self.message;
        for (name, value) in self.details {
            set(&mut place, name, value);
        }
        let refusal = Refusal::many(self.code, vec![place]);
        match self.retry_after {
            Some(wait) => refusal.retry_after(wait),
            None => refusal,
        }
    }
}

impl From<ApiError> for async_graphql::Error {
    fn from(error: ApiError) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", error.code.as_str());
        if let Some(wait) = error.retry_after {
            extensions.set("retryAfterMs", millis(wait));
        }
        for (name, value) in error.details {
            extensions.set(name, value);
        }
        Self { message: error.message, source: None, extensions: Some(extensions) }
    }
}

impl From<PriceError> for ApiError {
    fn from(error: PriceError) -> Self {
        match &error {
            PriceError::UnknownCoin { candidates, .. } => {
                let candidates: Vec<Value> = candidates.iter().map(|id| Value::from(id.as_str())).collect();
                Self::new(ErrorCode::NotFound, error.to_string()).detail("candidates", Value::List(candidates))
            }
            PriceError::Unavailable(cause) => {
                Self::new(ErrorCode::UpstreamUnavailable, error.to_string()).retry_after(cause.retry_after())
            }
            PriceError::NoQuorum { .. } | PriceError::FeedFull { .. } => {
                Self::new(ErrorCode::UpstreamUnavailable, error.to_string())
            }
            PriceError::Interrupted => Self::internal(&error),
        }
    }
}

impl From<ChainError> for ApiError {
    fn from(error: ChainError) -> Self {
        let (message, unavailable) = (error.to_string(), ErrorCode::UpstreamUnavailable);
        match error {
            ChainError::UnknownChain { known, .. } => Self::new(ErrorCode::NotFound, message).detail("known", known),
            ChainError::Invalid(problems) => Self::bad_input(&problems),
            ChainError::TooDeep => Self::new(ErrorCode::Conflict, message).detail("reason", "REORG_TOO_DEEP"),
            ChainError::TooFarBehind { .. } => {
                Self::new(ErrorCode::BadUserInput, message).detail("reason", "CURSOR_TOO_OLD")
            }
            ChainError::TooBusy => Self::new(ErrorCode::BadUserInput, message).detail("reason", "ACCOUNT_TOO_BUSY"),
            ChainError::NoToken(_) => Self::new(ErrorCode::NotFound, message),
            ChainError::Refused { .. } => Self::new(ErrorCode::BadUserInput, message).detail("reason", "CHAIN_REFUSED"),
            ChainError::Reverted { reason } => Self::new(ErrorCode::BadUserInput, message)
                .detail("reason", "REVERTED")
                .detail("revertReason", reason.map_or(Value::Null, |reason| Value::from(&*reason))),
            // What each endpoint said is for operators, who find it in `Chain.endpoints` and the log.
            ChainError::Unavailable { reasons, retry_after } => {
                tracing::debug!(reasons, "no endpoint of a chain could answer");
                Self::new(unavailable, "no endpoint of the chain could answer").retry_after(retry_after)
            }
            ChainError::TimedOut | ChainError::Lost(LoadLost::TimedOut) => Self::new(ErrorCode::Timeout, message),
            ChainError::TooFew { .. } => Self::new(unavailable, message).detail("reason", "NO_QUORUM"),
            ChainError::Disagreement { .. } => Self::new(unavailable, message).detail("reason", "DISAGREEMENT"),
            ChainError::Nonsense { endpoint, detail } => {
                tracing::warn!(endpoint = &*endpoint, detail = &*detail, "an endpoint of a chain made no sense");
                Self::new(unavailable, "an endpoint of the chain said what makes no sense")
            }
            ChainError::Lost(LoadLost::Saturated) => Self::new(unavailable, message),
            ChainError::Lost(_) => Self::internal(&error),
        }
    }
}

impl From<SwapError> for ApiError {
    fn from(error: SwapError) -> Self {
        let message = error.to_string();
        match error {
            SwapError::Invalid(problems) => Self::bad_input(&problems),
            SwapError::NoLiquidity => Self::new(ErrorCode::NotFound, message).detail("reason", "NO_LIQUIDITY"),
            SwapError::Unavailable { retry_after, failures } => {
                let told = |failure: &SwapFailure| {
                    let provider = Value::from(&*failure.provider);
                    let code = Value::from(failure.code.label().to_ascii_uppercase());
                    Value::Object([(Name::new("provider"), provider), (Name::new("code"), code)].into_iter().collect())
                };
                let failures = Value::List(failures.iter().map(told).collect());
                Self::new(ErrorCode::UpstreamUnavailable, message).retry_after(retry_after).detail("failures", failures)
            }
        }
    }
}

/// How soon a database may be back.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

impl ApiError {
    /// Everything that is wrong with an input, each with the way to its field.
    pub(crate) fn bad_input(problems: &[FieldError]) -> Self {
        let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let texts = |texts: &[String]| Value::List(texts.iter().cloned().map(Value::from).collect());
        let field = |problem: &FieldError| {
            let told = [("field", texts(&problem.path)), ("message", Value::from(problem.message.clone()))];
            let candidates = (!problem.candidates.is_empty()).then(|| ("candidates", texts(&problem.candidates)));
            Value::Object(told.into_iter().chain(candidates).map(|(name, value)| (Name::new(name), value)).collect())
        };
        let fields = problems.iter().map(field).collect();
        Self::new(ErrorCode::BadUserInput, message).detail("fields", Value::List(fields))
    }
}

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Invalid(problems) => Self::bad_input(&problems),
            AgentError::NotFound => Self::new(ErrorCode::NotFound, error.to_string()),
            AgentError::NotForgottenYet => Self::new(ErrorCode::Timeout, error.to_string()),
            AgentError::Events(error) => error.into(),
            AgentError::Vault(VaultError::Database(error)) => error.into(),
            AgentError::Vault(_) | AgentError::Unreadable => Self::internal(&error),
        }
    }
}

impl From<McpError> for ApiError {
    fn from(error: McpError) -> Self {
        let (message, retry_after) = (error.to_string(), error.retry_after());
        match error {
            McpError::Invalid(problems) => Self::bad_input(&problems),
            McpError::NoServer(_) | McpError::NoTool { .. } => Self::new(ErrorCode::NotFound, message),
            McpError::Ambiguous { .. } | McpError::Refused { .. } => Self::new(ErrorCode::BadUserInput, message),
            McpError::NameTaken(_)
            | McpError::FromFile(_)
            | McpError::Disabled(_)
            | McpError::NeedsApproval(_)
            | McpError::BadSchema { .. } => Self::new(ErrorCode::Conflict, message),
            McpError::Call { error: CallError::Timeout, .. } => Self::new(ErrorCode::Timeout, message),
            // What exactly is wrong is for operators, who find it in `McpServer.health` and the log.
            McpError::Call { server, error } => {
                tracing::debug!(server = &*server, %error, "an mcp server could not be asked");
                let message = format!("the MCP server {server} cannot be asked");
                Self::new(ErrorCode::UpstreamUnavailable, message).retry_after(retry_after)
            }
            McpError::Events(error) => error.into(),
        }
    }
}

impl From<ApiKeyError> for ApiError {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::Invalid(problems) => Self::bad_input(&problems),
            ApiKeyError::NotFound => Self::new(ErrorCode::NotFound, error.to_string()),
            ApiKeyError::Events(error) => error.into(),
        }
    }
}

impl From<RevocationError> for ApiError {
    fn from(error: RevocationError) -> Self {
        match error {
            RevocationError::Invalid(problems) => Self::bad_input(&problems),
            RevocationError::Full => Self::new(ErrorCode::Conflict, error.to_string()),
            RevocationError::Events(error) => error.into(),
        }
    }
}

impl From<FactorError> for ApiError {
    fn from(error: FactorError) -> Self {
        let forbidden = |reason: &str| Self::new(ErrorCode::Forbidden, error.to_string()).detail("reason", reason);
        match error {
            FactorError::EnrolmentNeeded => forbidden("ENROLMENT_REQUIRED"),
            FactorError::StepUpNeeded => forbidden("STEP_UP_REQUIRED"),
            FactorError::BadToken(_) => forbidden("BAD_STEP_UP_TOKEN"),
            FactorError::NotEnrolled | FactorError::NothingPending => Self::new(ErrorCode::NotFound, error.to_string()),
            FactorError::Code(_) => Self::new(ErrorCode::BadUserInput, error.to_string()),
            FactorError::TooManyAttempts { retry_after } => {
                Self::new(ErrorCode::RateLimited, error.to_string()).retry_after(Some(retry_after))
            }
            FactorError::Unreadable => Self::internal(&error),
            FactorError::Unavailable(error) => error.into(),
        }
    }
}

impl From<EventsError> for ApiError {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::Conflict { .. } | EventsError::KeyReused => Self::new(ErrorCode::Conflict, error.to_string()),
            EventsError::Database(error) => error.into(),
            EventsError::Unreadable { .. } | EventsError::Unwritable { .. } | EventsError::Hole { .. } => {
                Self::internal(&error)
            }
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        let unavailable =
            |message: &str| Self::new(ErrorCode::UpstreamUnavailable, message).retry_after(Some(DATABASE_PAUSE));
        match error {
            // Why is for operators.
            DatabaseError::Unavailable(_) => unavailable("the database is not available"),
            DatabaseError::Full | DatabaseError::ReadOnly => unavailable(&error.to_string()),
            DatabaseError::TimedOut => {
                let message = "the database did not answer in time; a change may have been made all the same, which a \
                    retry with the same idempotency key finds out";
                Self::new(ErrorCode::Timeout, message)
            }
            DatabaseError::Taken => Self::new(ErrorCode::Conflict, error.to_string()),
            DatabaseError::Refused(_) => Self::internal(&error),
        }
    }
}

/// A request that was refused before anything executed.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// What transports decide the status by.
    pub(crate) code: ErrorCode,
    pub(crate) errors: Vec<ServerError>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::many(code, vec![ServerError::new(message, None)])
    }

    pub(crate) fn at(code: ErrorCode, message: impl Into<String>, at: Pos) -> Self {
        Self::many(code, vec![ServerError::new(message, Some(at))])
    }

    pub(crate) fn many(code: ErrorCode, mut errors: Vec<ServerError>) -> Self {
        errors.truncate(MAX_ERRORS);
        for error in &mut errors {
            set(error, "code", code.as_str());
        }
        Self { code, errors, retry_after: None }
    }

    /// What is said of the first error.
    pub(crate) fn message(&self) -> &str {
        self.errors.first().map_or("", |error| &error.message)
    }

    /// A fault of our own, already logged where it was caught.
    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::InternalServerError, INTERNAL_MESSAGE)
    }

    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        for error in &mut self.errors {
            set(error, "retryAfterMs", millis(wait));
        }
        self.retry_after = Some(wait);
        self
    }

    /// The response: errors and no `data`.
    pub(crate) fn body(&self, request_id: &RequestId) -> Bytes {
        #[derive(Serialize)]
        struct Body<'a> {
            errors: &'a [ServerError],
        }
        json(&Body { errors: &stamped(self.errors.clone(), request_id) })
    }

    /// The payload of graphql-transport-ws's `error`: the errors alone.
    pub(crate) fn list(&self, request_id: &RequestId) -> Bytes {
        json(&stamped(self.errors.clone(), request_id))
    }
}

/// The response of an operation without errors.
pub(crate) fn complete_body(data: &Value) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        data: &'a Value,
    }
    json(&Body { data })
}

/// The response of an operation of which some fields failed.
pub(crate) fn partial_body(data: &Value, errors: Vec<ServerError>, request_id: &RequestId) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        data: &'a Value,
        errors: Vec<ServerError>,
    }
    json(&Body { data, errors: stamped(errors, request_id) })
}

/// Gives every error its code and the id of the request.
///
/// Rooms' errors come coded through [`ApiError`]; what has no code was said by the library about an argument.
fn stamped(mut errors: Vec<ServerError>, request_id: &RequestId) -> Vec<ServerError> {
    for error in &mut errors {
        if error.extensions.as_ref().is_none_or(|extensions| extensions.get("code").is_none()) {
            set(error, "code", ErrorCode::BadUserInput.as_str());
        }
        set(error, "requestId", request_id.0.as_ref());
    }
    errors
}

fn set(error: &mut ServerError, name: &str, value: impl Into<Value>) {
    error.extensions.get_or_insert_with(ErrorExtensionValues::default).set(name, value);
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("values with text keys and finite numbers always serialise").into()
}
