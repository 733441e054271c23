//! How a vendor is reached, and how numbers are read off the wire without a float. Sources and venues share it.

use http::HeaderMap;
use serde_json::value::RawValue;
use url::Url;

use crate::{
    model::{Clock, Decimal, Timestamp, parse_decimal},
    resilience::{CallError, CallKind, CallPolicy, Outbound, Reply},
};

/// The way to one vendor: its policy, the client, and the time.
pub(super) struct Line {
    pub(super) policy: CallPolicy,
    pub(super) outbound: Outbound,
    pub(super) clock: Clock,
}

impl Line {
    /// Fetches and reads an address under the vendor's policy.
    ///
    /// The answer is read inside the try, so that garbage counts against the breaker.
    pub(super) async fn fetch<T>(
        &self,
        url: &Url,
        headers: &HeaderMap,
        read: impl Fn(&Reply) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let read = &read;
        let attempt = || async move {
            let reply = self.outbound.get(url.clone(), headers.clone()).await?;
            if let Some(hint) = reply.rate_hint(self.clock.now()) {
                self.policy.heed(hint);
            }
            read(&reply)
        };
        self.policy.call(CallKind::Idempotent, attempt).await
    }
}

/// A JSON value as it was written.
pub(super) type Raw = Option<Box<RawValue>>;

/// `base` followed by `path`, whatever slashes `base` ends in.
pub(super) fn address(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// A JSON number, or a text that holds one, exactly.
///
/// What cannot be read is none, like `null`: one absurd coin must not cost the others of its batch.
pub(super) fn number(raw: &Raw) -> Option<Decimal> {
    let text = raw.as_deref()?.get();
    parse_decimal(text.trim_matches('"')).ok()
}

/// Seconds since 1970; a fraction is dropped.
pub(super) fn timestamp(raw: &Raw) -> Option<Timestamp> {
    let seconds = i64::try_from(number(raw)?.trunc()).ok()?;
    Timestamp::from_timestamp(seconds, 0)
}
