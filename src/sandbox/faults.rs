//! What can be wrong with a vendor, on demand.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use serde::Deserialize;

use super::walk::Quote;
use crate::model::{AssetId, Decimal};

/// Something wrong with a vendor. As JSON: `{"fault": "hang"}`, `{"fault": "latency", "ms": 300}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// All is well.
    None,
    /// Answers are right, and late.
    Latency {
        /// By so many milliseconds.
        ms: u64,
    },
    /// 429 with a JSON body and `Retry-After`.
    RateLimitedJson {
        /// Seconds in `Retry-After`.
        retry_after: u64,
    },
    /// 429 with an HTML body and `Retry-After`, as a CDN answers.
    RateLimitedHtml {
        /// Seconds in `Retry-After`.
        retry_after: u64,
    },
    /// An error status with a short body.
    ServerError {
        /// The status, 400 to 599.
        status: u16,
    },
    /// 200 with a body that is no JSON.
    Garbage,
    /// The request is read and never answered.
    Hang,
    /// The connection breaks in the middle of the answer.
    Disconnect,
    /// Every price, or what a swap brings, is multiplied.
    Lie {
        /// By this factor.
        factor: Decimal,
    },
    /// A coin is absent from answers.
    MissingCoin {
        /// The coin.
        id: AssetId,
    },
    /// A coin is there without a price.
    NullPrice {
        /// The coin.
        id: AssetId,
    },
    /// A venue can fill no swap, and says so.
    NoLiquidity,
}

/// The switch for a vendor's faults; clones share it.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<Fault>>);

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Fault::None)))
    }
}

impl Faults {
    /// From now on, this is wrong; [`Fault::None`] heals.
    pub fn set(&self, fault: Fault) {
        *self.0.lock() = fault;
    }

    /// What is wrong now.
    #[must_use]
    pub fn current(&self) -> Fault {
        self.0.lock().clone()
    }
}

impl Fault {
    /// What the vendor says about a coin instead of `quote`: nothing at all, no price, or another price.
    pub(super) fn distort(&self, coin: &AssetId, quote: Quote) -> Option<(Option<Decimal>, Quote)> {
        match self {
            Self::MissingCoin { id } if id == coin => None,
            Self::NullPrice { id } if id == coin => Some((None, quote)),
            Self::Lie { factor } => Some((quote.amount.checked_mul(*factor), quote)),
            _ => Some((Some(quote.amount), quote)),
        }
    }

    /// The answer that goes out instead of, or around, the right one.
    pub(super) async fn apply(&self, right: String) -> Response {
        match self {
            Self::Latency { ms } => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                json(StatusCode::OK, right)
            }
            Self::RateLimitedJson { retry_after } => {
                let body = r#"{"status":{"error_code":429,"error_message":"You've exceeded the Rate Limit."}}"#;
                refused(json(StatusCode::TOO_MANY_REQUESTS, body), *retry_after)
            }
            Self::RateLimitedHtml { retry_after } => {
                let body = "<!DOCTYPE html><html><head><title>Too Many Requests</title></head></html>";
                let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
                refused((StatusCode::TOO_MANY_REQUESTS, html, body).into_response(), *retry_after)
            }
            Self::ServerError { status } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                json(status, r#"{"error":"simulated"}"#)
            }
            Self::Garbage => json(StatusCode::OK, "\u{1}<not json"),
            Self::Hang => std::future::pending().await,
            Self::Disconnect => {
                let half = Bytes::copy_from_slice(&right.as_bytes()[..right.len() / 2]);
                let broken = [Ok(half), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
                json(StatusCode::OK, Body::from_stream(stream::iter(broken)))
            }
            Self::None | Self::Lie { .. } | Self::MissingCoin { .. } | Self::NullPrice { .. } | Self::NoLiquidity => {
                json(StatusCode::OK, right)
            }
        }
    }
}

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.into()).into_response()
}

fn refused(mut response: Response, retry_after: u64) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
    response
}
