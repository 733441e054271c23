//! Who may ask how much: GCRA limits, weighed by cost, exact to the nanosecond.
//!
//! Owns every caller's account under every policy. It must never admit a part of what was asked for: a refused check
//! charges nothing. It does not know what a policy is for; the callers name them.
//! A further backend is a variant of `Backend` in `limiter.rs` and a file beside `local.rs`.
//! The promises are tested in `tests.rs`, the bounds on memory in `ledger.rs`.

mod decision;
mod gcra;
mod key;
mod ledger;
mod limiter;
mod local;
#[cfg(test)]
mod tests;

pub use decision::{Decision, Demand, Policy, Standing};
pub use key::LimitKey;
pub use limiter::Limiter;
