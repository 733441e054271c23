//! Chains: the stand-ins read through the real chains.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cache::Tags,
    chains::{BalanceQuery, Chain, ChainError, ChainParts, Chains, Consistency, Finality},
    config::{CacheConfig, ChainsConfig, EndpointEntry, ResilienceConfig},
    model::{Chance, Clock, Decimal, Units},
    resilience::{Outbound, Upstreams},
    sandbox::{Fault, GivenError, StandIns, Vendor, take_given},
};

const USDC: [&str; 2] = ["0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"];
const RICH: [&str; 2] = ["0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045", "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM"];
const SOMEBODY: [&str; 2] =
    ["0x000000000000000000000000000000000000dEaD", "1nc1nerator11111111111111111111111111111111"];

struct Sandbox {
    stand_ins: StandIns,
    outbound: Outbound,
    chains: Chains,
    stop: CancellationToken,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn open() -> Sandbox {
    let clock = Clock::system();
    let stand_ins = StandIns::start(clock.clone(), 7).await.unwrap();
    let mut config = ChainsConfig::defaults();
    (config.head_poll_ms, config.try_timeout_ms, config.deadline_ms) = (50, 300, 600);
    for node in Vendor::NODES {
        stand_ins.stand_in_for(node, &mut config);
    }
    let mut resilience = ResilienceConfig::defaults();
    resilience.outbound.allow_private_addresses = true;
    let outbound = Outbound::new(&resilience.outbound, clock.clone()).unwrap();
    let (chance, stop) = (Chance::seeded(1), CancellationToken::new());
    let parts = ChainParts {
        upstreams: Upstreams::new(clock.clone(), chance.clone(), &resilience),
        outbound: outbound.clone(),
        cache: (&CacheConfig::defaults()).into(),
        tags: Tags::new(),
        clock,
        chance,
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    };
    Sandbox { stand_ins, outbound, chains: Chains::new(&config, parts), stop }
}

fn query(address: &str, token: Option<&str>, finality: Finality) -> BalanceQuery {
    let (address, token) = (address.to_owned(), token.map(str::to_owned));
    BalanceQuery { address, token, finality, consistency: Consistency::One }
}

async fn balance(chain: &Chain, query: BalanceQuery) -> Result<Decimal, ChainError> {
    let balance = chain.balances(&[query]).await.remove(0)?;
    assert!(balance.provenance.simulated && &*balance.provenance.endpoint == "stand-in");
    assert!(balance.amount > Units::ZERO);
    Ok(balance.amount.to_decimal(balance.token.decimals).unwrap())
}

#[tokio::test]
async fn both_families_have_heads_balances_and_tokens() {
    let sandbox = open().await;
    for (family, node) in Vendor::NODES.into_iter().enumerate() {
        let chain = sandbox.chains.find(node.path()).unwrap();
        let head = chain.head().await.unwrap();
        assert!(head.latest.simulated && head.latest.block_number > head.finalized, "{head:?}");
        for finality in [Finality::Latest, Finality::Finalized] {
            for token in [None, Some(USDC[family])] {
                let much = balance(chain, query(RICH[family], token, finality)).await.unwrap();
                let some = balance(chain, query(SOMEBODY[family], token, finality)).await.unwrap();
                assert!(much > Decimal::from(100_000) && some < Decimal::from(1_000), "{much} {some}");
            }
        }
        let token = chain.token(Some(&USDC[family].into())).await.unwrap();
        assert_eq!((token.decimals, &*token.symbol == "USDC"), (6, node == Vendor::Ethereum));
        let none = balance(chain, query(RICH[family], Some(SOMEBODY[family]), Finality::Latest)).await;
        assert_eq!(none.unwrap_err(), ChainError::NoToken(SOMEBODY[family].into()));
    }
}

#[tokio::test]
async fn heads_follow_the_clock() {
    let sandbox = open().await;
    let chain = sandbox.chains.find("solana").unwrap();
    let before = chain.head().await.unwrap().latest.block_number;
    let moving = async {
        while chain.head().await.unwrap().latest.block_number == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), moving).await.expect("the head never moved");
}

#[tokio::test]
async fn every_fault_is_an_error_and_not_a_balance() {
    for fault in [Fault::Hang, Fault::Garbage, Fault::Disconnect, Fault::ServerError { status: 500 }] {
        let sandbox = open().await;
        for (family, node) in Vendor::NODES.into_iter().enumerate() {
            sandbox.stand_ins.faults(node).set(fault.clone());
            let chain = sandbox.chains.find(node.path()).unwrap();
            let failed = balance(chain, query(RICH[family], None, Finality::Latest)).await;
            assert!(
                matches!(failed, Err(ChainError::Unavailable { .. } | ChainError::TimedOut)),
                "{fault:?}: {failed:?}"
            );
        }
    }
}

/// The answer to one call, by a node's own words.
async fn ask(sandbox: &Sandbox, node: Vendor, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let reply = sandbox.outbound.post(sandbox.stand_ins.base_url(node), http::HeaderMap::new(), body.into()).await;
    serde_json::from_slice(&reply.unwrap().body).unwrap()
}

