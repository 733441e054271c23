//! `/graphql`: one path for POST, GET, WebSocket and event streams.
//!
//! Owns the way from a request's bytes to a [`GraphqlRequest`] and from an [`Answer`] to a response. It never looks into
//! a document. The order of the checks is the order in which they are cheap.

mod envelope;
mod negotiate;
mod respond;
mod status;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{ALLOW, AUTHORIZATION, CONTENT_TYPE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use envelope::Payload;
pub(super) use envelope::request_of;
use negotiate::Representation;

use super::{Front, arrival::Arrival, body, refusal::Refusal, sse, ws};
use crate::{
    config::Secret,
    graphql::{Answer, Caller, ErrorCode, GraphqlRequest, Permit},
    model::Principal,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const STEP_UP_TOKEN: HeaderName = HeaderName::from_static("x-step-up-token");

const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Answers every method of `/graphql`.
pub(super) async fn handle(State(front): State<Arc<Front>>, request: Request) -> Response {
    let arrival = request.extensions().get::<Arrival>().cloned().expect("the middleware puts it into every request");
    let (parts, mut body) = request.into_parts();
    let wanted = negotiate::representation(&parts.headers);
    let exchange =
        Exchange { front: &front, arrival: &arrival, representation: wanted.unwrap_or(Representation::Json) };
    let result = if ws::is_upgrade(&parts.headers) {
        ws::upgrade(&front, &arrival, parts).await
    } else if parts.method == Method::OPTIONS {
        Ok((StatusCode::NO_CONTENT, [(ALLOW, HeaderValue::from_static(METHODS))]).into_response())
    } else if wanted.is_none() {
        Err(not_acceptable())
    } else {
        exchange.answer(&parts, &mut body).await
    };
    match result {
        Ok(response) => response,
        Err(refusal) => {
            body::discard(&mut body, &front.shutdown).await;
            refusal.respond(&front.gateway, &arrival.request_id, exchange.representation.error_content_type())
        }
    }
}

/// One request on its way through.
struct Exchange<'a> {
    front: &'a Arc<Front>,
    arrival: &'a Arrival,
    representation: Representation,
}

impl Exchange<'_> {
    async fn answer(&self, parts: &Parts, body: &mut Body) -> Result<Response, Refusal> {
        let patience = Duration::from_millis(self.front.config.request_timeout_ms);
        let deadline = self.front.clock.instant() + patience;
        match parts.method {
            // No CSRF check: a GET changes nothing, a foreign page cannot read the answer, and the token that would
            // make it worth reading is in a header that a foreign page cannot send. docs/http.md has the long form.
            Method::GET | Method::HEAD => {
                let caller = self.caller(&parts.headers).await?;
                let request = envelope::decode_query(parts.uri.query().unwrap_or_default())?;
                self.one(request, &caller, Permit::Queries, deadline, parts).await
            }
            Method::POST => {
                // Nothing but JSON: a foreign page cannot send this content type without asking first by CORS.
                if !is_json(&parts.headers) {
                    return Err(unsupported_media_type());
                }
                let caller = self.caller(&parts.headers).await?;
                let Front { config, shutdown, .. } = &**self.front;
                let bytes = body::read(body, &parts.headers, config.max_body_bytes, deadline, shutdown).await?;
                match envelope::decode_body(&bytes, self.front.config.max_batch_operations)? {
                    Payload::One(mut request) => {
                        drop(bytes);
                        take_headers(&mut request, &parts.headers)?;
                        self.one(request, &caller, Permit::QueriesAndMutations, deadline, parts).await
                    }
                    Payload::Batch(mut requests) => {
                        if parts.headers.contains_key(&IDEMPOTENCY_KEY) {
                            return Err(Refusal::bad_request(
                                "operations of a batch need keys of their own, as `extensions.idempotencyKey`",
                            ));
                        }
                        for request in &mut requests {
                            take_headers(request, &parts.headers)?;
                        }
                        self.batch(requests, &caller, deadline).await
                    }
                }
            }
            _ => Err(Refusal::method_not_allowed(METHODS)),
        }
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        Ok(self.arrival.caller(principal(self.front, self.arrival, headers).await?))
    }

    async fn one(
        &self,
        request: GraphqlRequest,
        caller: &Caller,
        permit: Permit,
        deadline: Instant,
        parts: &Parts,
    ) -> Result<Response, Refusal> {
        if self.representation == Representation::EventStream {
            let started = timeout_at(deadline, self.front.gateway.stream(request, caller, permit)).await;
            return Ok(match started.map_err(|_| timed_out())? {
                Ok(frames) => sse::respond(self.front, self.arrival, frames, caller.principal.as_ref()),
                Err(answer) => respond::single(answer, Representation::GraphqlResponse, parts),
            });
        }
        let answer = self.execute(request, caller, permit, deadline).await?;
        Ok(respond::single(answer, self.representation, parts))
    }

    async fn batch(
        &self,
        requests: Vec<GraphqlRequest>,
        caller: &Caller,
        deadline: Instant,
    ) -> Result<Response, Refusal> {
        if self.representation == Representation::EventStream {
            return Err(Refusal::bad_request("a batch cannot be answered with an event stream"));
        }
        let permit = Permit::QueriesAndMutations;
        let answers = requests.into_iter().map(|request| self.execute(request, caller, permit, deadline));
        let answers = join_all(answers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(respond::batch(&answers, self.representation))
    }

    async fn execute(
        &self,
        request: GraphqlRequest,
        caller: &Caller,
        permit: Permit,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let answer = timeout_at(deadline, self.front.gateway.execute(request, caller, permit)).await;
        answer.map_err(|_| timed_out())
    }
}

/// Headers that stand for extensions of the request, which win over them.
pub(super) fn take_headers(request: &mut GraphqlRequest, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &HeaderName| {
        let value = headers.get(name).map(|value| value.to_str().map(str::to_owned)).transpose();
        value.map_err(|_| Refusal::bad_request(format!("the header {name} must be visible ASCII")))
    };
    if request.idempotency_key.is_none() {
        request.idempotency_key = text(&IDEMPOTENCY_KEY)?;
    }
    if request.step_up.is_none() {
        request.step_up = text(&STEP_UP_TOKEN)?.map(Secret::from);
    }
    Ok(())
}

/// Who the `Authorization` header says is asking. A token that is not good refuses the request, also where none was
/// needed: its sender believes to be signed in.
pub(super) async fn principal(
    front: &Front,
    arrival: &Arrival,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Refusal> {
    // Bytes that are no text become an empty token, which the authenticator refuses in its own words.
    let header = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    Ok(front.authenticator.authenticate_from(header, arrival.origin.address).await?)
}

/// `application/json`, in UTF-8 or without saying.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

fn not_acceptable() -> Refusal {
    let message = "none of the accepted media types is served; use application/graphql-response+json";
    Refusal::new(StatusCode::NOT_ACCEPTABLE, ErrorCode::BadUserInput, message)
}

pub(super) fn unsupported_media_type() -> Refusal {
    let message = "the content type must be application/json in UTF-8";
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadUserInput, message)
}

pub(super) fn timed_out() -> Refusal {
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, ErrorCode::Timeout, "the request took too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_read() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=iso-8859-1", false),
            ("application/json; profile=x", true),
            ("application/graphql", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(is_json(&headers), expected, "{content_type:?}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
