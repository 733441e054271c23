//! What chains say, by the front door and of real nodes: one table for both families.

use serde_json::{Value, json};

use crate::harness::{Actor, Anvil, Svm, TestApp, until};

/// A chain of either family, on a node of its own, with accounts of each kind.
struct Ground {
    app: TestApp,
    /// The node's name for its newest block.
    rich: (String, &'static str),
    /// An address that was never used.
    fresh: &'static str,
    /// A contract or program.
    program: String,
    token: String,
    holder: String,
    symbol: String,
    /// Nothing is at this address.
    nowhere: &'static str,
    /// What is wrong with addresses of the family.
    bad: Vec<&'static str>,
}

/// A server that knows the chain `devnet` by these endpoints.
pub(crate) async fn app(network: &str, urls: &[String]) -> TestApp {
    let builder = TestApp::builder().chain("devnet", network, &["node-0", "node-1", "node-2"], urls).config(|config| {
        config.chains.head_poll_ms = 50;
        (config.graphql.max_aliases, config.graphql.max_fields) = (5_000, 50_000);
        (config.graphql.max_cost, config.graphql.max_root_fields) = (1_000_000, 5_000);
        (config.graphql.max_document_bytes, config.graphql.max_tokens) = (1_000_000, 100_000);
    });
    builder.start().await
}

/// `data.chain` of a selection, which must not fail.
pub(crate) async fn chain(actor: &Actor<'_>, selection: &str) -> Value {
    let reply = actor.query(&format!("{{ chain(id: \"devnet\") {{ {selection} }} }}")).await.json();
    assert!(reply["errors"].is_null(), "{selection}: {reply}");
    reply["data"]["chain"].clone()
}

/// The code and the field of the one error that a selection must fail with.
pub(crate) async fn failure(actor: &Actor<'_>, selection: &str) -> (String, Value) {
    let reply = actor.query(&format!("{{ chain(id: \"devnet\") {{ {selection} }} }}")).await.json();
    let errors = reply["errors"].as_array().unwrap_or_else(|| panic!("{selection}: {reply}"));
    assert_eq!(errors.len(), 1, "{reply}");
    assert_eq!(errors[0]["path"][0], "chain", "{reply}");
    let extensions = &errors[0]["extensions"];
    (extensions["code"].as_str().unwrap().to_owned(), extensions["fields"][0]["field"].clone())
}

/// A contract with EIP-20's reading half: balances are its storage by owner, six decimals, symbol `TST`.
const TOKEN_CODE: &str = "0x60003560e01c806370a082311460285780\
    63313ce5671460355780\
    6395d89b411460405760\
    0080fd5b60043554600052602060\
    00f35b600660005260206000f35b602060005260036020526254535460e81b60405260606000f3";

async fn evm() -> (Anvil, Ground) {
    let node = Anvil::start().await;
    let (token, holder) = ("0x00000000000000000000000000000000000070Ce", node.rich().await);
    node.set_code(token, TOKEN_CODE).await;
    let slot = format!("0x{:0>64}", &holder[2..].to_lowercase());
    let amount = format!("0x{:064x}", 1_500_000);
    node.rpc("anvil_setStorageAt", json!([token, slot, amount])).await;
    node.mine(3).await;
    let ground = Ground {
        app: app("evm:31337:ETH", &[node.url()]).await,
        rich: (holder.clone(), "10000000000000000000000"),
        fresh: "0x00000000000000000000000000000000DeaDBeef",
        program: token.to_owned(),
        token: token.to_owned(),
        holder,
        symbol: "TST".to_owned(),
        nowhere: "0x000000000000000000000000000000000000dEaD",
        bad: vec![
            "",
            "0x",
            "vitalik.eth",
            "0x00000000000000000000000000000000deaDBeef",
            "11111111111111111111111111111111",
        ],
    };
    (node, ground)
}

async fn solana() -> (Svm, Ground) {
    let node = Svm::start().await;
    let rich = node.wallet("rich").await;
    node.rpc("requestAirdrop", json!([rich, 2_000_000_000])).await;
    let (token, _) = node.mint_to("gold", &rich, 1_500_000, 6).await;
    node.advance(3).await;
    let genesis = node.rpc("getGenesisHash", json!([])).await;
    let ground = Ground {
        app: app(&format!("solana:{}", genesis.as_str().unwrap()), &[node.url()]).await,
        rich: (rich.clone(), "2000000000"),
        fresh: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        program: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA".to_owned(),
        symbol: token.clone(),
        token,
        holder: rich,
        nowhere: "So11111111111111111111111111111111111111112",
        bad: vec![
            "",
            "0x",
            "zzzz",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt10",
            "0x00000000000000000000000000000000DeaDBeef",
        ],
    };
    (node, ground)
}

async fn balances_are_those_of_the_node(ground: &Ground) {
    let Ground { app, rich: (rich, amount), fresh, program, token, holder, symbol, .. } = ground;
    let alice = app.alice();
    let selection = "amount formatted token { address symbol decimals } provenance { endpoint finality agreement { asked agreed } simulated }";
    let asked = format!(
        "rich: balance(address: {rich:?}) {{ address {selection} }} fresh: balance(address: {fresh:?}) {{ amount }} \
        program: balance(address: {program:?}) {{ amount }} \
        token: balance(address: {holder:?}, token: {token:?}) {{ {selection} }} \
        none: balance(address: {fresh:?}, token: {token:?}) {{ amount formatted }}"
    );
    let found = chain(&alice, &asked).await;
    assert_eq!(found["rich"]["amount"], json!(amount));
    // However it was typed.
    assert!(found["rich"]["address"].as_str().unwrap().eq_ignore_ascii_case(rich));
    assert_eq!(found["rich"]["token"]["address"], Value::Null);
    assert_eq!(found["fresh"]["amount"], "0");
    assert!(found["program"]["amount"].is_string());
    assert_eq!((&found["token"]["amount"], &found["token"]["formatted"]), (&json!("1500000"), &json!("1.5")));
    assert_eq!(found["token"]["token"], json!({"address": token, "symbol": symbol, "decimals": 6}));
    assert_eq!(found["none"], json!({"amount": "0", "formatted": "0"}));
    let provenance =
        json!({"endpoint": "node-0", "finality": "LATEST", "agreement": {"asked": 1, "agreed": 1}, "simulated": false});
    assert_eq!(found["rich"]["provenance"], provenance);
    assert_eq!(found["token"]["provenance"], provenance);
}

async fn what_makes_no_sense_is_refused(ground: &Ground) {
    let Ground { app, fresh, token, nowhere, bad, .. } = ground;
    let alice = app.alice();
    for bad in bad {
        let refused = failure(&alice, &format!("balance(address: {bad:?}) {{ amount }}")).await;
        assert_eq!(refused, ("BAD_USER_INPUT".to_owned(), json!(["address"])), "{bad}");
        let refused = failure(&alice, &format!("balance(address: {fresh:?}, token: {bad:?}) {{ amount }}")).await;
        assert_eq!(refused, ("BAD_USER_INPUT".to_owned(), json!(["token"])), "{bad}");
    }
    let refused = failure(&alice, &format!("balance(address: {fresh:?}, token: {nowhere:?}) {{ amount }}")).await;
    assert_eq!(refused.0, "NOT_FOUND");
    let refused =
        failure(&alice, &format!("balance(address: {fresh:?}, token: {token:?}, consistency: QUORUM) {{ amount }}"))
            .await;
    assert_eq!(refused.0, "UPSTREAM_UNAVAILABLE", "one endpoint cannot agree with itself");
    let unknown = alice.query("{ chain(id: \"nowhere\") { id } }").await.json();
    assert_eq!(unknown["errors"][0]["extensions"]["code"], "NOT_FOUND", "{unknown}");
    assert_eq!(unknown["errors"][0]["extensions"]["known"], "devnet");
    assert_eq!(unknown["data"]["chain"], Value::Null);
}

/// Any number of aliases is a few requests to the node.
async fn a_thousand_balances_are_ten_batches(ground: &Ground) {
    let Ground { app, rich: (rich, amount), .. } = ground;
    let addresses: Vec<String> = match rich.strip_prefix("0x") {
        Some(_) => (0..999).map(|number| format!("0x{number:040x}")).collect(),
        None => (0..999_u32)
            .map(|number| {
                let mut bytes = [7; 32];
                bytes[..4].copy_from_slice(&number.to_le_bytes());
                bs58::encode(bytes).into_string()
            })
            .collect(),
    };
    let aliases = addresses.iter().chain([rich]).enumerate();
    let asked: String =
        aliases.map(|(at, address)| format!("b{at}: balance(address: {address:?}) {{ amount }} ")).collect();
    let before = reads(app).await;
    let found = chain(&app.alice(), &asked).await;
    assert_eq!((found.as_object().unwrap().len(), &found["b999"]["amount"]), (1_000, &json!(amount)));
    let requests = reads(app).await - before;
    assert!((1..=10).contains(&requests), "{requests}");
}

/// Requests for balances that the node has answered.
async fn reads(app: &TestApp) -> i64 {
    let reply = app.admin().query("{ upstreams { name total { successes } } }").await.json();
    let upstreams = reply["data"]["upstreams"].as_array().unwrap();
    let of_balances = upstreams.iter().filter(|upstream| {
        let name = upstream["name"].as_str().unwrap();
        ["devnet/node-0/eth_getBalance", "devnet/node-0/getMultipleAccounts"].contains(&name)
    });
    of_balances.map(|upstream| upstream["total"]["successes"].as_i64().unwrap()).sum()
}

async fn the_whole_table(ground: &Ground) {
    balances_are_those_of_the_node(ground).await;
    what_makes_no_sense_is_refused(ground).await;
    a_thousand_balances_are_ten_batches(ground).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evm_chains() {
    let (node, ground) = evm().await;
    the_whole_table(&ground).await;
    // What is newest moves on; what is final stays behind.
    let alice = ground.app.alice();
    let asked = "head { number hash finalizedNumber timestamp provenance { endpoint blockNumber blockHash } }";
    let before = chain(&alice, asked).await["head"].clone();
    assert_eq!(before["provenance"]["blockHash"], before["hash"]);
    node.set_balance(ground.fresh, 5).await;
    node.mine(1).await;
    let balance = format!("balance(address: {:?}) {{ amount provenance {{ blockNumber }} }}", ground.fresh);
    until("the new block is read", async || chain(&alice, &balance).await["balance"]["amount"] == "5").await;
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let after = chain(&alice, asked).await["head"].clone();
    assert!(number(&after["number"]) > number(&before["number"]) && after["hash"] != before["hash"], "{after}");
    // A block that was undone has no balances: what comes in its place is read.
    node.reorg(1).await;
    until("the head is another block", async || chain(&alice, asked).await["head"]["hash"] != after["hash"]).await;
    ground.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn solana_chains() {
    let (node, ground) = solana().await;
    the_whole_table(&ground).await;
    let alice = ground.app.alice();
    let before = chain(&alice, "head { number hash finalizedNumber }").await["head"].clone();
    assert_eq!(before["hash"], Value::Null);
    node.rpc("requestAirdrop", json!([ground.fresh, 7_000_000])).await;
    node.advance(2).await;
    let balance = format!("balance(address: {:?}) {{ amount provenance {{ blockNumber }} }}", ground.fresh);
    until("the new slot is read", async || chain(&alice, &balance).await["balance"]["amount"] == "7000000").await;
    ground.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_another_chain_is_never_asked() {
    let node = Anvil::builder().chain_id(1).start().await;
    let app = app("evm:31337:ETH", &[node.url()]).await;
    let asked = "balance(address: \"0x00000000000000000000000000000000DeaDBeef\") { amount }";
    assert_eq!(failure(&app.alice(), asked).await.0, "UPSTREAM_UNAVAILABLE");
    let endpoints = chain(&app.admin(), "endpoints { name usable trouble }").await["endpoints"].clone();
    let expected = json!([{"name": "node-0", "usable": false, "trouble": "it answers for another chain: 1"}]);
    assert_eq!(endpoints, expected);
    app.alice().query("{ chain(id: \"devnet\") { endpoints { name } } }").await.refused(403, "FORBIDDEN");
}
