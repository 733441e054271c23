//! `/health`, `/ready` and `/metrics`: what machines ask about the server.

use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Front, refusal};

/// What `/metrics` answers.
#[derive(Clone)]
pub enum MetricsPage {
    /// 404: the operator does not want the page.
    Off,
    /// Prometheus text, rendered by this function.
    Prometheus(Arc<dyn Fn() -> String + Send + Sync>),
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Prometheus(_) => "Prometheus",
        })
    }
}

/// The process answers, which is all that a restart could improve.
pub(super) async fn live() -> Response {
    uncached(StatusCode::OK, &json!({"status": "ok"}))
}

/// Whether to send requests here: not while draining, and not before every required part is ready.
pub(super) async fn ready(State(front): State<Arc<Front>>) -> Response {
    let parts = front.readiness.states();
    let draining = front.shutdown.is_cancelled();
    let ready = !draining && parts.iter().all(|part| part.ready || !part.required);
    let (code, status) = match (ready, draining) {
        (true, _) => (StatusCode::OK, "ready"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    uncached(code, &json!({"status": status, "parts": parts}))
}

/// Every metric in Prometheus' text format.
pub(super) async fn metrics(State(front): State<Arc<Front>>, request: Request) -> Response {
    match &front.metrics {
        MetricsPage::Off => refusal::not_found(State(front), request).await,
        MetricsPage::Prometheus(render) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(CONTENT_TYPE, kind), (CACHE_CONTROL, HeaderValue::from_static("no-store"))], render()).into_response()
        }
    }
}

fn uncached(status: StatusCode, body: &serde_json::Value) -> Response {
    let kind = HeaderValue::from_static(refusal::JSON);
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (status, headers, Body::from(body.to_string())).into_response()
}
