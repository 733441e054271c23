//! Transactions and fees, by the front door and of real nodes: one table for both families.

use serde_json::{Value, json};

use crate::{
    chains_reads::{app, chain, failure},
    chains_send::{sent, signed},
    harness::{Actor, Anvil, Node, Svm, TestApp, until},
};

const FRESH: &str = "0x00000000000000000000000000000000DeaDBeef";
const REVERTS: &str = "0x00000000000000000000000000000000000000bb";
const MINT: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";

/// A node of either family, which makes blocks when it is told to.
enum Ground {
    Evm(Anvil),
    Solana(Svm),
}

impl Ground {
    async fn evm() -> Self {
        let node = Anvil::start().await;
        node.set_code(REVERTS, &reverting("no way")).await;
        node.mine(1).await;
        node.rpc("evm_setAutomine", json!([false])).await;
        Self::Evm(node)
    }

    async fn solana() -> Self {
        let node = Svm::start().await;
        let rich = node.wallet("rich").await;
        node.rpc("requestAirdrop", json!([rich, 2_000_000_000])).await;
        node.advance(2).await;
        Self::Solana(node)
    }

    fn node(&self) -> &Node {
        match self {
            Self::Evm(node) => node,
            Self::Solana(node) => node,
        }
    }

    async fn app(nodes: &[&Self]) -> TestApp {
        let network = match nodes[0] {
            Self::Evm(_) => "evm:31337:ETH".to_owned(),
            Self::Solana(node) => format!("solana:{}", node.rpc("getGenesisHash", json!([])).await.as_str().unwrap()),
        };
        app(&network, &nodes.iter().map(|ground| ground.node().url()).collect::<Vec<_>>()).await
    }

    async fn blocks(&self, count: u64) {
        match self {
            Self::Evm(node) => node.mine(count).await,
            Self::Solana(node) => node.advance(count).await,
        }
    }

    /// Signs what moves so many base units, and does not send it. The transaction, and who it is from and to.
    async fn sign(&self, amount: u64) -> (String, String, String) {
        match self {
            Self::Evm(node) => {
                let signed = signed(node, json!({ "value": format!("{amount:#x}") })).await;
                (signed, node.rich().await, FRESH.to_owned())
            }
            Self::Solana(node) => {
                // Preflight knows no newer one.
                let latest = node.rpc("getLatestBlockhash", json!([{ "commitment": "confirmed" }])).await;
                let blockhash = &latest["value"]["blockhash"];
                let wish = json!({ "from": "rich", "to": MINT, "amount": amount, "blockhash": blockhash });
                (node.sign_transfer(wish).await.1, node.wallet("rich").await, MINT.to_owned())
            }
        }
    }

    /// Sends what moves so many base units. Its id, and who it is from and to.
    async fn send(&self, amount: u64) -> (String, String, String) {
        match self {
            Self::Evm(node) => {
                let from = node.rich().await;
                let wish = json!({ "from": from, "to": FRESH, "value": format!("{amount:#x}") });
                let id = node.rpc("eth_sendTransaction", json!([wish])).await;
                (id.as_str().unwrap().to_owned(), from, FRESH.to_owned())
            }
            Self::Solana(node) => {
                let wish = json!({ "from": "rich", "to": MINT, "amount": amount });
                let (id, transaction) = node.sign_transfer(wish).await;
                let options = json!({ "encoding": "base64", "skipPreflight": true });
                node.rpc("sendTransaction", json!([transaction, options])).await;
                (id, node.wallet("rich").await, MINT.to_owned())
            }
        }
    }

    /// Sends what will fail: on EVM chains as the contract does not want it, on Solana as there is not so much.
    async fn send_in_vain(&self) -> String {
        match self {
            Self::Evm(node) => {
                let wish = json!({ "from": node.rich().await, "to": REVERTS, "gas": "0x20000" });
                node.rpc("eth_sendTransaction", json!([wish])).await.as_str().unwrap().to_owned()
            }
            Self::Solana(_) => self.send(50_000_000_000).await.0,
        }
    }

    /// A good id of nothing, and ids that are none.
    fn ids(&self) -> (String, Vec<String>) {
        let (hash, signature) = (format!("0x{}", "1".repeat(64)), "1".repeat(64));
        let bad = |own: &str, foreign: &str| {
            ["", "0x", "zz", &own[1..], &format!("{own}1"), foreign].map(str::to_owned).to_vec()
        };
        match self {
            Self::Evm(_) => (hash.clone(), bad(&hash, &signature)),
            Self::Solana(_) => (signature.clone(), bad(&signature, &hash)),
        }
    }
}

