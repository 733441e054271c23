//! The harness itself: what the other tests believe when they say what a blockchain node did.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::Url;

use crate::harness::{Anvil, Node, Svm, until};

/// Longer than an answer over loopback takes on a busy machine, shorter than patience.
const MOMENT: Duration = Duration::from_millis(300);

const SOMEBODY: &str = "0x00000000000000000000000000000000000000aa";
const ONE_ETHER: u128 = 1_000_000_000_000_000_000;
const ONE_SOL: u64 = 1_000_000_000;

fn port(node: &Node) -> u16 {
    Url::parse(&node.url()).unwrap().port().unwrap()
}

async fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// Whatever its chain is, a node can be stopped, killed and started again, and is gone when it is dropped.
async fn obeys(node: &Node, question: &str) {
    let before = node.rpc(question, json!([])).await;

    node.pause();
    assert!(timeout(MOMENT, node.rpc(question, json!([]))).await.is_err(), "a stopped node answers nothing");
    node.resume();
    assert_eq!(node.rpc(question, json!([])).await, before);

    node.kill();
    assert!(!is_open(port(node)).await, "a killed node is gone");
    let squatter = TcpListener::bind(("127.0.0.1", port(node))).await.unwrap();
    let leaving = async {
        until("it finds its port taken", async || node.log().contains("in use")).await;
        drop(squatter);
    };
    tokio::join!(node.start_again(), leaving);
    assert_eq!(node.rpc(question, json!([])).await, before);
}

#[tokio::test]
async fn an_ethereum_node_obeys_and_goes() {
    let node = Anvil::builder().chain_id(8_453).start().await;
    assert_eq!(node.rpc("eth_chainId", json!([])).await, "0x2105");
    obeys(&node, "eth_chainId").await;
    let port = port(&node);
    drop(node);
    assert!(!is_open(port).await, "dropped is killed");
}

#[tokio::test]
async fn a_solana_node_obeys_and_goes() {
    let genesis = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKUc147dw2N9d";
    let node = Svm::builder().genesis(genesis).start().await;
    assert_eq!(node.rpc("getGenesisHash", json!([])).await, genesis);
    obeys(&node, "getGenesisHash").await;
    let port = port(&node);
    drop(node);
    assert!(!is_open(port).await, "dropped is killed");
}

async fn wei(node: &Anvil, address: &str) -> Value {
    node.rpc("eth_getBalance", json!([address, "latest"])).await
}

#[tokio::test]
async fn ether_moves_until_its_block_is_taken_back() {
    let node = Anvil::start().await;
    node.set_balance(SOMEBODY, ONE_ETHER).await;
    node.mine(3).await;
    assert_eq!(node.rpc("eth_blockNumber", json!([])).await, "0x3");

    let transfer = json!([{ "from": node.rich().await, "to": SOMEBODY, "value": "0x1" }]);
    let hash = node.rpc("eth_sendTransaction", transfer).await;
    let receipt = async || node.rpc("eth_getTransactionReceipt", json!([hash])).await;
    until("its block", async || !receipt().await.is_null()).await;
    let receipt = receipt().await;
    assert_eq!((&receipt["status"], &receipt["blockNumber"]), (&json!("0x1"), &json!("0x4")));
    assert_eq!(wei(&node, SOMEBODY).await, format!("{:#x}", ONE_ETHER + 1));

    let block = async |number: &str| node.rpc("eth_getBlockByNumber", json!([number, false])).await["hash"].clone();
    let before = (block("0x2").await, block("0x3").await, block("0x4").await);
    node.reorg(2).await;
    assert_eq!(block("0x2").await, before.0);
    assert!(block("0x3").await != before.1 && block("0x4").await != before.2);
    assert!(node.rpc("eth_getTransactionReceipt", json!([hash])).await.is_null(), "it is in no block");
    assert_eq!(wei(&node, SOMEBODY).await, format!("{ONE_ETHER:#x}"));
}

#[tokio::test]
async fn a_contract_answers_where_it_was_put() {
    let node = Anvil::builder().block_seconds(1).start().await;
    // Returns the number 42.
    node.set_code(SOMEBODY, "0x602a60005260206000f3").await;
    let answer = node.rpc("eth_call", json!([{ "to": SOMEBODY }, "latest"])).await;
    assert_eq!(answer, format!("0x{:064x}", 42));
    until("a block by itself", async || node.rpc("eth_blockNumber", json!([])).await != "0x0").await;
}

/// A wallet by the name of alice with one SOL that is final, and bob's address.
async fn wallets(node: &Svm) -> (String, String) {
    let (alice, bob) = (node.wallet("alice").await, node.wallet("bob").await);
    node.rpc("requestAirdrop", json!([alice, ONE_SOL])).await;
    node.advance(32).await;
    (alice, bob)
}

