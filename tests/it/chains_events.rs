//! Following heads and events of a real node by the front door, over reorganisations and cut connections: what a client
//! builds from what it is told is what the node has.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate::{
    config::{EndpointEntry, NetworkEntry},
    model::Chance,
};

use crate::harness::{Anvil, Fault, Relay, Socket, TestApp, subscribe, until};

/// Whoever calls it, it emits an event with what it was called with as its topic and its data.
const EMITTER_CODE: &str = "0x366000600037600035366000a100";
const EMITTER: &str = "0x000000000000000000000000000000000000E717";

const EVENTS: &str = "subscription ($after: String, $addresses: [String!]!, $topics: [[String!]!]!) {
    chainEvents(chain: \"devnet\", filter: {addresses: $addresses, topics: $topics}, after: $after) {
        __typename
        ... on ChainEventApplied { blockNumber blockHash index transactionId address topics data cursor
            provenance { endpoint blockHash } }
        ... on ChainEventsUndone { blockNumber blockHash cursor }
        ... on ChainEventsFinalized { blockNumber cursor } } }";

async fn app(urls: &[String]) -> TestApp {
    let endpoints = ["one", "two"].iter().zip(urls).map(|(name, url)| format!("devnet/{name}={url}"));
    let endpoints: Vec<_> = endpoints.map(|text| EndpointEntry::parse(&text).unwrap()).collect();
    let builder = TestApp::builder().config(|config| {
        config.chains.endpoints = endpoints;
        config.chains.networks = vec![NetworkEntry::try_from("devnet=evm:31337:ETH".to_owned()).unwrap()];
        config.chains.head_poll_ms = 50;
        config.chains.max_backfill_blocks = 1_000;
        config.chains.max_per_second = 10_000;
    });
    builder.start().await
}

async fn node() -> Anvil {
    let node = Anvil::start().await;
    node.set_code(EMITTER, EMITTER_CODE).await;
    node.mine(5).await;
    node
}

/// Emits an event in a block of its own, and waits until the node has it.
async fn emit(node: &Anvil, number: u64) {
    let wish = json!({"from": node.rich().await, "to": EMITTER, "data": format!("0x{number:064x}"), "gas": "0x186a0"});
    let transaction = node.rpc("eth_sendTransaction", json!([wish])).await;
    until("it is in a block", async || {
        !node.rpc("eth_getTransactionReceipt", json!([transaction])).await["blockNumber"].is_null()
    })
    .await;
}

/// Block, index and topic of each event that the node has.
async fn events_of(node: &Anvil) -> BTreeMap<(u64, u64), String> {
    let all = json!([{"fromBlock": "0x0", "toBlock": "latest", "address": EMITTER}]);
    let hex = |value: &Value| u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap();
    let logs = node.rpc("eth_getLogs", all).await;
    let event = |log: &Value| {
        ((hex(&log["blockNumber"]), hex(&log["logIndex"])), log["topics"][0].as_str().unwrap().to_owned())
    };
    logs.as_array().unwrap().iter().map(event).collect()
}

/// The newest block that an endpoint is known to have.
async fn head_of(app: &TestApp, endpoint: usize) -> Option<u64> {
    let told = app.admin().query("{ chain(id: \"devnet\") { endpoints { head } } }").await.json();
    told["data"]["chain"]["endpoints"][endpoint]["head"].as_str()?.parse().ok()
}

/// A client that believes what it is told.
#[derive(Default)]
struct Client {
    events: BTreeMap<(u64, u64), String>,
    cursor: Option<String>,
    finalized: u64,
    undone: u32,
}

impl Client {
    async fn connect(&self, app: &TestApp) -> Socket {
        let mut socket = app.alice().connect().await;
        let variables = json!({"after": self.cursor, "addresses": [EMITTER], "topics": []});
        let payload = json!({"query": EVENTS, "variables": variables});
        socket.send(json!({"id": "1", "type": "subscribe", "payload": payload})).await;
        socket
    }

    fn take(&mut self, message: &Value) {
        assert_eq!(message["type"], "next", "{message}");
        let told = &message["payload"]["data"]["chainEvents"];
        let number = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{message}")).parse::<u64>().unwrap();
        match told["__typename"].as_str() {
            Some("ChainEventApplied") => {
                let place = (number("blockNumber"), number("index"));
                assert!(self.events.keys().all(|known| *known < place), "in order, and none twice: {told}");
                assert_eq!(told["provenance"]["blockHash"], told["blockHash"]);
                assert_eq!(told["data"], told["topics"][0]);
                self.events.insert(place, told["topics"][0].as_str().unwrap().to_owned());
            }
            Some("ChainEventsUndone") => {
                let holds = number("blockNumber");
                assert!(holds >= self.finalized, "what is final is not undone: {told}");
                self.events.retain(|(block, _), _| *block <= holds);
                self.undone += 1;
            }
            Some("ChainEventsFinalized") => {
                assert!(number("blockNumber") >= self.finalized, "{told}");
                self.finalized = number("blockNumber");
            }
            _ => panic!("{message}"),
        }
        self.cursor = Some(told["cursor"].as_str().unwrap().to_owned());
    }

    /// Listens until it has what the node has.
    async fn catch_up(&mut self, socket: &mut Socket, node: &Anvil) {
        let expected = events_of(node).await;
        while self.events != expected {
            self.take(&socket.message().await);
        }
    }
}

