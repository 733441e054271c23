//! The status of an answer: one table, after the GraphQL-over-HTTP specification.

use axum::http::StatusCode;

use super::negotiate::Representation;
use crate::graphql::{ErrorCode, Outcome};

/// How `outcome` is told to a caller that wants `representation`.
pub(super) fn status_of(outcome: Outcome, representation: Representation) -> StatusCode {
    match outcome {
        Outcome::Executed => StatusCode::OK,
        Outcome::MutationNotPermitted => StatusCode::METHOD_NOT_ALLOWED,
        Outcome::SubscriptionNotPermitted => StatusCode::BAD_REQUEST,
        Outcome::Refused(code) => match (refused(code), representation) {
            // Plain JSON is for clients that take any other status for a broken network. Our own faults keep theirs:
            // load balancers and alarms look at nothing else.
            (status, Representation::Json) if status.is_client_error() => StatusCode::OK,
            (status, _) => status,
        },
    }
}

fn refused(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::GraphqlParseFailed
        | ErrorCode::GraphqlValidationFailed
        | ErrorCode::BadUserInput
        | ErrorCode::OperationTooComplex
        | ErrorCode::PersistedQueryNotSupported => StatusCode::BAD_REQUEST,
        // 200, as in Apollo's protocol: asking by hash first is not an error, and proxies count 4xx as such.
        ErrorCode::PersistedQueryNotFound => StatusCode::OK,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::UpstreamUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_json_hides_refusals_but_not_faults() {
        for (outcome, response, json) in [
            (Outcome::Executed, 200, 200),
            (Outcome::MutationNotPermitted, 405, 405),
            (Outcome::SubscriptionNotPermitted, 400, 400),
            (Outcome::Refused(ErrorCode::GraphqlParseFailed), 400, 200),
            (Outcome::Refused(ErrorCode::Unauthenticated), 401, 200),
            (Outcome::Refused(ErrorCode::Forbidden), 403, 200),
            (Outcome::Refused(ErrorCode::RateLimited), 429, 200),
            (Outcome::Refused(ErrorCode::PersistedQueryNotFound), 200, 200),
            (Outcome::Refused(ErrorCode::Timeout), 504, 504),
            (Outcome::Refused(ErrorCode::UpstreamUnavailable), 503, 503),
            (Outcome::Refused(ErrorCode::InternalServerError), 500, 500),
        ] {
            assert_eq!(status_of(outcome, Representation::GraphqlResponse).as_u16(), response, "{outcome:?}");
            assert_eq!(status_of(outcome, Representation::Json).as_u16(), json, "{outcome:?}");
        }
    }
}
