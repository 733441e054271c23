//! Sending signed transactions by the front door to real nodes: once, whatever happens on the way.

use serde_json::{Value, json};

use crate::harness::{Actor, Anvil, Fault, Relay, Svm, TestApp, until};

const SEND: &str =
    "mutation ($signed: String!) { transactionSend(input: {chain: \"devnet\", signedTransaction: $signed}) {
    sent { id from status endpoint chain { id } } userErrors { code field message } } }";
/// The example of EIP-155, which is signed for chain number 1.
const FOR_ANOTHER_CHAIN: &str = "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a7640000802\
    5a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b2\
    97fb1966a3b6d83";
const SOMEBODY: &str = "0x00000000000000000000000000000000DeaDBeef";

async fn app(network: &str, urls: &[String]) -> TestApp {
    let builder = TestApp::builder().chain("devnet", network, &["one", "two"], urls).config(|config| {
        config.chains.head_poll_ms = 50;
        config.chains.try_timeout_ms = 500;
        config.limits.overrides = vec!["Mutation.transactionSend=10000/60".parse().unwrap()];
    });
    builder.start().await
}

async fn send(actor: &Actor<'_>, signed: &str, key: Option<&str>) -> Value {
    let mut body = json!({"query": SEND, "variables": {"signed": signed}});
    if let Some(key) = key {
        body["extensions"] = json!({"idempotencyKey": key});
    }
    let reply = actor.post(&body).await.json();
    assert!(reply["errors"].is_null(), "{reply}");
    reply["data"]["transactionSend"].clone()
}

/// What was sent, which must be without a complaint.
pub(crate) async fn sent(actor: &Actor<'_>, signed: &str, key: Option<&str>) -> Value {
    let payload = send(actor, signed, key).await;
    assert_eq!(payload["userErrors"], json!([]));
    payload["sent"].clone()
}

/// The code and the field of the one complaint.
async fn complaint(actor: &Actor<'_>, signed: &str) -> (String, Value) {
    let payload = send(actor, signed, None).await;
    assert_eq!(payload["sent"], Value::Null, "{payload}");
    let error = &payload["userErrors"][0];
    (error["code"].as_str().unwrap_or_else(|| panic!("{payload}")).to_owned(), error["field"].clone())
}

/// A transfer of an account of the node's, signed and not sent.
pub(crate) async fn signed(node: &Anvil, change: Value) -> String {
    let from = node.rich().await;
    let mut wish = json!({"from": from, "to": SOMEBODY, "value": "0x10", "gas": "0x5208", "nonce": nonce(node).await,
        "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1", "chainId": "0x7a69"});
    wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let raw = node.rpc("eth_signTransaction", json!([wish])).await;
    raw.as_str().map_or_else(|| raw["raw"].as_str().unwrap().to_owned(), str::to_owned)
}

