//! The one outbound HTTP client.
//!
//! Owns what must hold for every request, whoever makes it: http and https only, allowed addresses only, bounded
//! bodies, bounded time, no proxy from the environment, and errors that repeat no secret. It knows no upstream, and it
//! tries nothing twice: that is the policy's business. A new kind of request is a method here.
//! `tests/outbound.rs` proves it against a server that misbehaves.

mod address;
mod detail;
mod reply;
mod wait;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Request, Response, redirect};
use thiserror::Error;
use url::Url;

pub use reply::Reply;
pub use wait::RateHint;

use self::{address::AddressRule, detail::Secrets};
use super::CallError;
use crate::{config::OutboundConfig, model::Clock};

/// As much of an error's body as may be looked at for its excerpt.
const ERROR_BODY_BYTES: usize = 4_096;

/// Why there is no outbound client.
#[derive(Debug, Error)]
#[error("the outbound HTTP client could not be built")]
pub struct OutboundError(#[from] reqwest::Error);

/// The one outbound HTTP client; clones share its connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: Client,
    /// Without a bound on the time of a whole request.
    streaming: Client,
    rule: AddressRule,
    max_body_bytes: usize,
    clock: Clock,
}

impl Outbound {
    /// A client with the limits of the configuration.
    pub fn new(config: &OutboundConfig, clock: Clock) -> Result<Self, OutboundError> {
        let rule = AddressRule::new(config);
        let builder = || {
            Client::builder()
                .user_agent(&config.user_agent)
                .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
                .redirect(redirects(rule, config.max_redirects))
                .dns_resolver(Arc::new(rule))
                .no_proxy()
                .referer(false)
                .gzip(true)
        };
        let client = builder().timeout(Duration::from_millis(config.request_timeout_ms)).build()?;
        let streaming = builder().build()?;
        Ok(Self { client, streaming, rule, max_body_bytes: config.max_body_bytes, clock })
    }

    /// Fetches `url`. A status other than 2xx is an error.
    pub async fn get(&self, url: Url, headers: HeaderMap) -> Result<Reply, CallError> {
        self.send(Method::GET, url, headers, None).await
    }

    /// Posts `body` to `url`; `headers` name its type. A status other than 2xx is an error.
    pub async fn post(&self, url: Url, headers: HeaderMap, body: Bytes) -> Result<Reply, CallError> {
        self.send(Method::POST, url, headers, Some(body)).await
    }

    /// The client for a library that speaks a protocol of streams over HTTP. Whoever uses it has asked [`permits`](Self::permits)
    /// before, and bounds the time and the size of each answer.
    #[must_use]
    pub fn streaming(&self) -> Client {
        self.streaming.clone()
    }

    /// Whether this may be asked: http or https, and no address that is not allowed. Names are looked at once more when they
    /// are resolved.
    pub fn permits(&self, url: &Url) -> Result<(), CallError> {
        let refused =
            |refused: address::Refused| CallError::Upstream { status: None, detail: refused.to_string().into() };
        self.rule.check(url).map_err(refused)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Reply, CallError> {
        self.permits(&url)?;
        let secrets = Secrets::of(&url, &headers);
        let mut request = Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let response = self.client.execute(request).await.map_err(|error| transport_error(&error, &secrets))?;
        if response.status().is_success() {
            return self.read(response, &secrets).await;
        }
        Err(self.status_error(response, &secrets).await)
    }

    async fn read(&self, mut response: Response, secrets: &Secrets) -> Result<Reply, CallError> {
        let limit = self.max_body_bytes;
        let too_large = || CallError::Decode { detail: format!("the body is larger than {limit} bytes").into() };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport_error(&error, secrets))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status().as_u16();
        Ok(Reply { status, headers: std::mem::take(response.headers_mut()), body: body.freeze() })
    }

    async fn status_error(&self, mut response: Response, secrets: &Secrets) -> CallError {
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return CallError::RateLimited { retry_after: wait::retry_after(response.headers(), self.clock.now()) };
        }
        let mut body = BytesMut::new();
        // A body that breaks off takes nothing away from the status.
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk[..chunk.len().min(ERROR_BODY_BYTES)]);
            if body.len() >= ERROR_BODY_BYTES {
                break;
            }
        }
        CallError::Upstream { status: Some(status.as_u16()), detail: secrets.excerpt(&body) }
    }
}

/// Follows redirects within one host only, because keys travel in headers that would be sent along, and never to a
/// weaker scheme.
fn redirects(rule: AddressRule, limit: usize) -> redirect::Policy {
    if limit == 0 {
        return redirect::Policy::none();
    }
    redirect::Policy::custom(move |attempt| {
        let (to, from) = (attempt.url(), attempt.previous().last());
        let stays = from.is_some_and(|from| {
            let upgrades = to.host() == from.host() && (from.scheme(), to.scheme()) == ("http", "https");
            to.origin() == from.origin() || upgrades
        });
        if attempt.previous().len() > limit || !stays || rule.check(to).is_err() {
            // The redirect itself becomes the answer, and so an error with its status.
            attempt.stop()
        } else {
            attempt.follow()
        }
    })
}

fn transport_error(error: &reqwest::Error, secrets: &Secrets) -> CallError {
    if error.is_timeout() {
        CallError::Timeout
    } else if error.is_decode() {
        CallError::Decode { detail: secrets.root_cause(error) }
    } else {
        CallError::Upstream { status: None, detail: secrets.root_cause(error) }
    }
}
