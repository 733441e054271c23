//! One balance of an EVM chain, beside alloy's plain provider, in turn in one run against the same anvil: an address that
//! nobody has asked for, and one that was asked for at this block. Run with `cargo bench --bench chains`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints, and measures real time")]

#[expect(dead_code, reason = "tests do more to a node")]
#[path = "../tests/it/harness/anvil.rs"]
mod anvil;
#[expect(dead_code, reason = "tests do more to a node")]
#[path = "../tests/it/harness/node.rs"]
mod node;
#[path = "../tests/it/harness/ports.rs"]
mod ports;
#[expect(dead_code, reason = "tests do more to a process")]
#[path = "../tests/it/harness/process.rs"]
mod process;
#[expect(dead_code, reason = "tests do more in it")]
#[path = "../tests/it/harness/watchdog.rs"]
mod watchdog;

use std::time::{Duration, Instant};

use alloy_primitives::Address;
use alloy_provider::{Provider, RootProvider};
use anvil::Anvil;
use node::Node;
use tidegate::{
    cache::Tags,
    chains::{BalanceQuery, Chain, ChainParts, Chains, Consistency, Finality},
    config::{CacheConfig, ChainsConfig, EndpointEntry, NetworkEntry, ResilienceConfig},
    model::{Chance, Clock},
    resilience::{Outbound, Upstreams},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

// For the node.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

const CALLS: u32 = 2_000;
const ROUNDS: u32 = 5;

#[tokio::main]
async fn main() {
    let node = Anvil::start().await;
    node.mine(3).await;
    let (chains, provider) = (chains(&node.url()), RootProvider::new_http(node.url().parse().expect("a URL")));
    let chain = chains.find("devnet").expect("it is configured");
    println!("one balance, microseconds, the best of {ROUNDS} rounds of {CALLS} calls one after the other, in turn");
    let mut fastest = [Duration::MAX; 3];
    for round in 1..=ROUNDS {
        let first = u64::from(round * CALLS);
        let rounds = [ours(chain, first).await, cached(chain, first).await, bare(&provider, first).await];
        for (best, took) in fastest.iter_mut().zip(rounds) {
            *best = took.min(*best);
        }
    }
    let [uncached, cached, bare] = fastest.map(|best| best.as_secs_f64() * 1e6 / f64::from(CALLS));
    println!("reference: alloy's provider {bare:.1}");
    println!("tidegate: uncached {uncached:.1}, {:.2} times the reference", uncached / bare);
    println!("tidegate: at the same block again {cached:.2}, {:.4} times the reference", cached / bare);
}

fn address(number: u64) -> String {
    format!("0x{number:040x}")
}

async fn read(chain: &Chain, number: u64) {
    let (finality, consistency) = (Finality::Latest, Consistency::One);
    let query = BalanceQuery { address: address(number), token: None, finality, consistency };
    chain.balances(&[query]).await.remove(0).expect("the node answers");
}

async fn ours(chain: &Chain, first: u64) -> Duration {
    let began = Instant::now();
    for number in first..first + u64::from(CALLS) {
        read(chain, number).await;
    }
    began.elapsed()
}

async fn cached(chain: &Chain, number: u64) -> Duration {
    let began = Instant::now();
    for _ in 0..CALLS {
        read(chain, number).await;
    }
    began.elapsed()
}

async fn bare(provider: &RootProvider, first: u64) -> Duration {
    let began = Instant::now();
    for number in first..first + u64::from(CALLS) {
        let address: Address = address(number).parse().expect("an address");
        provider.get_balance(address).await.expect("the node answers");
    }
    began.elapsed()
}

/// The room with nothing around it.
fn chains(url: &str) -> Chains {
    let mut config = ChainsConfig::defaults();
    config.endpoints = vec![EndpointEntry::parse(&format!("devnet/anvil={url}")).expect("an endpoint")];
    config.networks = vec![NetworkEntry::try_from("devnet=evm:31337:ETH".to_owned()).expect("a network")];
    config.max_per_second = 100_000;
    let mut resilience = ResilienceConfig::defaults();
    resilience.outbound.allow_private_addresses = true;
    let (clock, chance) = (Clock::system(), Chance::seeded(1));
    let parts = ChainParts {
        upstreams: Upstreams::new(clock.clone(), chance.clone(), &resilience),
        outbound: Outbound::new(&resilience.outbound, clock.clone()).expect("a client"),
        cache: (&CacheConfig::defaults()).into(),
        tags: Tags::new(),
        clock,
        chance,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    Chains::new(&config, parts)
}
