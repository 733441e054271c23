//! Requests that the transport refuses before the gateway sees them, in the one shape that errors have.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::Response,
};

use super::{Front, arrival::Arrival};
use crate::{
    auth::AuthError,
    graphql::{ErrorCode, Gateway, RequestId},
};

/// A request that is refused at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: ErrorCode,
    message: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadUserInput, message)
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::InternalServerError, "internal server error")
    }

    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadUserInput, "the method is not allowed");
        refusal.with(ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) fn code(&self) -> ErrorCode {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The response, with `content_type` as what the caller would read.
    pub(super) fn respond(self, gateway: &Gateway, request_id: &RequestId, content_type: &'static str) -> Response {
        let answer = gateway.refuse(self.code, &self.message, request_id);
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.header);
        response
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        let later = match (error.is_temporary(), error.is_limited()) {
            (true, _) => Some((StatusCode::SERVICE_UNAVAILABLE, ErrorCode::UpstreamUnavailable)),
            (_, true) => Some((StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited)),
            _ => None,
        };
        if let Some((status, code)) = later {
            let refusal = Self::new(status, code, message);
            return match error.retry_after() {
                Some(wait) => refusal.with(RETRY_AFTER, HeaderValue::from(whole_seconds(wait))),
                None => refusal,
            };
        }
        let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message).with(WWW_AUTHENTICATE, challenge)
    }
}

/// Seconds for `Retry-After` and `RateLimit`: rounded up, because coming back too early is refused again.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Plain JSON, for refusals outside of GraphQL's own media type.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// The answer on paths that do not exist.
pub(super) async fn not_found(State(front): State<Arc<Front>>, request: Request) -> Response {
    let refusal = Refusal::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "there is nothing at this path");
    plainly(refusal, &front, &request)
}

/// The answer on paths that are only read.
pub(super) async fn method_not_allowed(State(front): State<Arc<Front>>, request: Request) -> Response {
    plainly(Refusal::method_not_allowed("GET, HEAD"), &front, &request)
}

fn plainly(refusal: Refusal, front: &Front, request: &Request) -> Response {
    let arrival = request.extensions().get::<Arrival>().expect("the middleware puts it into every request");
    refusal.respond(&front.gateway, &arrival.request_id, JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guessed_too_often_is_told_when_to_come_back() {
        let retry_after = Duration::from_millis(44_100);
        let refusal = Refusal::from(AuthError::TooManyApiKeys { retry_after });
        assert_eq!((refusal.status, refusal.code), (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited));
        assert_eq!(refusal.header, Some((RETRY_AFTER, HeaderValue::from(45))));
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
