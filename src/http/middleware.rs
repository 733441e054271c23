//! What happens around every request, in an order that is written here and nowhere else.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, Method, StatusCode, Version,
        header::{CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    },
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    Front,
    arrival::{Arrival, REQUEST_ID},
    cors,
    meters::{RequestMeters, Route},
    refusal::{JSON, Refusal},
};

/// For everything but GraphiQL, whose files bring their own policy.
const NOTHING_TO_LOAD: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

struct Around {
    front: Arc<Front>,
    meters: RequestMeters,
}

/// Wraps the router. CORS is inside the rest so that its preflight answers are counted, logged and carry an id.
pub(super) fn around(router: Router<Arc<Front>>, front: &Arc<Front>) -> Router<Arc<Front>> {
    let allowed = &front.config.allowed_origins;
    let router = if allowed.is_empty() { router } else { router.layer(cors::layer(allowed.clone())) };
    let around = Arc::new(Around { front: Arc::clone(front), meters: RequestMeters::default() });
    router.layer(from_fn_with_state(around, pass))
}

/// One function instead of a layer per concern: each layer would box a future on the hottest path.
async fn pass(State(around): State<Arc<Around>>, mut request: Request, next: Next) -> Response {
    let front = &around.front;
    let started = front.clock.instant();

    // The id and the address come first: everything after this line can fail and wants to name them.
    let arrival = Arrival::of(&request, front);
    request.extensions_mut().insert(arrival.clone());
    let method = request.method().clone();
    let route = Route::of(request.uri().path());

    // Panics are caught inside of log and metrics, which would otherwise not see the requests that matter most.
    let mut response = if is_addressed(&request) {
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => after_panic(front, &arrival, panic.as_ref()),
        }
    } else {
        let refusal = Refusal::bad_request("a request of HTTP/1.1 must have one Host header");
        refusal.respond(&front.gateway, &arrival.request_id, JSON)
    };

    secure(&mut response);
    response.headers_mut().insert(REQUEST_ID, id_header(&arrival));
    around.record(started, &arrival, &method, route, response.status());
    response
}

/// RFC 9112, 3.2: without a `Host`, or with several, servers on the way may differ about whom a request is for.
fn is_addressed(request: &Request) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

impl Around {
    /// The access log and the request metrics: last, when the status is final.
    fn record(&self, started: Instant, arrival: &Arrival, method: &Method, route: Route, status: StatusCode) {
        let elapsed = self.front.clock.instant().duration_since(started);
        self.meters.record(route, method, status, elapsed.as_secs_f64());
        let (route_label, status, duration_ms) =
            (route.label(), status.as_u16(), (elapsed.as_secs_f64() * 1e6).round() / 1e3);
        let Arrival { request_id, origin } = arrival;
        if route.is_probe() {
            tracing::debug!(%method, route = route_label, status, duration_ms, client = %origin.address, %request_id, "answered");
        } else {
            tracing::info!(%method, route = route_label, status, duration_ms, client = %origin.address, %request_id, "answered");
        }
    }
}

fn after_panic(front: &Front, arrival: &Arrival, panic: &(dyn Any + Send)) -> Response {
    tracing::error!(request_id = %arrival.request_id, panic = panic_message(panic), "a request panicked");
    Refusal::internal().respond(&front.gateway, &arrival.request_id, JSON)
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, value);
    }
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING_TO_LOAD);
}

fn id_header(arrival: &Arrival) -> HeaderValue {
    HeaderValue::from_str(&arrival.request_id.0).expect("ids are made of letters, digits and -_.")
}
