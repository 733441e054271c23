//! Stand-ins for the upstreams: loopback servers that speak the vendors' documented formats over simulated prices, and
//! nodes of chains over simulated blocks.
//!
//! Everything here is make-believe and says so: sources, venues and chains that point here mark what they say as simulated.
//! Nothing of this room may be reached by `serve`. The next vendor is a file here and a variant of [`Vendor`].
//! `tests/` reads the stand-ins through the real rooms.

mod base58;
mod blocks;
mod coinbase;
mod coingecko;
mod control;
mod defillama;
mod evm_node;
mod exchange;
mod faults;
mod given;
mod holdings;
mod jsonrpc;
mod jupiter;
mod own_tools;
mod solana_node;
#[cfg(test)]
mod tests;
mod vendor;
mod walk;
mod zero_ex;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::Router;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use self::{
    blocks::Blocks, evm_node::EvmNode, holdings::Holdings, solana_node::SolanaNode, vendor::Stand, walk::Walks,
};
pub use self::{
    faults::{Fault, Faults},
    given::{GivenError, take_given},
    own_tools::{write_documents, write_servers},
};
use crate::{
    config::{ChainsConfig, EndpointEntry, MarketConfig},
    market::Catalogue,
    model::{ChainId, Clock},
};

/// Whom a stand-in stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// The source `coingecko`.
    CoinGecko,
    /// The source `coinbase`.
    Coinbase,
    /// The source `defillama`.
    DefiLlama,
    /// The venue `zero_ex`.
    ZeroEx,
    /// The venue `jupiter`.
    Jupiter,
    /// A node of the chain `ethereum`.
    Ethereum,
    /// A node of the chain `solana`.
    Solana,
}

impl Vendor {
    /// Every vendor, in the order of their declaration.
    pub const ALL: [Self; 7] =
        [Self::CoinGecko, Self::Coinbase, Self::DefiLlama, Self::ZeroEx, Self::Jupiter, Self::Ethereum, Self::Solana];
    /// Those that say what coins are worth.
    pub const SOURCES: [Self; 3] = [Self::CoinGecko, Self::Coinbase, Self::DefiLlama];
    /// Those that say what swaps would bring.
    pub const VENUES: [Self; 2] = [Self::ZeroEx, Self::Jupiter];
    /// Those that say what is on chains.
    pub const NODES: [Self; 2] = [Self::Ethereum, Self::Solana];

    /// The vendor's first path segment on the stand-ins' port, which is also the name of its source or venue, or the id of
    /// its chain.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::CoinGecko => "coingecko",
            Self::Coinbase => "coinbase",
            Self::DefiLlama => "defillama",
            Self::ZeroEx => "zero_ex",
            Self::Jupiter => "jupiter",
            Self::Ethereum => "ethereum",
            Self::Solana => "solana",
        }
    }

    /// The chain whose node it is.
    ///
    /// # Panics
    /// Never: the paths of nodes are ids of chains.
    fn chain(self) -> ChainId {
        ChainId::new(self.path()).expect("the paths of nodes are ids of chains")
    }
}

/// Running stand-ins for every vendor, on one loopback port; dropping this stops them.
pub struct StandIns {
    stands: [Stand; Vendor::ALL.len()],
    address: SocketAddr,
    _running: DropGuard,
}