/// A contract that undoes whatever calls it, with `Error(string)`.
fn reverting(reason: &str) -> String {
    let words: String = reason.bytes().map(|byte| format!("{byte:02x}")).collect();
    let data = format!("08c379a0{:064x}{:064x}{words:0<64}", 0x20, reason.len());
    let length = data.len() / 2;
    format!("0x60{length:02x}600c60003960{length:02x}6000fd{data}")
}

const ALL: &str = "id status from to value nonce fee token { symbol decimals } blockNumber blockHash slot confirmations \
    error timestamp provenance { endpoint blockNumber blockHash finality }";

async fn transaction(actor: &Actor<'_>, id: &str) -> Value {
    chain(actor, &format!("transaction(id: {id:?}) {{ {ALL} }}")).await["transaction"].take()
}

async fn until_status(actor: &Actor<'_>, id: &str, status: &str) -> Value {
    until(status, async || transaction(actor, id).await["status"] == status).await;
    transaction(actor, id).await
}

fn number(value: &Value) -> u128 {
    value.as_str().unwrap_or_else(|| panic!("no number: {value}")).parse().unwrap()
}

/// What the base units of a fee were paid for, by the node's own word.
async fn paid(ground: &Ground, id: &str) -> u128 {
    match ground {
        Ground::Evm(node) => {
            let receipt = node.rpc("eth_getTransactionReceipt", json!([id])).await;
            let number = |field: &str| u128::from_str_radix(&receipt[field].as_str().unwrap()[2..], 16).unwrap();
            number("gasUsed") * number("effectiveGasPrice")
        }
        Ground::Solana(_) => 5_000,
    }
}

/// From a signed transfer to its last block, all of it by GraphQL.
async fn a_transfer_becomes_final(ground: &Ground, app: &TestApp) {
    let alice = app.alice();
    let (signed, from, to) = ground.sign(5_000_000).await;
    let sent = sent(&alice, &signed, Some("once")).await;
    assert_eq!((&sent["status"], &sent["endpoint"]), (&json!("ACCEPTED"), &json!("node-0")));
    let id = sent["id"].as_str().unwrap().to_owned();
    let pending = until_status(&alice, &id, "PENDING").await;
    assert_eq!((&pending["id"], &pending["fee"], &pending["confirmations"]), (&json!(id), &json!(null), &json!(null)));
    assert_eq!((&pending["blockNumber"], &pending["slot"]), (&json!(null), &json!(null)));
    assert_eq!(pending["provenance"]["finality"], "LATEST");
    ground.blocks(1).await;
    let confirmed = until_status(&alice, &id, "CONFIRMED").await;
    assert!(confirmed["from"].as_str().unwrap().eq_ignore_ascii_case(&from), "{confirmed}");
    assert_eq!((&confirmed["to"], &confirmed["value"]), (&json!(to), &json!("5000000")));
    assert_eq!((number(&confirmed["fee"]), &confirmed["error"]), (paid(ground, &id).await, &json!(null)));
    assert!(confirmed["timestamp"].is_string(), "{confirmed}");
    let (place, decimals) = match ground {
        Ground::Evm(_) => ("blockNumber", 18),
        Ground::Solana(_) => ("slot", 9),
    };
    assert_eq!(confirmed["token"]["decimals"], decimals);
    assert_eq!(confirmed["nonce"].is_null(), confirmed["blockHash"].is_null());
    let provenance = &confirmed["provenance"];
    assert_eq!((&provenance["endpoint"], &provenance["finality"]), (&json!("node-0"), &json!("LATEST")));
    assert_eq!((&provenance["blockNumber"], &provenance["blockHash"]), (&confirmed[place], &confirmed["blockHash"]));
    assert!(number(&confirmed["confirmations"]) >= 1);
    ground.blocks(70).await;
    let last = until_status(&alice, &id, "FINALIZED").await;
    assert_eq!(last["provenance"]["finality"], "FINALIZED");
    // What is final is not read again, but there are always more blocks above it.
    let counted = number(&last["confirmations"]);
    assert!(counted > 32, "{last}");
    ground.blocks(5).await;
    until("more confirmations", async || number(&transaction(&alice, &id).await["confirmations"]) > counted).await;
    let later = transaction(&alice, &id).await;
    assert_eq!((&later["fee"], &later[place]), (&confirmed["fee"], &confirmed[place]));
}

