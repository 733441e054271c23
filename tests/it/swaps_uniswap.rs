//! Uniswap's quoter as a venue, by the front door: a contract on a real node, read through the chain's endpoints.

use serde_json::{Value, json};
use tidegate::config::{EndpointEntry, NetworkEntry};

use crate::harness::{Anvil, Proxy, TestApp, until};

const QUOTER: &str = "0x61fFE014bA17989E743c5F6cB21bF9697530B21e";
const USDC: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";

/// Answers as `QuoterV2` does: pools of 0.05 % and 0.3 % give twice and three times the amount, for 21,000 and 90,000 units of
/// gas, that of 0.01 % is empty, and there is none of 1 %, for which it reverts.
const QUOTER_CODE: &str = "0x606435806101f414601e5780610bb81460335780606414604957600080fd\
    5b60026044350260005261520860605260806000f3\
    5b60036044350260005262015f9060605260806000f3\
    5b60806000f3";
const REVERTS: &str = "0x60006000fd";

const QUOTES: &str = "query ($sell: String!, $buy: String!) {
    swapQuotes(input: {chain: \"ethereum\", sellToken: $sell, buyToken: $buy, sellAmount: \"1000000000000000000\"}) {
        best { provider buyAmount gas { units } route { venue portionBps } blockNumber expiresAt simulated }
        failures { provider code } } }";

/// A server for which the chain `ethereum` is this node, and the only venue the quoter on it.
async fn app(url: &str) -> TestApp {
    let endpoint = EndpointEntry::parse(&format!("ethereum/one={url}")).unwrap();
    let builder = TestApp::builder().config(|config| {
        config.chains.endpoints = vec![endpoint];
        config.chains.networks = vec![NetworkEntry::try_from("ethereum=evm:31337:ETH".to_owned()).unwrap()];
        config.chains.head_poll_ms = 50;
        config.market.zero_ex.enabled = false;
    });
    builder.start().await
}

async fn ask(app: &TestApp, sell: &str, buy: &str) -> Value {
    app.alice().post(&json!({"query": QUOTES, "variables": {"sell": sell, "buy": buy}})).await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_that_gives_most_is_quoted() {
    let node = Anvil::start().await;
    node.set_code(QUOTER, QUOTER_CODE).await;
    node.mine(2).await;
    let app = app(&node.url()).await;
    let reply = ask(&app, "native", USDC).await;
    let best = reply["data"]["swapQuotes"]["best"].clone();
    assert_eq!((&best["provider"], &best["buyAmount"]), (&json!("uniswap"), &json!("3000000000000000000")), "{reply}");
    assert_eq!((&best["gas"]["units"], &best["simulated"]), (&json!("90000"), &json!(false)), "{reply}");
    assert_eq!(best["route"], json!([{"venue": "Uniswap v3 0.3%", "portionBps": 10_000}]));
    assert!(best["expiresAt"].is_string());

    // It holds at a block: the next one is asked anew.
    node.mine(1).await;
    until("the next block is quoted", async || {
        let again = ask(&app, "native", USDC).await;
        again["data"]["swapQuotes"]["best"]["blockNumber"] != best["blockNumber"]
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pool_is_no_liquidity_and_no_quoter_is_a_failure() {
    let node = Anvil::start().await;
    node.set_code(QUOTER, REVERTS).await;
    node.mine(2).await;
    let app = app(&node.url()).await;
    let reply = ask(&app, "native", USDC).await;
    let error = &reply["errors"][0]["extensions"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("NOT_FOUND"), &json!("NO_LIQUIDITY")), "{reply}");

    node.set_code(QUOTER, "0x").await;
    node.mine(1).await;
    until("there is no contract", async || {
        let reply = ask(&app, "native", USDC).await;
        reply["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_holds_nobody_up_beyond_the_deadline() {
    let node = Anvil::start().await;
    node.set_code(QUOTER, QUOTER_CODE).await;
    node.mine(2).await;
    let proxy = Proxy::start(url::Url::parse(&node.url()).unwrap().port().unwrap()).await;
    let app = app(&format!("http://127.0.0.1:{}", proxy.port())).await;
    assert!(ask(&app, "native", USDC).await["errors"].is_null());
    proxy.stall();
    let reply = ask(&app, "native", USDC).await;
    let error = &reply["errors"][0]["extensions"];
    assert_eq!(error["code"], "UPSTREAM_UNAVAILABLE", "{reply}");
    assert_eq!(error["failures"][0]["provider"], "uniswap", "{reply}");
    app.stop().await;
}
