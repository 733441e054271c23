//! Who may ask how much: GCRA limits, weighed by cost, exact to the nanosecond.
//!
//! Owns every caller's account under every policy. It must never admit a part of what was asked for: a refused check
//! charges nothing. It does not know what a policy is for; the callers name them.
//! A further backend is a variant of `Backend` in `limiter.rs` and a file beside `local.rs` and `redis.rs`; how accounts
//! are added up and decided is `accounts.rs`, the same for all.
//! The promises are tested in `tests.rs`, the bounds on memory in `ledger.rs`, that backends decide alike in
//! `accounts.rs`, and Redis with its faults in `tests/it/limits_*.rs`.

mod accounts;
mod decision;
mod gcra;
mod key;
mod ledger;
mod limiter;
mod local;
mod outage;
mod redis;
mod server_clock;
#[cfg(test)]
mod tests;

pub use decision::{Decision, Demand, Policy, Standing};
pub use key::Caller;
pub use limiter::Limiter;