async fn failures_are_told(ground: &Ground, app: &TestApp) {
    let alice = app.alice();
    let id = ground.send_in_vain().await;
    ground.blocks(1).await;
    let failed = until_status(&alice, &id, "FAILED").await;
    assert_eq!(
        (number(&failed["fee"]), &failed["provenance"]["finality"]),
        (paid(ground, &id).await, &json!("LATEST"))
    );
    let reason = match ground {
        // A receipt has none.
        Ground::Evm(_) => json!(null),
        Ground::Solana(_) => json!("instruction 0: custom program error 0x1"),
    };
    assert_eq!(failed["error"], reason);
    ground.blocks(70).await;
    let is_final = async || transaction(&alice, &id).await["provenance"]["finality"] == "FINALIZED";
    until("the failure is final", is_final).await;
    assert_eq!(transaction(&alice, &id).await["status"], "FAILED");
}

async fn ids_are_checked(ground: &Ground, app: &TestApp) {
    let (alice, (unknown, bad)) = (app.alice(), ground.ids());
    assert_eq!(transaction(&alice, &unknown).await, Value::Null);
    for bad in bad {
        let refused = failure(&alice, &format!("transaction(id: {bad:?}) {{ id }}")).await;
        assert_eq!(refused, ("BAD_USER_INPUT".to_owned(), json!(["id"])), "{bad}");
    }
}

/// The first of two nodes has never heard of what the second one knows.
async fn one_that_knows_is_enough(first: &Ground, second: &Ground) {
    let app = Ground::app(&[first, second]).await;
    let alice = app.alice();
    let (id, ..) = second.send(7_000_000).await;
    let pending = until_status(&alice, &id, "PENDING").await;
    assert_eq!(pending["provenance"]["endpoint"], "node-1");
    second.blocks(1).await;
    first.blocks(1).await;
    let confirmed = until_status(&alice, &id, "CONFIRMED").await;
    assert_eq!(confirmed["provenance"]["endpoint"], "node-1");
    let unknown = first.ids().0;
    assert_eq!(transaction(&alice, &unknown).await, Value::Null);
    // The word of one that is behind is not enough, as long as it is known to be behind.
    second.blocks(3).await;
    let heads = async || chain(&app.admin(), "endpoints { lag }").await["endpoints"][0]["lag"] != "0";
    until("the first one is behind", heads).await;
    second.node().kill();
    let refused = failure(&alice, &format!("transaction(id: {unknown:?}) {{ id }}")).await;
    assert_eq!(refused.0, "UPSTREAM_UNAVAILABLE");
    app.stop().await;
}

/// The extensions of the one error of an estimate that must fail.
async fn refused(actor: &Actor<'_>, input: &str) -> Value {
    let document = format!("{{ chain(id: \"devnet\") {{ estimateFee(input: {input}) {{ slow {{ most }} }} }} }}");
    let mut reply = actor.query(&document).await.json();
    assert_eq!(reply["errors"].as_array().map(Vec::len), Some(1), "{input}: {reply}");
    assert_eq!(reply["errors"][0]["path"], json!(["chain", "estimateFee"]), "{reply}");
    reply["errors"][0]["extensions"].take()
}

