//! CORS: what pages of other origins may send and read. Nothing, unless the configuration names them.

use std::time::Duration;

use axum::http::{
    HeaderName, HeaderValue, Method,
    header::{ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{arrival::REQUEST_ID, origin};

/// How long a browser may remember the answer to a preflight. Two hours is the most that browsers keep.
const PREFLIGHT_LIFETIME: Duration = Duration::from_hours(2);

/// The layer for the configured origins. Credentials are never allowed: tokens travel in a header, not in a cookie.
pub(super) fn layer(allowed: Vec<String>) -> CorsLayer {
    let origins = AllowOrigin::predicate(move |origin: &HeaderValue, _| origin::is_listed(origin, &allowed));
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([
            ACCEPT,
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            REQUEST_ID,
            HeaderName::from_static("apollo-require-preflight"),
            HeaderName::from_static("graphql-require-preflight"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("x-apollo-operation-name"),
        ])
        .expose_headers([
            AGE,
            CACHE_CONTROL,
            ETAG,
            RETRY_AFTER,
            REQUEST_ID,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
        ])
        .max_age(PREFLIGHT_LIFETIME)
}