async fn send(node: &Svm, transaction: &str) -> Value {
    node.rpc("sendTransaction", json!([transaction, at_once()])).await
}

/// Looks before it sends at the newest block, in which the wallets find their blockhash.
fn at_once() -> Value {
    json!({ "encoding": "base64", "preflightCommitment": "processed" })
}

async fn sol(node: &Svm, address: &str, commitment: &str) -> Value {
    node.rpc("getBalance", json!([address, { "commitment": commitment }])).await["value"].take()
}

async fn level(node: &Svm, signature: &str) -> Value {
    node.rpc("getSignatureStatuses", json!([[signature]])).await["value"][0]["confirmationStatus"].take()
}

#[tokio::test]
async fn sol_moves_and_becomes_final() {
    let node = Svm::start().await;
    let (alice, bob) = wallets(&node).await;
    let (signature, transaction) =
        node.sign_transfer(json!({ "from": "alice", "to": bob, "amount": ONE_SOL / 2, "price": 1_000_000 })).await;
    assert_eq!(send(&node, &transaction).await, signature);

    for (blocks, expected, confirmed) in
        [(0, "processed", 0), (1, "confirmed", ONE_SOL / 2), (30, "confirmed", ONE_SOL / 2)]
    {
        node.advance(blocks).await;
        assert_eq!(level(&node, &signature).await, expected);
        assert_eq!(sol(&node, &bob, "processed").await, ONE_SOL / 2);
        assert_eq!(sol(&node, &bob, "confirmed").await, confirmed);
        assert_eq!(sol(&node, &bob, "finalized").await, 0);
    }
    assert!(node.rpc("getTransaction", json!([signature])).await.is_null(), "it is not final");
    node.advance(1).await;
    assert_eq!(level(&node, &signature).await, "finalized");
    assert_eq!(sol(&node, &bob, "finalized").await, ONE_SOL / 2);

    let mut landed = node.rpc("getTransaction", json!([signature])).await;
    assert_eq!(landed["transaction"]["message"]["accountKeys"][0], alice);
    let balances = landed["meta"]["postBalances"].take();
    let fee = landed["meta"]["fee"].as_u64().unwrap();
    assert!(fee > 5_000, "the price of the units is in it: {fee}");
    assert_eq!((&balances[0], &balances[1]), (&json!(ONE_SOL / 2 - fee), &json!(ONE_SOL / 2)));
    let raw = node.rpc("getTransaction", json!([signature, { "encoding": "base64" }])).await;
    assert_eq!(raw["transaction"], json!([transaction, "base64"]));
    let block = node.rpc("getBlock", json!([landed["slot"], { "transactionDetails": "signatures" }])).await;
    assert_eq!(block["signatures"], json!([signature]));
    let known = node.rpc("getSignaturesForAddress", json!([alice, { "limit": 1 }])).await;
    assert_eq!(known[0]["signature"], signature);
    let fees = node.rpc("getRecentPrioritizationFees", json!([[bob]])).await;
    let fees = fees.as_array().unwrap().iter().find(|fees| fees["slot"] == landed["slot"]).unwrap();
    assert_eq!(fees["prioritizationFee"], 1_000_000);
}

#[tokio::test]
async fn a_transfer_is_refused_before_it_is_sent() {
    let node = Svm::start().await;
    let (_, bob) = wallets(&node).await;
    let refusal = async |transaction: &str, config| node.refusal("sendTransaction", json!([transaction, config])).await;

    let (_, transaction) = node.sign_transfer(json!({ "from": "alice", "to": bob, "amount": 2 * ONE_SOL })).await;
    let refused = refusal(&transaction, at_once()).await;
    assert_eq!(refused["code"], -32002);
    let message = "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1";
    assert_eq!(refused["message"], message);
    assert_eq!(refused["data"]["err"], json!({ "InstructionError": [0, { "Custom": 1 }] }));
    assert!(refused["data"]["logs"].to_string().contains("insufficient lamports"));

    // The final state, which is looked at unless another is asked for, does not know so new a blockhash.
    let (signature, transaction) =
        node.sign_transfer(json!({ "from": "alice", "to": bob, "amount": ONE_SOL / 2 })).await;
    let refused = refusal(&transaction, json!({ "encoding": "base64" })).await;
    assert_eq!(refused["data"]["err"], "BlockhashNotFound");
    // Nor does it know who has just come to money.
    node.rpc("requestAirdrop", json!([node.wallet("carol").await, ONE_SOL])).await;
    let known = node.rpc("getLatestBlockhash", json!([])).await["value"]["blockhash"].take();
    let early = json!({ "from": "carol", "to": bob, "amount": ONE_SOL / 2, "blockhash": known });
    let (_, early) = node.sign_transfer(early).await;
    assert_eq!(refusal(&early, json!({ "encoding": "base64" })).await["data"]["err"], "AccountNotFound");

    send(&node, &transaction).await;
    assert_eq!(refusal(&transaction, at_once()).await["data"]["err"], "AlreadyProcessed");
    let blindly = json!([transaction, { "encoding": "base64", "skipPreflight": true }]);
    assert_eq!(node.rpc("sendTransaction", blindly).await, signature, "twice is as good as once");
    assert_eq!(sol(&node, &bob, "processed").await, ONE_SOL / 2);

    // Somewhere in the signature.
    let forged =
        format!("{}{}{}", &transaction[..10], if &transaction[10..=10] == "A" { "B" } else { "A" }, &transaction[11..]);
    assert_eq!(refusal(&forged, at_once()).await["code"], -32003);
    let (_, transaction) = node.sign_transfer(json!({ "from": "alice", "to": bob, "amount": ONE_SOL / 4 })).await;
    node.advance(151).await;
    assert_eq!(refusal(&transaction, at_once()).await["data"]["err"], "BlockhashNotFound", "it came too late");
}

