//! Following heads and events of real nodes by the front door, over reorganisations and cut connections: what a client
//! builds from what it is told is what the node has.

use serde_json::{Value, json};
use tidegate::model::Chance;

use crate::harness::{Anvil, Fault, Proxy, Relay, Socket, Svm, TestApp, subscribe, until};

/// Whoever calls it, it emits an event with what it was called with as its topic and its data.
const EMITTER_CODE: &str = "0x366000600037600035366000a100";
const EMITTER: &str = "0x000000000000000000000000000000000000E717";
/// The cluster of the test's own.
const GENESIS: &str = "BY3ZFEfTWzXJG9aZHsR8XbQYmRMQMEcGwmAH2hPYF9cX";

const EVENTS: &str = "subscription ($after: String, $chain: ID!, $filter: ChainEventFilter!) {
    chainEvents(chain: $chain, filter: $filter, after: $after) {
        __typename
        ... on ChainEventApplied { blockNumber blockHash index transactionId address topics data cursor
            provenance { endpoint blockHash } }
        ... on ChainTransactionApplied { blockNumber transactionId error cursor provenance { blockNumber } }
        ... on ChainEventsUndone { blockNumber blockHash cursor }
        ... on ChainTransactionsUndone { blockNumber cursor }
        ... on ChainEventsFinalized { blockNumber cursor } } }";

async fn app_with(urls: &[String], network: &str, adjust: impl FnOnce(&mut tidegate::config::ChainsConfig)) -> TestApp {
    let builder = TestApp::builder().chain("devnet", network, &["one", "two", "three"], urls).config(|config| {
        config.chains.head_poll_ms = 50;
        config.chains.max_backfill_blocks = 1_000;
        config.chains.max_per_second = 10_000;
        adjust(&mut config.chains);
    });
    builder.start().await
}

async fn app(urls: &[String]) -> TestApp {
    app_with(urls, "evm:31337:ETH", |_| {}).await
}

async fn node() -> Anvil {
    prepared(Anvil::start().await).await
}

async fn prepared(node: Anvil) -> Anvil {
    node.set_code(EMITTER, EMITTER_CODE).await;
    node.mine(5).await;
    node
}

async fn emission(node: &Anvil, number: u64) -> Value {
    json!({"from": node.rich().await, "to": EMITTER, "data": format!("0x{number:064x}"), "gas": "0x186a0"})
}

/// Emits an event in a block of its own, and waits until the node has it.
async fn emit(node: &Anvil, number: u64) {
    let transaction = node.rpc("eth_sendTransaction", json!([emission(node, number).await])).await;
    until("it is in a block", async || {
        !node.rpc("eth_getTransactionReceipt", json!([transaction])).await["blockNumber"].is_null()
    })
    .await;
}

/// Block, index and name of something that a follower is told: a log's topic, or a transaction's signature.
type Event = (u64, u64, String);

/// Each event that the node has.
async fn events_of(node: &Anvil) -> Vec<Event> {
    let all = json!([{"fromBlock": "0x0", "toBlock": "latest", "address": EMITTER}]);
    let logs = node.rpc("eth_getLogs", all).await;
    let event =
        |log: &Value| (hex(&log["blockNumber"]), hex(&log["logIndex"]), log["topics"][0].as_str().unwrap().to_owned());
    logs.as_array().unwrap().iter().map(event).collect()
}

fn hex(value: &Value) -> u64 {
    u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap()
}

/// The newest block that an endpoint is known to have.
async fn head_of(app: &TestApp, endpoint: usize) -> Option<u64> {
    let told = app.admin().query("{ chain(id: \"devnet\") { endpoints { head } } }").await.json();
    told["data"]["chain"]["endpoints"][endpoint]["head"].as_str()?.parse().ok()
}

/// A node of either family, and what is followed there.
enum Ground {
    Evm(Anvil),
    Solana(Svm, String),
}

impl Ground {
    async fn evm() -> Self {
        Self::Evm(node().await)
    }

    async fn solana() -> Self {
        let node = Svm::start().await;
        // What pays for the airdrops is final, and no fork undoes it.
        node.advance(40).await;
        let wallet = node.wallet("followed").await;
        Self::Solana(node, wallet)
    }