async fn nonce(node: &Anvil) -> Value {
    node.rpc("eth_getTransactionCount", json!([node.rich().await, "pending"])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evm_transaction_is_sent_once() {
    let node = Anvil::start().await;
    let app = app("evm:31337:ETH", &[node.url()]).await;
    let alice = app.alice();
    let raw = signed(&node, json!({})).await;
    let first = sent(&alice, &raw, Some("a")).await;
    assert_eq!((&first["status"], &first["endpoint"]), (&json!("ACCEPTED"), &json!("one")));
    assert!(first["from"].as_str().unwrap().eq_ignore_ascii_case(&node.rich().await));
    until("it is in a block", async || {
        !node.rpc("eth_getTransactionReceipt", json!([first["id"]])).await["blockNumber"].is_null()
    })
    .await;
    // The same key, no key, another key, another caller: it is the same transaction.
    for key in [Some("a"), None, Some("b")] {
        assert_eq!(sent(&alice, &raw, key).await, first);
    }
    assert_eq!(sent(&app.admin(), &raw, None).await, first);
    assert_eq!(nonce(&node).await, "0x1");
    assert_eq!(node.rpc("eth_getBalance", json!([SOMEBODY, "latest"])).await, "0x10");
    let rows = app.admin().query("{ auditLog(action: \"transaction.send\") { nodes { user resource } } }").await.json();
    let row = json!({"user": "alice", "resource": format!("transaction:devnet:{}", first["id"].as_str().unwrap())});
    assert_eq!(rows["data"]["auditLog"]["nodes"], json!([row]), "{rows}");

    let field = json!(["input", "signedTransaction"]);
    for (change, code) in [
        (json!({"nonce": "0x0", "value": "0x11"}), "NONCE_TOO_LOW"),
        (json!({"value": "0xffffffffffffffffffffff"}), "INSUFFICIENT_FUNDS"),
    ] {
        let raw = signed(&node, change.clone()).await;
        assert_eq!(complaint(&alice, &raw).await, (code.to_owned(), field.clone()), "{change}");
    }
    let mut flipped = raw.clone().into_bytes();
    let end = flipped.len() - 1;
    flipped[end] = if flipped[end] == b'0' { b'1' } else { b'0' };
    for bad in [FOR_ANOTHER_CHAIN, "", "0x", "0xzz", &raw[2..], &raw[..raw.len() - 2], "0x02", "AQID"] {
        assert_eq!(complaint(&alice, bad).await, ("BAD_USER_INPUT".to_owned(), field.clone()), "{bad}");
    }
    // Another signature is another sender, who has nothing.
    let payload = send(&alice, &String::from_utf8(flipped).unwrap(), None).await;
    assert!(
        ["INSUFFICIENT_FUNDS", "BAD_USER_INPUT"].contains(&payload["userErrors"][0]["code"].as_str().unwrap()),
        "{payload}"
    );
    app.anon().post(&json!({"query": SEND, "variables": {"signed": raw}})).await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solana_transaction_is_sent_once() {
    let node = Svm::start().await;
    let genesis = node.rpc("getGenesisHash", json!([])).await;
    let app = app(&format!("solana:{}", genesis.as_str().unwrap()), &[node.url()]).await;
    let alice = app.alice();
    let (rich, heir) = (node.wallet("rich").await, node.wallet("heir").await);
    node.rpc("requestAirdrop", json!([rich, 2_000_000_000_u64])).await;
    node.advance(3).await;
    // Preflight knows no newer one.
    let latest = node.rpc("getLatestBlockhash", json!([{"commitment": "confirmed"}])).await;
    let signed = async |from: &str, amount: u64| {
        let wish = json!({"from": from, "to": heir, "amount": amount, "blockhash": latest["value"]["blockhash"]});
        node.sign_transfer(wish).await
    };
    let (signature, raw) = signed("rich", 1_000_000_000).await;
    let first = sent(&alice, &raw, Some("a")).await;
    assert_eq!((&first["id"], &first["status"], &first["from"]), (&json!(signature), &json!("ACCEPTED"), &json!(rich)));
    node.advance(2).await;
    for key in [Some("a"), None, Some("b")] {
        assert_eq!(sent(&alice, &raw, key).await, first);
    }
    assert_eq!(node.rpc("getBalance", json!([heir, {"commitment": "confirmed"}])).await["value"], 1_000_000_000);

    let field = json!(["input", "signedTransaction"]);
    let (_, too_much) = signed("rich", 5_000_000_000).await;
    assert_eq!(complaint(&alice, &too_much).await, ("WOULD_FAIL".to_owned(), field.clone()));
    let (_, poor) = signed("nobody", 1).await;
    assert_eq!(complaint(&alice, &poor).await, ("INSUFFICIENT_FUNDS".to_owned(), field.clone()));
    let (_, late) = signed("rich", 2).await;
    node.advance(200).await;
    assert_eq!(complaint(&alice, &late).await, ("EXPIRED".to_owned(), field.clone()));
    for bad in ["", "0x00", "AQID", &raw[..40]] {
        assert_eq!(complaint(&alice, bad).await, ("BAD_USER_INPUT".to_owned(), field.clone()), "{bad}");
    }
}

/// An endpoint that falls silent in the middle leaves it open whether it has the transaction: the chain is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_endpoint_makes_nothing_happen_twice() {
    let node = Anvil::start().await;
    node.mine(2).await;
    let (one, two) = (Relay::start(&node.url()).await, Relay::start(&node.url()).await);
    let app = app("evm:31337:ETH", &[one.url(), two.url()]).await;
    let alice = app.alice();
    let heads = "{ chain(id: \"devnet\") { head { number } endpoints { lag } } }";
    until("both have told their heads", async || {
        let reply = app.admin().query(heads).await.json();
        reply["data"]["chain"]["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["lag"] == "0")
    })
    .await;
    for (fault, endpoint) in [(Fault::Mute, "one"), (Fault::Deaf, "two")] {
        one.set(fault);
        let (raw, before) = (signed(&node, json!({})).await, nonce(&node).await);
        let taken = sent(&alice, &raw, None).await;
        assert_eq!((&taken["status"], &taken["endpoint"]), (&json!("ACCEPTED"), &json!(endpoint)), "{fault:?}");
        assert_ne!(nonce(&node).await, before);
        assert_eq!(sent(&alice, &raw, None).await, taken);
    }
    // Nobody says anything: that is told, and whoever asks again under the same key learns what came of it.
    two.set(Fault::Deaf);
    let raw = signed(&node, json!({})).await;
    let unknown = sent(&alice, &raw, Some("later")).await;
    assert_eq!((&unknown["status"], &unknown["endpoint"]), (&json!("UNKNOWN"), &Value::Null));
    one.set(Fault::None);
    let taken = sent(&alice, &raw, Some("later")).await;
    assert_eq!((&taken["id"], &taken["status"]), (&unknown["id"], &json!("ACCEPTED")));
    assert_eq!(sent(&alice, &raw, Some("later")).await, taken);
    assert_eq!(node.rpc("eth_getBalance", json!([SOMEBODY, "latest"])).await, "0x30");
}