#[tokio::test]
async fn what_was_on_a_fork_never_was() {
    let node = Svm::builder().finality(4).start().await;
    let (alice, bob) = (node.wallet("alice").await, node.wallet("bob").await);
    node.rpc("requestAirdrop", json!([alice, ONE_SOL])).await;
    node.advance(4).await;
    let (signature, transaction) =
        node.sign_transfer(json!({ "from": "alice", "to": bob, "amount": ONE_SOL / 2 })).await;
    send(&node, &transaction).await;
    node.advance(2).await;
    assert_eq!(level(&node, &signature).await, "confirmed");
    let slot = async || node.rpc("getSlot", json!([{ "commitment": "processed" }])).await.as_u64().unwrap();
    let before = slot().await;

    node.fork(3).await;
    assert!(slot().await > before);
    assert!(level(&node, &signature).await.is_null());
    assert_eq!(
        (sol(&node, &alice, "processed").await, sol(&node, &bob, "processed").await),
        (json!(ONE_SOL), json!(0))
    );
    let skipped = node.refusal("getBlock", json!([before, { "commitment": "confirmed" }])).await;
    assert_eq!(skipped["code"], -32007);
    assert_eq!(node.refusal("svm_fork", json!([5])).await["code"], -32602, "what is final stays");

    let (again, transaction) = node.sign_transfer(json!({ "from": "alice", "to": bob, "amount": ONE_SOL / 2 })).await;
    send(&node, &transaction).await;
    assert_eq!(level(&node, &again).await, "processed");
    assert_eq!(sol(&node, &alice, "processed").await, ONE_SOL / 2 - 5_000, "it paid once");
}

#[tokio::test]
async fn tokens_are_where_they_were_put_and_move() {
    let node = Svm::start().await;
    let (alice, bob) = wallets(&node).await;
    let (mint, from) = node.mint_to("usd", &alice, 2_500_000, 6).await;
    let (_, to) = node.mint_to("usd", &bob, 1, 6).await;
    let wish = json!({ "from": "alice", "to": bob, "mint": mint, "amount": 1_500_000, "version": 0 });
    let (signature, transaction) = node.sign_transfer(wish).await;
    send(&node, &transaction).await;
    node.advance(1).await;

    let confirmed = json!({ "commitment": "confirmed" });
    let balance = async |account: &str| {
        node.rpc("getTokenAccountBalance", json!([account, confirmed])).await["value"]["uiAmountString"].take()
    };
    assert_eq!((balance(&from).await, balance(&to).await), (json!("1"), json!("1.500001")));
    let supply = node.rpc("getTokenSupply", json!([mint, confirmed])).await;
    assert_eq!(supply["value"]["amount"], "2500001");
    let parsed = json!({ "commitment": "confirmed", "encoding": "jsonParsed" });
    let owned = node.rpc("getTokenAccountsByOwner", json!([bob, { "mint": mint }, parsed])).await;
    assert_eq!(owned["value"][0]["pubkey"], to);
    assert_eq!(owned["value"][0]["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"], "1500001");

    assert_eq!(node.refusal("getTransaction", json!([signature, confirmed])).await["code"], -32015);
    let config = json!({ "commitment": "confirmed", "maxSupportedTransactionVersion": 0 });
    let landed = node.rpc("getTransaction", json!([signature, config])).await;
    let held = landed["meta"]["preTokenBalances"].as_array().unwrap();
    let alices = held.iter().find(|held| held["owner"] == alice).unwrap();
    assert_eq!((&alices["mint"], &alices["uiTokenAmount"]["amount"]), (&json!(mint), &json!("2500000")));
}

