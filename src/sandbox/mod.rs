//! Stand-ins for the upstreams: loopback servers that speak the vendors' documented formats over simulated prices.
//!
//! Everything here is make-believe and says so: sources and venues that point here mark their quotes as simulated. Nothing of
//! this room may be reached by `serve`. The next vendor is a file here and a variant of [`Vendor`].
//! `tests.rs` reads the stand-ins through the real sources.

mod coinbase;
mod coingecko;
mod control;
mod defillama;
mod exchange;
mod faults;
mod jupiter;
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

pub use self::faults::{Fault, Faults};
use self::{vendor::Stand, walk::Walks};
use crate::{config::MarketConfig, market::Catalogue, model::Clock};

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
}

impl Vendor {
    /// Every vendor, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::CoinGecko, Self::Coinbase, Self::DefiLlama, Self::ZeroEx, Self::Jupiter];
    /// Those that say what coins are worth.
    pub const SOURCES: [Self; 3] = [Self::CoinGecko, Self::Coinbase, Self::DefiLlama];
    /// Those that say what swaps would bring.
    pub const VENUES: [Self; 2] = [Self::ZeroEx, Self::Jupiter];

    /// The vendor's first path segment on the stand-ins' port, which is also its source's or venue's name.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::CoinGecko => "coingecko",
            Self::Coinbase => "coinbase",
            Self::DefiLlama => "defillama",
            Self::ZeroEx => "zero_ex",
            Self::Jupiter => "jupiter",
        }
    }
}

/// Running stand-ins for every vendor, on one loopback port; dropping this stops them.
pub struct StandIns {
    stands: [Stand; Vendor::ALL.len()],
    address: SocketAddr,
    _running: DropGuard,
}

impl StandIns {
    /// Starts the stand-ins on a free port; prices walk from `seed`, on the time of `clock`.
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
        let serving = axum::serve(listener, router(&stands)).with_graceful_shutdown(stop.clone().cancelled_owned());
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

fn router(stands: &[Stand; Vendor::ALL.len()]) -> Router {
    let [gecko, base, llama, zero_ex, jupiter] = stands.clone();
    control::router(stands)
        .nest(&format!("/{}", Vendor::CoinGecko.path()), coingecko::router(gecko))
        .nest(&format!("/{}", Vendor::Coinbase.path()), coinbase::router(base))
        .nest(&format!("/{}", Vendor::DefiLlama.path()), defillama::router(llama))
        .nest(&format!("/{}", Vendor::ZeroEx.path()), zero_ex::router(zero_ex))
        .nest(&format!("/{}", Vendor::Jupiter.path()), jupiter::router(jupiter))
}