    async fn app(&self) -> TestApp {
        match self {
            Self::Evm(node) => app(&[node.url()]).await,
            Self::Solana(node, _) => app_with(&[node.url()], &format!("solana:{GENESIS}"), |_| {}).await,
        }
    }

    fn filter(&self) -> Value {
        match self {
            Self::Evm(_) => json!({"addresses": [EMITTER]}),
            Self::Solana(_, wallet) => json!({"account": wallet}),
        }
    }

    async fn emit(&self, number: u64) {
        match self {
            Self::Evm(node) => emit(node, number).await,
            Self::Solana(node, wallet) => {
                // Several in one slot now and then.
                for _ in 0..=number % 3 {
                    node.rpc("requestAirdrop", json!([wallet, 1_000_000])).await;
                }
                node.advance(1).await;
            }
        }
    }

    async fn mine(&self, blocks: u64) {
        match self {
            Self::Evm(node) => node.mine(blocks).await,
            Self::Solana(node, _) => node.advance(blocks).await,
        }
    }

    async fn reorg(&self, depth: u64, chance: &Chance) {
        match self {
            Self::Evm(node) if chance.number().is_multiple_of(2) => {
                let other = emission(node, chance.number()).await;
                node.reorg_with(depth, other).await;
            }
            Self::Evm(node) => node.reorg(depth).await,
            // The newest of its blocks are not confirmed, and nobody was told of them.
            Self::Solana(node, _) => node.fork(depth + 1).await,
        }
    }

    async fn events(&self) -> Vec<Event> {
        match self {
            Self::Evm(node) => events_of(node).await,
            Self::Solana(node, wallet) => {
                let confirmed = json!([wallet, {"commitment": "confirmed"}]);
                let found = node.rpc("getSignaturesForAddress", confirmed).await;
                let event =
                    |it: &Value| (it["slot"].as_u64().unwrap(), 0, it["signature"].as_str().unwrap().to_owned());
                found.as_array().unwrap().iter().rev().map(event).collect()
            }
        }
    }
}

/// A client that believes what it is told.
#[derive(Default)]
struct Client {
    events: Vec<Event>,
    cursor: Option<String>,
    finalized: u64,
    undone: u32,
}

impl Client {
    async fn connect(&self, app: &TestApp, filter: &Value) -> Socket {
        let mut socket = app.alice().connect().await;
        let variables = json!({"after": self.cursor, "chain": "devnet", "filter": filter});
        let payload = json!({"query": EVENTS, "variables": variables});
        socket.send(json!({"id": "1", "type": "subscribe", "payload": payload})).await;
        socket
    }

    /// Begins at the head.
    async fn begin(app: &TestApp, filter: &Value) -> (Self, Socket) {
        let mut client = Self::default();
        let mut socket = client.connect(app, filter).await;
        client.take(&socket.message().await);
        (client, socket)
    }

    fn take(&mut self, message: &Value) {
        assert_eq!(message["type"], "next", "{message}");
        let told = &message["payload"]["data"]["chainEvents"];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{message}")).to_owned();
        let number = |name: &str| text(&told[name]).parse::<u64>().unwrap();
        match told["__typename"].as_str() {
            Some("ChainEventApplied") => {
                let event = (number("blockNumber"), number("index"), text(&told["topics"][0]));
                assert!(self.events.last().is_none_or(|last| *last < event), "in order, and none twice: {told}");
                assert_eq!(told["provenance"]["blockHash"], told["blockHash"]);
                assert_eq!(told["data"], told["topics"][0]);
                self.events.push(event);
            }
            Some("ChainTransactionApplied") => {
                let event = (number("blockNumber"), 0, text(&told["transactionId"]));
                assert!(self.events.last().is_none_or(|last| last.0 <= event.0), "in order: {told}");
                assert!(!self.events.contains(&event), "none twice: {told}");
                assert_eq!(told["provenance"]["blockNumber"], told["blockNumber"]);
                self.events.push(event);
            }
            Some("ChainEventsUndone" | "ChainTransactionsUndone") => {
                let holds = number("blockNumber");
                assert!(holds >= self.finalized, "what is final is not undone: {told}");
                self.events.retain(|(block, ..)| *block <= holds);
                self.undone += 1;
            }
            Some("ChainEventsFinalized") => {
                assert!(number("blockNumber") >= self.finalized, "{told}");
                self.finalized = number("blockNumber");
            }
            _ => panic!("{message}"),
        }
        self.cursor = Some(text(&told["cursor"]));
    }