#[tokio::test]
async fn state_is_kept_for_the_newest_blocks_only() {
    let sandbox = open().await;
    let evm = async |method: &str, params: Value| ask(&sandbox, Vendor::Ethereum, method, params).await;
    let block = evm("eth_getBlockByNumber", json!(["finalized", false])).await["result"].clone();
    let parent = evm("eth_getBlockByNumber", json!([block["number"], false])).await["result"].clone();
    assert_eq!(block, parent, "a block stays what it is");
    for (at, expected) in [
        (json!({"blockHash": block["hash"]}), Value::Null),
        (json!("latest"), Value::Null),
        (json!({"blockNumber": block["number"]}), Value::Null),
        (json!({"blockHash": format!("0x{}", "1".repeat(64))}), json!("header not found")),
        (json!("0x1"), json!("header not found")),
        (json!("0xffffffffffff"), json!("header not found")),
        (json!("newest"), json!("invalid argument: no block number or tag")),
    ] {
        let answer = evm("eth_getBalance", json!([RICH[0], at])).await;
        assert_eq!(answer["error"]["message"], expected, "{at}: {answer}");
    }
    let slot = ask(&sandbox, Vendor::Solana, "getSlot", json!([{"commitment": "processed"}])).await["result"].clone();
    let later = json!([RICH[1], {"minContextSlot": slot.as_u64().unwrap() + 1_000_000}]);
    let refused = ask(&sandbox, Vendor::Solana, "getAccountInfo", later).await;
    assert_eq!(refused["error"]["code"], -32_016, "{refused}");
}

#[tokio::test]
async fn what_wallets_ask_besides_has_an_answer() {
    let sandbox = open().await;
    let hash = "0".repeat(64);
    for (node, method, params) in [
        (Vendor::Ethereum, "eth_blockNumber", json!([])),
        (Vendor::Ethereum, "eth_gasPrice", json!([])),
        (Vendor::Ethereum, "eth_feeHistory", json!(["0x4", "latest", [25, 75]])),
        (Vendor::Ethereum, "eth_feeHistory", json!([4, "0xffffffffffffffff"])),
        (Vendor::Ethereum, "eth_estimateGas", json!([{"to": RICH[0]}])),
        (Vendor::Ethereum, "eth_getTransactionByHash", json!([hash])),
        (Vendor::Ethereum, "eth_getTransactionReceipt", json!([hash])),
        (Vendor::Ethereum, "eth_getLogs", json!([{}])),
        (Vendor::Solana, "getLatestBlockhash", json!([])),
        (Vendor::Solana, "getBlockHeight", json!([])),
        (Vendor::Solana, "getRecentPrioritizationFees", json!([])),
        (Vendor::Solana, "getFeeForMessage", json!(["AQ=="])),
        (Vendor::Solana, "getTransaction", json!([hash])),
        (Vendor::Solana, "getSignatureStatuses", json!([[hash]])),
    ] {
        let answer = ask(&sandbox, node, method, params).await;
        assert!(answer.get("result").is_some(), "{method}: {answer}");
        assert_eq!(ask(&sandbox, node, &format!("{method}2"), json!([])).await["error"]["code"], -32_601);
    }
}

#[tokio::test]
async fn a_node_of_ones_own_says_which_chain_it_is_of() {
    let sandbox = open().await;
    let mut config = ChainsConfig::defaults();
    config.endpoints.push(EndpointEntry::parse("ethereum/other=http://nowhere").unwrap());
    for node in Vendor::NODES {
        let url = sandbox.stand_ins.base_url(node);
        let chain = take_given(node, url.as_str(), &sandbox.outbound, &mut config).await.unwrap();
        assert_eq!(chain.as_str(), node.path());
        // The other family's node is none of this one.
        let other = if node == Vendor::Solana { Vendor::Ethereum } else { Vendor::Solana };
        let taken = take_given(other, url.as_str(), &sandbox.outbound, &mut config).await;
        assert!(matches!(taken, Err(GivenError::Nonsense(_))), "{taken:?}");
    }
    let named: Vec<_> = config.endpoints.iter().map(|entry| format!("{}/{}", entry.chain, entry.name)).collect();
    assert_eq!(named, ["ethereum/given", "solana/given"]);
    assert!(config.networks.is_empty() && config.simulated.is_empty());

    for bad in ["", "ftp://127.0.0.1/KEY", "nowhere"] {
        let refused = take_given(Vendor::Ethereum, bad, &sandbox.outbound, &mut config).await.unwrap_err();
        assert!(matches!(refused, GivenError::NoUrl) && !refused.to_string().contains("KEY"), "{refused}");
    }
    sandbox.stand_ins.faults(Vendor::Ethereum).set(Fault::Garbage);
    let url = sandbox.stand_ins.base_url(Vendor::Ethereum);
    let refused = take_given(Vendor::Ethereum, url.as_str(), &sandbox.outbound, &mut config).await;
    assert!(matches!(refused, Err(GivenError::Nonsense("eth_chainId"))), "{refused:?}");
}
