//! Uniswap's quoter as a venue, by the front door: a contract on a real node, read through the chain's endpoints.

use serde_json::{Value, json};

use crate::harness::{Anvil, Proxy, TestApp, until};

const QUOTER: &str = "0x61fFE014bA17989E743c5F6cB21bF9697530B21e";
const USDC: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";

/// Answers as `QuoterV2` does: pools of 0.05 % and 0.3 % give twice and three times the amount, for 21,000 and 90,000 units of
/// gas, that of 0.01 % five times and runs dry, and there is none of 1 %, for which it reverts.
const QUOTER_CODE: &str = "0x606435806101f414601e5780610bb81460335780606414604957600080fd\
    5b60026044350260005261520860605260806000f3\
    5b60036044350260005262015f9060605260806000f3\
    5b60056044350260005273fffd8963efd1fc6a506488495d951d5263988d2560205260806000f3";
const REVERTS: &str = "0x60006000fd";
/// Goes on for as long as it has gas.
const NEVER_ENDS: &str = "0x5b600056";
/// The pool of 0.3 %, where the factory puts it, and one that says it trades a quarter of the first token for one of the second.
const POOL: &str = "0x8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8";
const POOL_CODE: &str = "0x6b80000000000000000000000060005260e06000f3";

const QUOTES: &str = "query ($sell: String!, $buy: String!) {
    swapQuotes(input: {chain: \"ethereum\", sellToken: $sell, buyToken: $buy, sellAmount: \"1000000000000000000\"}) {
        best { provider buyAmount priceImpactBps gas { units price feeNative } route { venue portionBps } blockNumber expiresAt simulated }
        failures { provider code } } }";

/// A server for which the chain `ethereum` is this node, and the only venue the quoter on it.
async fn app(url: &str) -> TestApp {
    let builder = TestApp::builder().chain("ethereum", "evm:31337:ETH", &["one"], &[url.to_owned()]).config(|config| {
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
    node.set_code(POOL, POOL_CODE).await;
    node.mine(2).await;
    let app = app(&node.url()).await;
    let reply = ask(&app, "native", USDC).await;
    let best = reply["data"]["swapQuotes"]["best"].clone();
    assert_eq!((&best["provider"], &best["buyAmount"]), (&json!("uniswap"), &json!("3000000000000000000")), "{reply}");
    // Three, where four less the fee are expected.
    assert_eq!((&best["priceImpactBps"], &best["simulated"]), (&json!(2_478), &json!(false)), "{reply}");
    let number = |field: &str| -> u128 { best["gas"][field].as_str().unwrap().parse().unwrap() };
    assert_eq!(number("units"), 111_000, "what the pool takes, and the transaction");
    assert_eq!(number("feeNative"), 111_000 * number("price"), "{reply}");
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
async fn no_pool_is_no_liquidity_and_what_nobody_can_say_is_a_failure() {
    let node = Anvil::start().await;
    node.set_code(QUOTER, REVERTS).await;
    node.mine(2).await;
    let app = app(&node.url()).await;
    let reply = ask(&app, "native", USDC).await;
    let error = &reply["errors"][0]["extensions"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("NOT_FOUND"), &json!("NO_LIQUIDITY")), "{reply}");

    for (code, what) in [("0x", "there is no contract"), (NEVER_ENDS, "it takes more than the node gives")] {
        node.set_code(QUOTER, REVERTS).await;
        node.mine(1).await;
        let has_no_pool = async || {
            let reply = ask(&app, "native", USDC).await;
            reply["errors"][0]["extensions"]["reason"] == "NO_LIQUIDITY"
        };
        until("there is no pool", has_no_pool).await;
        node.set_code(QUOTER, code).await;
        node.mine(1).await;
        let fails = async || {
            let reply = ask(&app, "native", USDC).await;
            reply["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
        };
        until(what, fails).await;
    }
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
