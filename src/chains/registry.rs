//! The chains that there are.

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ChainError,
    chain::{Chain, Memory},
    network::{Network, Networks},
    rpc::RpcParts,
};
use crate::{
    cache::{CacheSettings, Tags},
    config::ChainsConfig,
    model::{ChainId, Chance, Clock},
    resilience::{Outbound, Upstreams},
};

/// What [`Chains`] are made of.
pub struct ChainParts {
    /// Where endpoints are registered.
    pub upstreams: Upstreams,
    /// How they are called.
    pub outbound: Outbound,
    /// How what they said is kept.
    pub cache: CacheSettings,
    /// By which it is invalidated.
    pub tags: Tags,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Keeps the background work.
    pub tasks: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
}

/// All chains that have an endpoint; by default none. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Chains(Arc<BTreeMap<ChainId, Chain>>);

impl Chains {
    /// Knows the chains that the configuration gives endpoints. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(config: &ChainsConfig, parts: ChainParts) -> Self {
        let ChainParts { upstreams, outbound, cache, tags, clock, chance, tasks, stop } = parts;
        let memory = Memory::new(&cache, &tags, &clock, &chance);
        let parts = RpcParts { upstreams, outbound, clock: clock.clone(), tasks, stop };
        let networks = Networks::new(&config.networks);
        let mut chains = BTreeMap::new();
        for entry in &config.endpoints {
            let Some(network) = networks.find(&entry.chain) else {
                tracing::error!(chain = %entry.chain, "chains.endpoints names a chain that is unknown and not in chains.networks");
                continue;
            };
            let simulated = config.simulated.iter().any(|id| id == entry.chain.as_str());
            let network = Network { simulated, ..network };
            chains.entry(entry.chain.clone()).or_insert_with(|| Chain::new(network, config, &parts, &memory));
        }
        Self(Arc::new(chains))
    }

    /// All of them, by id.
    pub fn list(&self) -> impl Iterator<Item = &Chain> {
        self.0.values()
    }

    /// One of them.
    pub fn find(&self, id: &str) -> Result<&Chain, ChainError> {
        self.0.get(id).ok_or_else(|| ChainError::UnknownChain {
            id: id.chars().take(64).collect(),
            known: self.0.keys().map(ChainId::as_str).collect::<Vec<_>>().join(", "),
        })
    }
}
