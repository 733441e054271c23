//! What an upstream answered.

use bytes::Bytes;
use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{
    detail::clip,
    wait::{RateHint, rate_hint},
};
use crate::{model::Timestamp, resilience::CallError};

/// A complete answer with a 2xx status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status, 200 to 299.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, decompressed.
    pub body: Bytes,
}

impl Reply {
    /// Reads the body as JSON.
    ///
    /// Amounts must be read as text (`serde_json::value::RawValue`), as JSON numbers may become floats.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| CallError::Decode { detail: clip(&error.to_string()) })
    }

    /// What the rate headers allow at `now`, for [`CallPolicy::heed`](crate::resilience::CallPolicy::heed).
    #[must_use]
    pub fn rate_hint(&self, now: Timestamp) -> Option<RateHint> {
        rate_hint(&self.headers, now)
    }
}