/// The fields that an input is refused for.
async fn wrong_fields(actor: &Actor<'_>, input: &str) -> Vec<String> {
    let extensions = refused(actor, input).await;
    assert_eq!(extensions["code"], "BAD_USER_INPUT", "{input}: {extensions}");
    let name = |field: &Value| {
        let path: Vec<&str> = field["field"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        path.join(".")
    };
    extensions["fields"].as_array().unwrap_or_else(|| panic!("{extensions}")).iter().map(name).collect()
}

const TIER: &str = "expected expectedFormatted most gas { gasLimit baseFeePerGas maxPriorityFeePerGas maxFeePerGas \
    gasPrice } compute { computeUnits microLamportsPerComputeUnit signatureFee }";

async fn estimate(actor: &Actor<'_>, input: &str) -> Value {
    let tiers = format!("slow {{ {TIER} }} standard {{ {TIER} }} fast {{ {TIER} }}");
    let provenance = "token { symbol } provenance { endpoint blockNumber finality }";
    let asked = format!("estimateFee(input: {input}) {{ {tiers} {provenance} }}");
    chain(actor, &asked).await["estimateFee"].take()
}

/// The fee of each tier, whose sums must be right; and the units of gas.
fn checked(estimate: &Value) -> ([u128; 3], u128) {
    let tiers = ["slow", "standard", "fast"].map(|tier| {
        let (tier, gas) = (&estimate[tier], &estimate[tier]["gas"]);
        let [limit, base, priority, most] =
            ["gasLimit", "baseFeePerGas", "maxPriorityFeePerGas", "maxFeePerGas"].map(|field| number(&gas[field]));
        assert_eq!(most, 2 * base + priority, "{tier}");
        assert_eq!((number(&tier["expected"]), number(&tier["most"])), (limit * (base + priority), limit * most));
        assert_eq!((&tier["compute"], &gas["gasPrice"]), (&json!(null), &json!(null)));
        priority
    });
    assert!(tiers.is_sorted() && tiers[0] >= 1, "{estimate}");
    (tiers, number(&estimate["slow"]["gas"]["gasLimit"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evm_transactions() {
    let ground = Ground::evm().await;
    let app = Ground::app(&[&ground]).await;
    a_transfer_becomes_final(&ground, &app).await;
    failures_are_told(&ground, &app).await;
    ids_are_checked(&ground, &app).await;
    let (alice, Ground::Evm(node)) = (app.alice(), &ground) else { panic!("not an EVM chain") };
    // What is pending is not kept, not even until the next block.
    let (dropped, ..) = ground.send(1).await;
    assert_eq!(transaction(&alice, &dropped).await["status"], "PENDING");
    node.rpc("anvil_dropTransaction", json!([dropped])).await;
    assert_eq!(transaction(&alice, &dropped).await, Value::Null);
    let wish = json!({ "from": node.rich().await, "data": "0x00" });
    let id = node.rpc("eth_sendTransaction", json!([wish])).await.as_str().unwrap().to_owned();
    node.mine(1).await;
    let made = until_status(&alice, &id, "CONFIRMED").await;
    assert_eq!((&made["to"], &made["value"]), (&json!(null), &json!("0")));
    // A reorganisation takes it back.
    node.reorg(1).await;
    until("it is undone", async || {
        let undone = transaction(&alice, &id).await;
        undone.is_null() || undone["status"] == "PENDING"
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn solana_transactions() {
    let ground = Ground::solana().await;
    let app = Ground::app(&[&ground]).await;
    a_transfer_becomes_final(&ground, &app).await;
    failures_are_told(&ground, &app).await;
    ids_are_checked(&ground, &app).await;
    let (alice, Ground::Solana(node)) = (app.alice(), &ground) else { panic!("not Solana") };
    // What is unknown is not kept, not even until the next block.
    let (id, signed) = node.sign_transfer(json!({ "from": "rich", "to": MINT, "amount": 8_000_000 })).await;
    assert_eq!(transaction(&alice, &id).await, Value::Null);
    node.rpc("sendTransaction", json!([signed, { "encoding": "base64", "skipPreflight": true }])).await;
    assert_eq!(transaction(&alice, &id).await["status"], "PENDING");
    // Another fork takes it back.
    let (id, ..) = ground.send(6_000_000).await;
    node.advance(1).await;
    until_status(&alice, &id, "CONFIRMED").await;
    node.fork(2).await;
    until("it is undone", async || transaction(&alice, &id).await.is_null()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_does_not_know_makes_nothing_unknown() {
    one_that_knows_is_enough(&Ground::evm().await, &Ground::evm().await).await;
    one_that_knows_is_enough(&Ground::solana().await, &Ground::solana().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evm_fees() {
    let ground = Ground::evm().await;
    let app = Ground::app(&[&ground]).await;
    let (alice, Ground::Evm(node)) = (app.alice(), &ground) else { panic!("not an EVM chain") };
    let rich = node.rich().await;
    // Nobody has paid anything yet.
    let quiet = estimate(&alice, "{}").await;
    assert_eq!(checked(&quiet), ([1, 1, 1], 21_000));
    assert_eq!((&quiet["token"]["symbol"], &quiet["provenance"]["finality"]), (&json!("ETH"), &json!("LATEST")));
    let transfer = format!("{{ from: {rich:?}, to: {FRESH:?}, value: \"5\" }}");
    assert_eq!(checked(&estimate(&alice, &transfer).await).1, 21_000);
    let creation = format!("{{ from: {rich:?}, data: \"0x00\" }}");
    assert!(checked(&estimate(&alice, &creation).await).1 > 53_000);
    // A contract that stops at once is told something.
    let program = "0x00000000000000000000000000000000000000CC";
    node.set_code(program, "0x00").await;
    node.mine(1).await;
    let call = format!("{{ to: {program:?}, data: \"0xff\" }}");
    let is_new = async || checked(&estimate(&alice, &call).await).1 > 21_000;
    until("the contract is there", is_new).await;
    for reverts in [format!("{{ to: {REVERTS:?} }}"), format!("{{ to: {REVERTS:?}, data: \"0xff\", value: 0 }}")] {
        let told = refused(&alice, &reverts).await;
        let expected = [json!("BAD_USER_INPUT"), json!("REVERTED"), json!("no way")];
        assert_eq!([&told["code"], &told["reason"], &told["revertReason"]], expected.each_ref(), "{told}");
    }
    let poor = format!("{{ from: {FRESH:?}, to: {program:?}, data: \"0x01\", value: \"1000000000000000000\" }}");
    assert_eq!(refused(&alice, &poor).await["code"], "BAD_USER_INPUT");
    // What others pay raises the tiers.
    ground.send(1).await;
    node.mine(1).await;
    until("the tip is seen", async || checked(&estimate(&alice, "{}").await).0[0] > 1).await;
    for (input, expected) in [
        (r#"{ from: "0x1" }"#, ["input.from"].as_slice()),
        (r#"{ from: "0x1", to: "", data: "12" }"#, &["input.from", "input.to", "input.data"]),
        (
            r#"{ message: "AA==", accounts: [], computeUnits: 1 }"#,
            &["input.message", "input.accounts", "input.computeUnits"],
        ),
    ] {
        assert_eq!(wrong_fields(&alice, input).await, expected, "{input}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_without_base_fees_has_one_price() {
    let ground = Ground::Evm(Anvil::builder().hardfork("berlin").start().await);
    let app = Ground::app(&[&ground]).await;
    let found = estimate(&app.alice(), "{}").await;
    let prices = ["slow", "standard", "fast"].map(|tier| number(&found[tier]["gas"]["gasPrice"]));
    assert_eq!(prices.map(|price| price * 100 / prices[0]), [100, 110, 125]);
    assert_eq!(number(&found["fast"]["most"]), 21_000 * prices[2]);
    assert_eq!(found["slow"]["gas"]["baseFeePerGas"], Value::Null);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn solana_fees() {
    let ground = Ground::solana().await;
    let app = Ground::app(&[&ground]).await;
    let (alice, Ground::Solana(node)) = (app.alice(), &ground) else { panic!("not Solana") };
    let quiet = estimate(&alice, "{}").await;
    for tier in ["slow", "standard", "fast"] {
        let compute = json!({"computeUnits": "200000", "microLamportsPerComputeUnit": "0", "signatureFee": "5000"});
        assert_eq!(
            quiet[tier],
            json!({
                "expected": "5000", "expectedFormatted": "0.000005", "most": "5000", "gas": null, "compute": compute,
            })
        );
    }
    // Signed at a price of its own, which is not counted.
    let wish = json!({ "from": "rich", "to": MINT, "amount": 1, "price": 1_000_000 });
    let signed = node.rpc("svm_signTransfer", json!([wish])).await;
    let message = signed["message"].as_str().unwrap();
    // Of the newest 34 blocks.
    let prices = [vec![1_000; 24], vec![3_001; 10]].concat();
    node.rpc("svm_setPrioritizationFees", json!([prices])).await;
    node.advance(1).await;
    let asked = format!("{{ message: {message:?} }}");
    until("prices are seen", async || estimate(&alice, &asked).await["fast"]["expected"] == "5601").await;
    let found = estimate(&alice, &asked).await;
    assert_eq!(found["slow"]["compute"]["signatureFee"], "5000");
    let rich = node.wallet("rich").await;
    let few = estimate(&alice, &format!("{{ accounts: [{rich:?}], computeUnits: 10 }}")).await;
    assert_eq!((&few["fast"]["expected"], &few["fast"]["compute"]["computeUnits"]), (&json!("5001"), &json!("10")));
    let wish = json!({ "from": "rich", "to": MINT, "amount": 1, "blockhash": MINT });
    let stale = node.rpc("svm_signTransfer", json!([wish])).await;
    let stale = format!("{{ message: {} }}", stale["message"]);
    for (input, expected) in [
        (stale.as_str(), ["input.message"].as_slice()),
        (r#"{ from: "a", to: "b", value: "1", data: "0x" }"#, &["input.from", "input.to", "input.value", "input.data"]),
        (
            r#"{ message: "?", accounts: ["zz"], computeUnits: -1 }"#,
            &["input.message", "input.accounts.0", "input.computeUnits"],
        ),
        (r#"{ message: "AAAA", computeUnits: 1400001 }"#, &["input.message", "input.computeUnits"]),
    ] {
        assert_eq!(wrong_fields(&alice, input).await, expected, "{input}");
    }
    app.stop().await;
}
