//! How we call others: every call to an upstream goes through a [`CallPolicy`], every HTTP request through [`Outbound`].
//!
//! Owns the breaker, the retry budget, the bulkhead, the pace, the one outbound HTTP client and the registry of
//! upstreams. It must never know what an upstream means: no price, no chain, no token is named here.
//! A new guard in front of upstreams is a file of its own and one line in `policy.rs`, where the order is written.
//! The promises are tested in `tests/`, one file per subject.

mod breaker;
mod bulkhead;
mod error;
mod events;
mod gate;
mod herald;
mod latency;
mod ledger;
mod meters;
mod options;
mod outbound;
mod policy;
mod retry;
mod status;
#[cfg(test)]
mod tests;
mod throttle;
mod upstreams;
mod window;

pub use breaker::Breaker;
pub use error::CallError;
pub use events::{BreakerEvent, UpstreamEvent};
pub use options::{BreakerOptions, PolicyOptions, RetryOptions, ThrottleOptions};
pub use outbound::{Outbound, OutboundError, RateHint, Reply};
pub use policy::{CallKind, CallPolicy};
pub use retry::RetryBudget;
pub use status::{BreakerState, Counts, Forced, LastError, Latency, UpstreamStatus};
pub use upstreams::Upstreams;
