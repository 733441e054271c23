//! The room's door.

use std::sync::Arc;

use super::{Decision, Demand, local::Local};
use crate::{config::LimitsConfig, model::Clock};

/// Decides who may go on. Clones are handles to the same accounts.
#[derive(Debug, Clone)]
pub struct Limiter(Backend);

#[derive(Debug, Clone)]
enum Backend {
    /// The accounts are kept in this process.
    Local(Arc<Local>),
}

impl Limiter {
    /// A limiter whose accounts are full and kept in this process.
    #[must_use]
    pub fn new(clock: Clock, config: &LimitsConfig) -> Self {
        Self(Backend::Local(Arc::new(Local::new(clock, config))))
    }

    /// Charges all demands, or none of them. Demands on the same account are added up first.
    #[expect(clippy::unused_async, reason = "accounts that nodes share are a network call away")]
    pub async fn check(&self, demands: &[Demand]) -> Decision {
        match &self.0 {
            Backend::Local(local) => local.check(demands),
        }
    }
}
