//! Chains in the sandbox: stand-ins where nothing is set, and a node of one's own by a flag.

use serde_json::{Value, json};
use tidegate::{
    config::Config,
    model::Role,
    sandbox::{Fault, Vendor},
};
use tokio::time::timeout;

use crate::harness::{Anvil, FreshDatabase, PATIENCE, Program, Stranger, Svm, TestApp, program, until};

/// Each chain, an address that has much, a token, and what the token calls itself.
const CHAINS: [(&str, &str, &str, &str); 2] = [
    ("ethereum", "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC"),
    (
        "solana",
        "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    ),
];

/// `data` of a query, which must not fail.
async fn data(app: &TestApp, document: &str) -> Value {
    let reply = app.alice().query(document).await.json();
    assert!(reply["errors"].is_null(), "{document}: {reply}");
    reply["data"].clone()
}

fn number(value: &Value) -> u128 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_answer_where_nothing_is_set_and_say_that_they_are_simulated() {
    let app = TestApp::start().await;
    let asked = "{ chains { id simulated head { number finalizedNumber } } }";
    let chains = data(&app, asked).await["chains"].clone();
    let ids: Vec<_> = chains.as_array().unwrap().iter().map(|chain| (&chain["id"], &chain["simulated"])).collect();
    assert_eq!(ids, [(&json!("ethereum"), &json!(true)), (&json!("solana"), &json!(true))]);
    for (place, depth) in [(0, 64), (1, 31)] {
        let head = &chains[place]["head"];
        let behind = number(&head["number"]) - number(&head["finalizedNumber"]);
        // The two are asked for one after the other, and a slot may begin between.
        assert!((depth - 1..=depth).contains(&behind), "{head}");
    }
    for (id, rich, token, symbol) in CHAINS {
        let asked = format!(
            "{{ chain(id: {id:?}) {{ native: balance(address: {rich:?}) {{ ...B }}
               final: balance(address: {rich:?}, at: FINALIZED) {{ ...B }}
               token: balance(address: {rich:?}, token: {token:?}) {{ ...B }} }} }}
             fragment B on ChainBalance {{ amount token {{ symbol }} provenance {{ endpoint simulated }} }}"
        );
        let found = data(&app, &asked).await["chain"].clone();
        for balance in ["native", "final", "token"] {
            assert!(number(&found[balance]["amount"]) >= 100_000_000_000, "{found}");
            assert_eq!(found[balance]["provenance"], json!({"endpoint": "stand-in", "simulated": true}));
        }
        assert_eq!(found["native"]["amount"], found["final"]["amount"]);
        assert_eq!(found["token"]["token"]["symbol"], symbol);
        let asked = format!("{{ chain(id: {id:?}) {{ head {{ number }} }} }}");
        let before = data(&app, &asked).await["chain"]["head"]["number"].clone();
        until("the next block", async || data(&app, &asked).await["chain"]["head"]["number"] != before).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_node_is_an_error_with_a_code() {
    for fault in [Fault::Hang, Fault::Garbage, Fault::ServerError { status: 500 }] {
        let change = |config: &mut Config| (config.chains.try_timeout_ms, config.chains.head_poll_ms) = (300, 50);
        let app = TestApp::builder().config(change).start().await;
        for (node, (id, rich, ..)) in Vendor::NODES.into_iter().zip(CHAINS) {
            app.stand_ins.faults(node).set(fault.clone());
            let asked = format!("{{ chain(id: {id:?}) {{ balance(address: {rich:?}) {{ amount }} }} }}");
            assert_eq!(app.alice().query(&asked).await.code(), "UPSTREAM_UNAVAILABLE", "{fault:?}");
            app.stand_ins.faults(node).set(Fault::None);
            until("it is well again", async || {
                let reply = app.alice().query(&asked).await.json();
                reply["data"]["chain"]["balance"]["amount"].is_string()
            })
            .await;
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_ones_own_takes_the_place_of_a_stand_in() {
    for (chain_number, id, name) in
        [(31_337, "ethereum", "ethereum"), (1, "ethereum", "Ethereum"), (8_453, "base", "Base")]
    {
        let (node, database) = (Anvil::builder().chain_id(chain_number).start().await, FreshDatabase::sqlite());
        let server = Program::start_with(&database.config, &["--evm-rpc", &node.url()]).await;
        let alice = Stranger::new("alice", Role::User);
        let rich = node.rich().await;
        let asked = format!(
            "{{ chains {{ id name simulated nativeToken {{ symbol }} }}
               chain(id: {id:?}) {{ balance(address: {rich:?}) {{ amount provenance {{ endpoint simulated }} }} }} }}"
        );
        let reply = alice.post(server.base(), &json!({"query": asked})).await.expect("an answer");
        let given = json!({"id": id, "name": name, "simulated": false, "nativeToken": {"symbol": "ETH"}});
        let solana = json!({"id": "solana", "name": "Solana", "simulated": true, "nativeToken": {"symbol": "SOL"}});
        assert_eq!(reply["data"]["chains"], json!([given, solana]), "{reply}");
        let provenance = json!({"endpoint": "given", "simulated": false});
        let balance = json!({"amount": "10000000000000000000000", "provenance": provenance});
        assert_eq!(reply["data"]["chain"]["balance"], balance, "{reply}");
        server.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_of_solana() {
    let (node, database) = (Svm::start().await, FreshDatabase::sqlite());
    let rich = node.wallet("rich").await;
    node.rpc("requestAirdrop", json!([rich, 2_000_000_000])).await;
    node.advance(3).await;
    let server = Program::start_with(&database.config, &["--solana-rpc", &node.url()]).await;
    let asked = format!("{{ chain(id: \"solana\") {{ simulated balance(address: {rich:?}) {{ amount }} }} }}");
    let reply = Stranger::new("alice", Role::User).post(server.base(), &json!({"query": asked})).await;
    let expected = json!({"data": {"chain": {"simulated": false, "balance": {"amount": "2000000000"}}}});
    assert_eq!(reply, Some(expected));
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_be_asked_stops_the_start() {
    let (stand_ins, database) = (TestApp::start().await, FreshDatabase::sqlite());
    let of_prices = stand_ins.stand_ins.base_url(Vendor::Coinbase).to_string();
    let of_ethereum = stand_ins.stand_ins.base_url(Vendor::Ethereum).to_string();
    for (flag, url, said) in [
        ("--evm-rpc", "http://127.0.0.1:1/v2/A-KEY-THAT-IS-SECRET", "the node cannot be asked"),
        ("--solana-rpc", "http://127.0.0.1:1/?api-key=A-KEY-THAT-IS-SECRET", "the node cannot be asked"),
        ("--evm-rpc", &of_prices, "the node cannot be asked"),
        ("--solana-rpc", &of_ethereum, "makes no sense"),
        ("--evm-rpc", "ws://127.0.0.1/A-KEY-THAT-IS-SECRET", "expected an http or https URL"),
    ] {
        let mut command = program(&database.config);
        command.args(["sandbox", "--listen", "127.0.0.1:0", flag, url]);
        let ended = timeout(PATIENCE, command.output()).await.expect("it ends").expect("it runs");
        let text = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && ended.stdout.is_empty(), "{text}");
        assert!(text.starts_with(&format!("error: {flag}: ")) && text.contains(said), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
    stand_ins.stop().await;
}
