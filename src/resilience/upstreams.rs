//! The registry of upstreams and their states: what operators see and steer.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::broadcast;

use super::{CallPolicy, Forced, PolicyOptions, UpstreamEvent, UpstreamStatus, events::Events};
use crate::{
    config::ResilienceConfig,
    model::{Chance, Clock},
};

/// The registry of upstreams and their states; clones share it.
#[derive(Debug, Clone)]
pub struct Upstreams(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    clock: Clock,
    chance: Chance,
    defaults: PolicyOptions,
    events: Events,
    policies: RwLock<BTreeMap<Arc<str>, CallPolicy>>,
}

impl Upstreams {
    /// An empty registry. Metrics must have been set up before upstreams are registered.
    #[must_use]
    pub fn new(clock: Clock, chance: Chance, config: &ResilienceConfig) -> Self {
        let policies = RwLock::default();
        Self(Arc::new(Registry { clock, chance, defaults: config.into(), events: Events::new(), policies }))
    }

    /// The options that the configuration gives every upstream.
    #[must_use]
    pub fn defaults(&self) -> PolicyOptions {
        self.0.defaults.clone()
    }

    /// Names an upstream and says how it is called.
    ///
    /// A name belongs to whoever registers it first: later registrations get the same policy, so that two
    /// adapters of one upstream share its breaker.
    pub fn register(&self, name: impl Into<Arc<str>>, options: PolicyOptions) -> CallPolicy {
        let name = name.into();
        let registry = &*self.0;
        let new_policy = || {
            let (clock, chance, events) = (registry.clock.clone(), registry.chance.clone(), registry.events.clone());
            CallPolicy::new(Arc::clone(&name), options, clock, chance, events)
        };
        registry.policies.write().entry(Arc::clone(&name)).or_insert_with(new_policy).clone()
    }

    /// Forgets an upstream that is not called any more. Calls that are under way end under its policy.
    pub fn remove(&self, name: &str) {
        self.0.policies.write().remove(name);
    }

    /// Every upstream, by name.
    #[must_use]
    pub fn list(&self) -> Vec<UpstreamStatus> {
        self.0.policies.read().values().map(CallPolicy::status).collect()
    }

    /// One upstream, if it is registered.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<UpstreamStatus> {
        self.policy(name).map(|policy| policy.status())
    }

    /// Refuses every call to an upstream until it is reset.
    #[must_use = "nothing happens to a name that is not registered"]
    pub fn force_open(&self, name: &str) -> Option<UpstreamStatus> {
        self.steer(name, |policy| policy.force(Forced::Open))
    }

    /// Lets every call to an upstream through until it is reset.
    #[must_use = "nothing happens to a name that is not registered"]
    pub fn force_close(&self, name: &str) -> Option<UpstreamStatus> {
        self.steer(name, |policy| policy.force(Forced::Closed))
    }

    /// Ends what was forced; the breaker starts afresh, closed.
    #[must_use = "nothing happens to a name that is not registered"]
    pub fn reset(&self, name: &str) -> Option<UpstreamStatus> {
        self.steer(name, CallPolicy::reset)
    }

    /// Listens to every breaker. A listener that is slow is told how many events it missed.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<UpstreamEvent> {
        self.0.events.subscribe()
    }

    fn steer(&self, name: &str, change: impl FnOnce(&CallPolicy)) -> Option<UpstreamStatus> {
        let policy = self.policy(name)?;
        change(&policy);
        Some(policy.status())
    }

    fn policy(&self, name: &str) -> Option<CallPolicy> {
        self.0.policies.read().get(name).cloned()
    }
}
