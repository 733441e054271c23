//! `/graphiql`: the page built in `web/`, embedded in the binary so that it needs no network.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use rust_embed::RustEmbed;
use serde_json::json;
use tower_http::compression::CompressionLayer;

use super::{Front, refusal};
use crate::config::Secret;

/// What the page is told at `/graphiql/settings.json`.
#[derive(Debug, Clone, Default)]
pub struct GraphiqlSettings {
    /// Tokens to choose from. Only the sandbox has any: whoever opens the page gets them.
    pub tokens: Vec<DevelopmentToken>,
    /// The document in the editor when the page is opened first.
    pub default_query: String,
}

/// A token that the page offers.
#[derive(Debug, Clone)]
pub struct DevelopmentToken {
    /// What the page calls it, as in `USER alice`.
    pub label: String,
    /// The token itself.
    pub token: Secret,
}

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Page;

/// Scripts, styles and fonts of the page come from here; its editor starts workers from blobs.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; \
     img-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'",
);

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tidegate</title>\
    <h1>GraphiQL is not in this build</h1>\
    <p>Run <code>make web</code> (it needs npm), build again, and this page is the editor.</p>\
    <p>The endpoint itself works: send queries to <code>/graphql</code>.</p></html>";

/// The paths of the page, added to the router when the configuration turns it on.
pub(super) fn routes() -> Router<Arc<Front>> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/graphiql")))
        .route("/graphiql", get(index))
        .route("/graphiql/", get(index))
        .route("/graphiql/settings.json", get(settings))
        .route("/graphiql/{*path}", get(file))
        .method_not_allowed_fallback(refusal::method_not_allowed)
        // The editor's script is megabytes. Answers of `/graphql` are left to the proxy: their ETag is of the bytes.
        .layer(CompressionLayer::new())
}

async fn index(headers: HeaderMap) -> Response {
    let Some(page) = Page::get("index.html") else {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        return (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, kind)], NOT_BUILT).into_response();
    };
    // The page names its hashed assets, so it must be asked for anew after an upgrade.
    embedded(page, &headers, "no-cache")
}

async fn file(Path(path): Path<String>, State(front): State<Arc<Front>>, request: Request) -> Response {
    match Page::get(&path) {
        Some(file) if path.starts_with("assets/") => {
            embedded(file, request.headers(), "public, max-age=31536000, immutable")
        }
        Some(file) => embedded(file, request.headers(), "no-cache"),
        None => refusal::not_found(State(front), request).await,
    }
}

fn embedded(file: rust_embed::EmbeddedFile, asked: &HeaderMap, cache_control: &'static str) -> Response {
    let hash = u128::from_be_bytes(*file.metadata.sha256_hash().first_chunk().expect("a hash has 32 bytes"));
    // Weak, because compression changes the bytes on the way.
    let tag = HeaderValue::try_from(format!("W/\"{hash:032x}\"")).expect("hexadecimal digits in quotes");
    let kind = HeaderValue::from_str(&content_type(file.metadata.mimetype())).expect("MIME types are plain text");
    let headers = [
        (ETAG, tag.clone()),
        (CACHE_CONTROL, HeaderValue::from_static(cache_control)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CONTENT_TYPE, kind),
    ];
    if asked.get(IF_NONE_MATCH) == Some(&tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let body = match file.data {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    (headers, body).into_response()
}

fn content_type(guessed: &str) -> Cow<'_, str> {
    let is_text = guessed.starts_with("text/") && !guessed.contains("charset");
    if is_text { Cow::Owned(format!("{guessed}; charset=utf-8")) } else { Cow::Borrowed(guessed) }
}

async fn settings(State(front): State<Arc<Front>>) -> Response {
    let tokens = front.graphiql.tokens.iter();
    let tokens: Vec<_> = tokens.map(|offer| json!({"label": offer.label, "token": offer.token.expose()})).collect();
    let settings = json!({
        "endpoint": "/graphql",
        "subscriptionUrl": "/graphql",
        "tokens": tokens,
        "defaultQuery": front.graphiql.default_query,
    });
    let kind = HeaderValue::from_static(refusal::JSON);
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, settings.to_string()).into_response()
}
