//! The limiter within one process, which knows all there is to know.

use std::{fmt, time::Duration};

use super::{
    Caller, Decision, Demand,
    accounts::{Accounts, Terms},
    gcra::Gcra,
};
use crate::{
    config::LimitsConfig,
    model::{Clock, Instant},
};

/// The accounts of this process.
pub(super) struct Local {
    clock: Clock,
    began: Instant,
    accounts: Accounts,
}

impl Local {
    pub(super) fn new(clock: Clock, config: &LimitsConfig) -> Self {
        Self { began: clock.instant(), clock, accounts: Accounts::new(config, Gcra::exact) }
    }

    pub(super) fn check(&self, caller: &Caller, demands: &[Demand]) -> Decision {
        let draws = self.accounts.draws(caller, demands);
        self.accounts.decide(&draws, |_| Terms::Share(1), || self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.began)
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.accounts).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use chrono::DateTime;

    use super::*;
    use crate::limits::Policy;

    fn local() -> Local {
        Local::new(Clock::stepped_from(DateTime::UNIX_EPOCH), &LimitsConfig::defaults())
    }

    /// Asks for `cost` of 10 in 10 seconds.
    fn ask(local: &Local, caller: u32, name: &str, cost: u32) {
        let policy = Policy { name: name.into(), limit: 10, window: Duration::from_secs(10) };
        local.check(&Caller::new(None, Ipv4Addr::from_bits(caller).into()), &[Demand { policy, cost }]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_forgotten_by_whatever_is_asked_afterwards() {
        let local = local();
        for caller in 0..5_000 {
            ask(&local, caller, "Query.flooded", 1);
        }
        assert_eq!(local.accounts.len(), 5_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..=5_000 / 16 {
            ask(&local, 0, "Query.other", 1);
        }
        assert_eq!(local.accounts.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_not_remembered() {
        let local = local();
        for caller in 0..100 {
            ask(&local, caller, "Query.price", 11);
        }
        assert_eq!(local.accounts.len(), 0);
    }
}