#[tokio::test]
async fn a_node_falls_behind_and_says_so() {
    let node = Svm::start().await;
    node.advance(200).await;
    let slot = async || node.rpc("getSlot", json!([])).await.as_u64().unwrap();
    let before = slot().await;
    node.set_lag(10).await;
    let behind = slot().await;
    assert!(behind < before);
    let early = node.refusal("getSlot", json!([{ "minContextSlot": before }])).await;
    assert_eq!((&early["code"], &early["data"]), (&json!(-32016), &json!({ "contextSlot": behind })));
    assert_eq!(node.rpc("getHealth", json!([])).await, "ok");
    node.set_lag(150).await;
    assert_eq!(node.refusal("getHealth", json!([])).await["code"], -32005);
    node.set_lag(0).await;
    assert_eq!(slot().await, before);
}

#[tokio::test]
async fn a_node_makes_blocks_by_itself_and_refuses_what_is_no_call() {
    let node = Svm::builder().slot_millis(20).start().await;
    let newest = json!([{ "commitment": "processed" }]);
    let height = async || node.rpc("getBlockHeight", newest.clone()).await.as_u64().unwrap();
    let before = height().await;
    until("blocks by themselves", async || height().await > before + 5).await;
    let height = height().await;
    assert!(node.rpc("getSlot", newest).await.as_u64().unwrap() > height, "some slots are skipped");

    assert_eq!(node.refusal("getWeather", json!([])).await["code"], -32601);
    assert_eq!(node.refusal("getBalance", json!([])).await["code"], -32602);
    assert_eq!(node.refusal("getBalance", json!(["abc"])).await["message"], "Invalid param: WrongSize");
    assert_eq!(node.post("{").await["error"]["code"], -32700);
    assert_eq!(node.post("[]").await["error"]["code"], -32600);
    let batch = r#"[{"jsonrpc":"2.0","id":7,"method":"getHealth"},5]"#;
    let answers = node.post(batch).await;
    assert_eq!((&answers[0]["id"], &answers[0]["result"]), (&json!(7), &json!("ok")));
    assert_eq!(answers[1]["error"]["code"], -32600);
}

#[tokio::test]
async fn a_node_tells_what_a_transfer_would_cost_and_do() {
    let node = Svm::start().await;
    let (alice, bob) = wallets(&node).await;
    let processed = json!({ "commitment": "processed" });
    let newest = node.rpc("getLatestBlockhash", json!([processed])).await;
    let blockhash = newest["value"]["blockhash"].as_str().unwrap();
    for (commitment, valid) in [("processed", true), ("finalized", false)] {
        let answer = node.rpc("isBlockhashValid", json!([blockhash, { "commitment": commitment }])).await;
        assert_eq!(answer["value"], valid, "{commitment}");
    }

    let wish = json!({ "from": "alice", "to": bob, "amount": ONE_SOL / 2, "price": 1_000_000 });
    let signed = node.rpc("svm_signTransfer", json!([wish])).await;
    let fee = node.rpc("getFeeForMessage", json!([signed["message"], processed])).await;
    let fee = fee["value"].as_u64().unwrap();
    assert!(fee > 5_000, "the price of the units is in it: {fee}");
    assert!(node.rpc("getFeeForMessage", json!([signed["message"]])).await["value"].is_null(), "it is too new");

    let accounts = json!({ "addresses": [alice, bob] });
    let config = json!({ "encoding": "base64", "commitment": "processed", "accounts": accounts });
    let outcome = node.rpc("simulateTransaction", json!([signed["transaction"], config])).await;
    let after = &outcome["value"]["accounts"];
    assert_eq!((&after[0]["lamports"], &after[1]["lamports"]), (&json!(ONE_SOL / 2 - fee), &json!(ONE_SOL / 2)));
    let now = json!([[alice, bob], processed]);
    let now = node.rpc("getMultipleAccounts", now).await["value"].take();
    assert_eq!((&now[0]["lamports"], &now[1]), (&json!(ONE_SOL), &Value::Null), "nothing was done");

    node.rpc("svm_setPrioritizationFees", json!([[7, 9]])).await;
    let fees = node.rpc("getRecentPrioritizationFees", json!([])).await;
    let latest: Vec<_> = fees.as_array().unwrap().iter().rev().take(2).map(|fees| &fees["prioritizationFee"]).collect();
    assert_eq!(latest, [9, 7]);
    let slots = node.rpc("getBlocks", json!([18, 22, { "commitment": "confirmed" }])).await;
    assert_eq!(slots, json!([18, 19, 21, 22]));
}
