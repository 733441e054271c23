//! What limits do while the shared accounts cannot be asked, and the word that is said about it.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use super::{Policy, accounts::Terms};
use crate::{
    config::{LimitsConfig, OnOutage},
    store::RedisError,
};

/// How long every decision must have been shared again before the outage is called over: a store that answers now and
/// then is one outage, and one line in the log.
const CALM: Duration = Duration::from_secs(1);

/// What each limit does.
#[derive(Debug)]
pub(super) struct Outages {
    rule: OnOutage,
    exceptions: HashMap<String, OnOutage>,
    /// The age of the limiter at the last failure, while there is an outage.
    last_failure: Mutex<Option<Duration>>,
}

impl Outages {
    pub(super) fn new(config: &LimitsConfig) -> Self {
        let exceptions = config.on_outage_overrides.iter().map(|to| (to.policy.clone(), to.on_outage));
        Self { rule: config.on_outage, exceptions: exceptions.collect(), last_failure: Mutex::default() }
    }

    /// How one of `nodes` keeps a limit by itself.
    pub(super) fn terms(&self, policy: &Policy, nodes: u32) -> Terms {
        match self.exceptions.get(&*policy.name).unwrap_or(&self.rule) {
            OnOutage::Local => Terms::Share(nodes),
            // What is opened for the sake of callers must not let anybody guess.
            OnOutage::Open if policy.guards_secrets() => Terms::Share(nodes),
            OnOutage::Open => Terms::Open,
            OnOutage::Closed => Terms::Closed,
        }
    }

    /// A decision could not be shared.
    pub(super) fn failed(&self, error: &RedisError, elapsed: Duration) {
        if self.last_failure.lock().replace(elapsed).is_none() {
            tracing::warn!(%error, "limits fall back to this node");
        }
    }

    /// A decision was shared.
    pub(super) fn shared(&self, elapsed: Duration) {
        let mut last = self.last_failure.lock();
        if last.take_if(|last| elapsed.saturating_sub(*last) >= CALM).is_some() {
            drop(last);
            tracing::info!("limits are shared again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_during_an_outage_lets_nobody_guess() {
        let mut config = LimitsConfig::defaults();
        config.on_outage = OnOutage::Open;
        let outages = Outages::new(&config);
        for (name, expected) in [("Query.price", Terms::Open), ("auth.factor.subject", Terms::Share(3))] {
            let policy = Policy { name: name.into(), limit: 5, window: Duration::from_mins(15) };
            assert_eq!(outages.terms(&policy, 3), expected, "{name}");
        }
    }
}
