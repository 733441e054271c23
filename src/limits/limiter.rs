//! The room's door.

use std::sync::Arc;

use super::redis::Shared;
use super::{Caller, Decision, Demand, local::Local};
use crate::{config::LimitsConfig, model::Clock, store::Redis};

/// Decides who may go on. Clones are handles to the same accounts.
#[derive(Debug, Clone)]
pub struct Limiter(Backend);

#[derive(Debug, Clone)]
enum Backend {
    /// The accounts are kept in this process.
    Local(Arc<Local>),
    /// The accounts are kept in Redis, and are those of all nodes.
    Redis(Arc<Shared>),
}

impl Limiter {
    /// A limiter whose accounts are full and kept in this process.
    #[must_use]
    pub fn new(clock: Clock, config: &LimitsConfig) -> Self {
        Self(Backend::Local(Arc::new(Local::new(clock, config))))
    }

    /// A limiter whose accounts are those of all nodes that share `redis`. It decides within
    /// `limits.redis_deadline_ms`, with Redis or without it.
    #[must_use]
    pub fn shared(clock: Clock, config: &LimitsConfig, redis: Redis) -> Self {
        Self(Backend::Redis(Arc::new(Shared::new(clock, config, redis))))
    }

    /// Charges all demands of the caller, or none of them. Demands under the same policy are added up first.
    pub async fn check(&self, caller: &Caller, demands: &[Demand]) -> Decision {
        match &self.0 {
            Backend::Local(local) => local.check(caller, demands),
            Backend::Redis(shared) => shared.check(caller, demands).await,
        }
    }
}