    /// Listens until it has what the node has.
    async fn catch_up(&mut self, socket: &mut Socket, expected: &[Event]) {
        while self.events != expected {
            self.take(&socket.message().await);
        }
    }
}

/// Emits, reorganises, and cuts the connection at so many seeded moments.
async fn follow(ground: &Ground, cuts: u64, seed: u64) {
    let (app, filter, chance) = (ground.app().await, ground.filter(), Chance::seeded(seed));
    let (mut client, mut socket) = Client::begin(&app, &filter).await;
    let (mut step, mut cut, mut reorgs) = (0, 0, 0);
    while cut < cuts {
        step += 1;
        ground.emit(step).await;
        match chance.number() % 5 {
            0 => {
                if chance.number().is_multiple_of(2) {
                    client.catch_up(&mut socket, &ground.events().await).await;
                }
                ground.reorg(chance.number() % 5 + 1, &chance).await;
                reorgs += 1;
            }
            1 => ground.mine(chance.number() % 3 + 1).await,
            2 => client.catch_up(&mut socket, &ground.events().await).await,
            _ => {
                // Cut off in the middle, and away for a while: what comes meanwhile is made up for, also what is undone.
                match chance.number() % 3 {
                    0 => client.take(&socket.message().await),
                    1 => client.catch_up(&mut socket, &ground.events().await).await,
                    _ => {}
                }
                drop(socket);
                for number in 0..chance.number() % 3 {
                    ground.emit(1_000 * step + number).await;
                }
                if chance.number().is_multiple_of(3) {
                    ground.reorg(chance.number() % 5 + 1, &chance).await;
                    reorgs += 1;
                }
                socket = client.connect(&app, &filter).await;
                cut += 1;
            }
        }
    }
    // A head that is higher than all before, so that there is something to go on to.
    ground.mine(3).await;
    client.catch_up(&mut socket, &ground.events().await).await;
    let (held, undone) = (client.events.len(), client.undone);
    println!("{step} steps, {held} events, {reorgs} reorganisations, {undone} of them told, {cut} cuts");
    assert!(undone >= 3 && held as u64 >= step / 2 && client.finalized > 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_what_an_evm_node_has() {
    follow(&Ground::evm().await, 20, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_what_a_solana_node_has() {
    follow(&Ground::solana().await, 20, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_a_client_has_what_a_node_has() {
    for seed in 0..3 {
        follow(&Ground::evm().await, 100, seed).await;
        follow(&Ground::solana().await, 100, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_long_catches_up_and_who_for_too_long_is_told() {
    let node = node().await;
    // A range that a node finds too long is read in parts.
    let relay = Relay::start(&node.url()).await;
    relay.set(Fault::Narrow(100));
    let (app, filter) = (app(&[relay.url()]).await, json!({"addresses": [EMITTER]}));
    let (mut client, mut socket) = Client::begin(&app, &filter).await;
    emit(&node, 1).await;
    client.catch_up(&mut socket, &events_of(&node).await).await;
    drop(socket);
    for number in 2..6 {
        emit(&node, number).await;
        node.mine(150).await;
    }
    let mut socket = client.connect(&app, &filter).await;
    client.catch_up(&mut socket, &events_of(&node).await).await;
    let finalized = hex(&node.rpc("eth_getBlockByNumber", json!(["finalized", false])).await["number"]);
    while client.finalized < finalized {
        client.take(&socket.message().await);
    }
    assert_eq!((client.finalized, client.undone), (finalized, 0));
    drop(socket);
    node.mine(1_100).await;
    let mut socket = client.connect(&app, &filter).await;
    let message = socket.message().await;
    let error = &message["payload"][0]["extensions"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("BAD_USER_INPUT"), &json!("CURSOR_TOO_OLD")), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_deeper_than_the_window_is_told() {
    let (node, filter) = (node().await, json!({"addresses": [EMITTER]}));
    let app = app_with(&[node.url()], "evm:31337:ETH", |chains| chains.window_blocks = 16).await;
    let (mut client, mut socket) = Client::begin(&app, &filter).await;
    for number in 0..24 {
        emit(&node, number).await;
    }
    client.catch_up(&mut socket, &events_of(&node).await).await;
    node.reorg(20).await;
    node.mine(1).await;
    let message = loop {
        let message = socket.message().await;
        if message["type"] != "next" {
            break message;
        }
        client.take(&message);
    };
    let error = &message["payload"][0]["extensions"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("CONFLICT"), &json!("REORG_TOO_DEEP")), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_behind_or_hangs_undoes_nothing() {
    let (node, filter) = (node().await, json!({"addresses": [EMITTER]}));
    node.mine(30).await;
    let port = node.url().rsplit(':').next().unwrap().parse().unwrap();
    let (one, two) = (Relay::start(&node.url()).await, Proxy::start(port).await);
    let urls = [one.url(), format!("http://127.0.0.1:{}", two.port())];
    let app = app_with(&urls, "evm:31337:ETH", |chains| chains.try_timeout_ms = 500).await;
    let (mut client, mut socket) = Client::begin(&app, &filter).await;
    let faults =
        [Fault::None, Fault::Lags(3), Fault::Lags(20), Fault::Garbage, Fault::None, Fault::Lags(2), Fault::None];
    for (step, fault) in faults.into_iter().enumerate() {
        one.set(fault);
        // At the end the other one hangs, and while the first is well it does not matter.
        if step + 1 == faults.len() {
            two.stall();
        }
        emit(&node, step as u64).await;
        client.catch_up(&mut socket, &events_of(&node).await).await;
    }
    assert_eq!(client.undone, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_different_branches_undo_nothing_while_both_go_on() {
    let filter = json!({"addresses": [EMITTER]});
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = Anvil::builder().reproducible().start().await;
        node.rpc("anvil_setBlockTimestampInterval", json!([1])).await;
        nodes.push(prepared(node).await);
    }
    let app = app(&[nodes[0].url(), nodes[1].url()]).await;
    let (mut client, mut socket) = Client::begin(&app, &filter).await;
    // What both of them have, so that they are on one chain.
    for node in &nodes {
        emit(node, 1).await;
    }
    assert_eq!(events_of(&nodes[0]).await, events_of(&nodes[1]).await);
    client.catch_up(&mut socket, &events_of(&nodes[0]).await).await;
    // The branch that is followed is that of the first, as it alone goes on.
    emit(&nodes[0], 1_000).await;
    client.catch_up(&mut socket, &events_of(&nodes[0]).await).await;
    emit(&nodes[1], 2_000).await;
    for number in 1..10 {
        // The other one is ahead for a moment, and that is seen.
        emit(&nodes[1], 2_000 + number).await;
        let ahead = hex(&nodes[1].rpc("eth_blockNumber", json!([])).await);
        until("it is seen", async || head_of(&app, 1).await == Some(ahead)).await;
        emit(&nodes[0], 1_000 + number).await;
        client.catch_up(&mut socket, &events_of(&nodes[0]).await).await;
    }
    assert_eq!(client.undone, 0);
    // Until it is left behind.
    nodes[1].mine(20).await;
    client.catch_up(&mut socket, &events_of(&nodes[1]).await).await;
    assert_eq!(client.undone, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_undone_below_the_beginning_is_told() {
    let evm = Ground::evm().await;
    let Ground::Evm(node) = &evm else { unreachable!() };
    let app = evm.app().await;
    let (mut client, mut socket) = Client::begin(&app, &evm.filter()).await;
    node.reorg_with(3, emission(node, 7).await).await;
    let there = evm.events().await;
    assert!(there[0].0 < 5, "it is in a block below that at which the client began: {there:?}");
    client.catch_up(&mut socket, &there).await;
    assert_eq!(client.undone, 1);

    let solana = Ground::solana().await;
    let Ground::Solana(node, _) = &solana else { unreachable!() };
    solana.emit(0).await;
    node.advance(2).await;
    let app = solana.app().await;
    let (mut client, mut socket) = Client::begin(&app, &solana.filter()).await;
    node.fork(5).await;
    while client.undone == 0 {
        client.take(&socket.message().await);
    }
    assert_eq!(client.events, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_others_has_a_cursor_at_once() {
    let (node, filter) = (node().await, json!({"addresses": [EMITTER]}));
    let app = app(&[node.url()]).await;
    let (mut first, mut socket) = Client::begin(&app, &filter).await;
    emit(&node, 1).await;
    first.catch_up(&mut socket, &events_of(&node).await).await;
    let (mut second, other) = Client::begin(&app, &filter).await;
    assert!(second.cursor.is_some());
    drop(other);
    emit(&node, 2).await;
    let mut other = second.connect(&app, &filter).await;
    second.catch_up(&mut other, &events_of(&node).await).await;
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
    let (evm, solana) = (Ground::evm().await, Ground::solana().await);
    let (evm_app, solana_app) = (evm.app().await, solana.app().await);
    let (here, _socket) = Client::begin(&evm_app, &evm.filter()).await;
    let (there, _other) = Client::begin(&solana_app, &solana.filter()).await;
    let topic = format!("0x{}", "a".repeat(64));
    let wallet = solana.filter()["account"].clone();
    for (app, filter, after, fields) in [
        (&evm_app, json!({}), Value::Null, json!(["filter.addresses"])),
        (
            &evm_app,
            json!({"addresses": ["0x1"], "topics": [null, ["0x1"]], "account": wallet}),
            json!("nonsense"),
            json!(["filter.addresses.0", "filter.topics.1", "filter.account", "after"]),
        ),
        (&evm_app, evm.filter(), json!("nonsense"), json!(["after"])),
        // A cursor of another filter is none of this one's.
        (&evm_app, json!({"addresses": [EMITTER], "topics": [[topic]]}), json!(here.cursor), json!(["after"])),
        (&evm_app, evm.filter(), json!(there.cursor), json!(["after"])),
        (&solana_app, solana.filter(), json!(here.cursor), json!(["after"])),
        (&solana_app, json!({}), Value::Null, json!(["filter.account"])),
        (
            &solana_app,
            json!({"account": "0x1", "addresses": [EMITTER], "topics": [[topic]]}),
            Value::Null,
            json!(["filter.addresses", "filter.topics", "filter.account"]),
        ),
    ] {
        let after = after.as_str().map(str::to_owned);
        let mut socket = Client { cursor: after, ..Client::default() }.connect(app, &filter).await;
        let message = socket.message().await;
        let extensions = &message["payload"][0]["extensions"];
        assert_eq!(extensions["code"], "BAD_USER_INPUT", "{message}");
        let path = |problem: &Value| {
            let names = problem["field"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            names.collect::<Vec<_>>().join(".")
        };
        let named: Vec<String> = extensions["fields"].as_array().unwrap().iter().map(path).collect();
        assert_eq!(json!(named), fields, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_solana_that_was_dropped_is_undone() {
    let ground = Ground::solana().await;
    let Ground::Solana(node, wallet) = &ground else { unreachable!() };
    let app = ground.app().await;
    let (mut client, mut socket) = Client::begin(&app, &ground.filter()).await;
    let (to, from) = (node.wallet("somebody").await, "followed");
    node.rpc("requestAirdrop", json!([wallet, 1_000_000_000])).await;
    node.advance(2).await;
    // One that moves more than there is fails, and is told as well.
    for amount in [1_000_000, 900_000_000_000_u64] {
        let (_, signed) = node.sign_transfer(json!({"from": from, "to": to, "amount": amount})).await;
        let options = json!({"encoding": "base64", "skipPreflight": true});
        node.rpc("sendTransaction", json!([signed, options])).await;
    }
    node.advance(2).await;
    let before = ground.events().await;
    client.catch_up(&mut socket, &before).await;
    assert_eq!(before.len(), 3);
    node.fork(4).await;
    client.catch_up(&mut socket, &ground.events().await).await;
    assert!(client.undone > 0 && client.events.len() < before.len(), "{:?}", client.events);
    let finalized = client.finalized;
    node.advance(40).await;
    while client.finalized < finalized + 40 {
        client.take(&socket.message().await);
    }
}
