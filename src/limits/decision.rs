//! What is asked of the limiter, and what it answers.

use std::{sync::Arc, time::Duration};

/// At most `limit` within any `window`; a caller that was quiet for a window may use the whole limit at once.
///
/// Policies are few and come from the schema or from a room, never from a request. Those that differ in any field keep
/// separate accounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The name: a field's coordinate such as `Query.price`, or a room's own such as `auth.factor.subject`.
    pub name: Arc<str>,
    /// How much is allowed.
    pub limit: u32,
    /// In what time.
    pub window: Duration,
}

impl Policy {
    /// Whether it keeps secrets from being guessed, and not only load from the server.
    #[must_use]
    pub(super) fn guards_secrets(&self) -> bool {
        self.name.starts_with("auth.")
    }
}

/// A wish to use up some of a policy's limit, of whoever asks.
#[derive(Debug, Clone)]
pub struct Demand {
    /// Under which limit.
    pub policy: Policy,
    /// How much; 0 only asks where the account stands.
    pub cost: u32,
}

/// What the limiter says to the demands of one check, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Every demand was charged.
    Allowed {
        /// The accounts after the charge, each once, in the order of the demands.
        states: Vec<Standing>,
    },
    /// Nothing was charged.
    Refused {
        /// The first account that could not pay.
        standing: Standing,
        /// All accounts, each once, in the order of the demands.
        states: Vec<Standing>,
        /// After this time the same demands are admitted, if nobody else draws on the accounts meanwhile. A demand
        /// above its limit is never admitted: the time is then the policy's window, and `standing.quota` says why.
        retry_after: Duration,
    },
}

/// What is left of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The policy's name.
    pub name: Arc<str>,
    /// The policy's limit.
    pub quota: u32,
    /// The policy's window.
    pub window: Duration,
    /// What may be used at once.
    pub remaining: u32,
    /// The time until all of the quota is back.
    pub reset: Duration,
}