impl StandIns {
    /// Starts the stand-ins on a free port; prices and blocks follow from `seed` and the time of `clock`.
    pub async fn start(clock: Clock, seed: u64) -> io::Result<Self> {
        Self::start_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, &clock, seed)
    }

    /// Starts the stand-ins on a port that is open already. Must be called inside a tokio runtime.
    pub fn start_on(listener: TcpListener, clock: &Clock, seed: u64) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let walks = Arc::new(Mutex::new(Walks::new(clock.clone(), seed)));
        let catalogue = Catalogue::embedded();
        let stands = Vendor::ALL.map(|vendor| Stand::new(vendor, catalogue.clone(), clock.clone(), Arc::clone(&walks)));
        let stop = CancellationToken::new();
        let serving =
            axum::serve(listener, router(&stands, seed)).with_graceful_shutdown(stop.clone().cancelled_owned());
        // Serving on an open listener ends only when told to.
        tokio::spawn(serving.into_future());
        Ok(Self { stands, address, _running: stop.drop_guard() })
    }

    /// Points the sources and the venues at the stand-ins and marks them as simulated.
    pub fn apply(&self, config: &mut MarketConfig) {
        let (coingecko, coinbase, defillama) = (&mut config.coingecko, &mut config.coinbase, &mut config.defillama);
        let (zero_ex, jupiter) = (&mut config.zero_ex, &mut config.jupiter);
        (coingecko.demo_key, coingecko.pro_key) = (None, None);
        (zero_ex.api_key, jupiter.api_key) = (None, None);
        for (vendor, base_url, simulated) in [
            (Vendor::CoinGecko, &mut coingecko.base_url, &mut coingecko.simulated),
            (Vendor::Coinbase, &mut coinbase.base_url, &mut coinbase.simulated),
            (Vendor::DefiLlama, &mut defillama.base_url, &mut defillama.simulated),
            (Vendor::ZeroEx, &mut zero_ex.base_url, &mut zero_ex.simulated),
            (Vendor::Jupiter, &mut jupiter.base_url, &mut jupiter.simulated),
        ] {
            *base_url = self.base_url(vendor);
            *simulated = true;
        }
    }

    /// Has a stand-in answer for the chain whose node it is, and marks that chain as simulated.
    pub fn stand_in_for(&self, node: Vendor, config: &mut ChainsConfig) {
        let (chain, url) = (node.chain(), self.base_url(node).as_str().into());
        config.simulated.push(chain.to_string());
        config.endpoints.push(EndpointEntry { chain, name: "stand-in".to_owned(), url });
    }

    /// Where all stand-ins listen, and where `POST /faults/{vendor}` breaks one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the vendor's API lives.
    ///
    /// # Panics
    /// Never: an address and a constant path make a URL.
    #[must_use]
    pub fn base_url(&self, vendor: Vendor) -> Url {
        let text = format!("http://{}/{}", self.address, vendor.path());
        text.parse().expect("an address and a constant path make a URL")
    }

    /// The switch for what is wrong with the vendor on purpose.
    #[must_use]
    pub fn faults(&self, vendor: Vendor) -> &Faults {
        &self.stand(vendor).faults
    }

    /// How often the vendor was called.
    #[must_use]
    pub fn calls(&self, vendor: Vendor) -> usize {
        self.stand(vendor).calls()
    }

    /// How many coins (or tokens) each call to the vendor asked for, oldest first, of the last 10,000 calls.
    #[must_use]
    pub fn coins_per_call(&self, vendor: Vendor) -> Vec<usize> {
        self.stand(vendor).coins_per_call()
    }

    fn stand(&self, vendor: Vendor) -> &Stand {
        &self.stands[vendor as usize]
    }
}

fn router(stands: &[Stand; Vendor::ALL.len()], seed: u64) -> Router {
    let [gecko, base, llama, zero_ex, jupiter, ethereum, solana] = stands.clone();
    let blocks = |stand: &Stand, pace_ms| {
        let (clock, chain) = (stand.clock.clone(), stand.vendor.path());
        Blocks { clock, seed, chain, pace_ms }
    };
    let holdings = |stand: &Stand| Holdings::of(&stand.vendor.chain());
    let evm = EvmNode { blocks: blocks(&ethereum, evm_node::BLOCK_MS), holdings: holdings(&ethereum) };
    let svm = SolanaNode { blocks: blocks(&solana, solana_node::SLOT_MS), holdings: holdings(&solana) };
    let nest = |all: Router, (vendor, router): (Vendor, Router)| all.nest(&format!("/{}", vendor.path()), router);
    [
        (Vendor::CoinGecko, coingecko::router(gecko)),
        (Vendor::Coinbase, coinbase::router(base)),
        (Vendor::DefiLlama, defillama::router(llama)),
        (Vendor::ZeroEx, zero_ex::router(zero_ex)),
        (Vendor::Jupiter, jupiter::router(jupiter)),
        (Vendor::Ethereum, jsonrpc::router(ethereum, evm)),
        (Vendor::Solana, jsonrpc::router(solana, svm)),
    ]
    .into_iter()
    .fold(control::router(stands), nest)
}