/// Emits, reorganises, and cuts the connection at seeded moments.
async fn follow(steps: u64, seed: u64) {
    let (node, chance) = (node().await, Chance::seeded(seed));
    let app = app(&[node.url()]).await;
    let mut client = Client::default();
    let mut socket = client.connect(&app).await;
    client.take(&socket.message().await);
    let (mut cuts, mut reorgs) = (0, 0);
    for step in 0..steps {
        emit(&node, step).await;
        match chance.number() % 6 {
            0 => {
                node.reorg(chance.number() % 5 + 1).await;
                reorgs += 1;
            }
            1 => node.mine(chance.number() % 3 + 1).await,
            2 => client.catch_up(&mut socket, &node).await,
            3 => {
                // Away for a while: what comes meanwhile is made up for, also what is undone.
                drop(socket);
                for number in 0..chance.number() % 3 {
                    emit(&node, 1_000 * step + number).await;
                }
                socket = client.connect(&app).await;
                cuts += 1;
            }
            _ => {}
        }
    }
    // A head that is higher than all before, so that there is something to go on to.
    node.mine(3).await;
    client.catch_up(&mut socket, &node).await;
    println!("{steps} events, {reorgs} reorganisations, {} of them told, {cuts} cuts", client.undone);
    assert!(client.undone > 0 && cuts > 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_what_the_node_has() {
    follow(60, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_a_client_has_what_the_node_has() {
    for seed in 0..3 {
        follow(250, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_long_catches_up_and_who_for_too_long_is_told() {
    let node = node().await;
    let app = app(&[node.url()]).await;
    let mut client = Client::default();
    let mut socket = client.connect(&app).await;
    client.take(&socket.message().await);
    emit(&node, 1).await;
    client.catch_up(&mut socket, &node).await;
    drop(socket);
    for number in 2..6 {
        emit(&node, number).await;
        node.mine(150).await;
    }
    let mut socket = client.connect(&app).await;
    client.catch_up(&mut socket, &node).await;
    while client.finalized < 300 {
        client.take(&socket.message().await);
    }
    drop(socket);
    node.mine(1_100).await;
    let mut socket = client.connect(&app).await;
    let message = socket.message().await;
    let error = &message["payload"][0]["extensions"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("BAD_USER_INPUT"), &json!("CURSOR_TOO_OLD")), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_behind_undoes_nothing() {
    let node = node().await;
    node.mine(30).await;
    let (one, two) = (Relay::start(&node.url()).await, Relay::start(&node.url()).await);
    let app = app(&[one.url(), two.url()]).await;
    let mut client = Client::default();
    let mut socket = client.connect(&app).await;
    client.take(&socket.message().await);
    for (step, fault) in
        [Fault::None, Fault::Lags(3), Fault::Lags(20), Fault::Garbage, Fault::None].into_iter().enumerate()
    {
        one.set(fault);
        emit(&node, step as u64).await;
        client.catch_up(&mut socket, &node).await;
    }
    assert_eq!(client.undone, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_come_once_and_as_they_are_made() {
    let node = node().await;
    let relay = Relay::start(&node.url()).await;
    let app = app(&[relay.url()]).await;
    let mut socket = app.alice().connect().await;
    socket.send(subscribe("1", "subscription { chainHeads(chain: \"devnet\") { number hash } }")).await;
    let head = async |socket: &mut Socket| {
        let head = socket.message().await["payload"]["data"]["chainHeads"].clone();
        (head["number"].as_str().unwrap().parse::<u64>().unwrap(), head["hash"].clone())
    };
    let first = head(&mut socket).await;
    node.mine(1).await;
    let second = head(&mut socket).await;
    assert_eq!(second.0, first.0 + 1);
    node.reorg(1).await;
    let third = head(&mut socket).await;
    assert!(third.0 == second.0 && third.1 != second.1, "{second:?} {third:?}");
    // A node that falls back a little has no news.
    relay.set(Fault::Lags(2));
    until("the node is behind", async || head_of(&app, 0).await == Some(third.0 - 2)).await;
    relay.set(Fault::None);
    node.mine(1).await;
    assert_eq!(head(&mut socket).await.0, third.0 + 1);
    // One that goes back to another branch has.
    node.rpc("anvil_rollback", json!([3])).await;
    assert_eq!(head(&mut socket).await.0, third.0 - 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused() {
    let node = node().await;
    let app = app(&[node.url()]).await;
    let mut cursors = Client::default();
    let mut socket = cursors.connect(&app).await;
    cursors.take(&socket.message().await);
    let topic = format!("0x{}", "a".repeat(64));
    for (addresses, topics, after, fields) in [
        (json!([]), json!([]), Value::Null, json!([["filter", "addresses"]])),
        (
            json!(["0x1"]),
            json!([["0x1"]]),
            Value::Null,
            json!([["filter", "addresses", "0"], ["filter", "topics", "0"]]),
        ),
        (json!([EMITTER]), json!([]), json!("nonsense"), json!([["after"]])),
        // A cursor of another filter is none of this one's.
        (json!([EMITTER]), json!([[topic]]), json!(cursors.cursor), json!([["after"]])),
    ] {
        let mut socket = app.alice().connect().await;
        let variables = json!({"addresses": addresses, "topics": topics, "after": after});
        let payload = json!({"query": EVENTS, "variables": variables});
        socket.send(json!({"id": "1", "type": "subscribe", "payload": payload})).await;
        let message = socket.message().await;
        let extensions = &message["payload"][0]["extensions"];
        assert_eq!(extensions["code"], "BAD_USER_INPUT", "{message}");
        let named: Vec<Value> =
            extensions["fields"].as_array().unwrap().iter().map(|problem| problem["field"].clone()).collect();
        assert_eq!(json!(named), fields, "{message}");
    }
}
