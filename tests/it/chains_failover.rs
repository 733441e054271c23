//! Several endpoints of one chain, some of which are unwell: reads go on, and no value comes from one that is behind.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate::model::Clock;
use url::Url;

use crate::harness::{Actor, Anvil, Fault, Proxy, Relay, TestApp, until};

/// Callers that read at the same time.
const CALLERS: usize = 16;

async fn app(urls: &[String]) -> TestApp {
    let names = ["one", "two", "three", "four"];
    let builder = TestApp::builder().chain("devnet", "evm:31337:ETH", &names[..urls.len()], urls).config(|config| {
        config.chains.head_poll_ms = 200;
        config.chains.try_timeout_ms = 1_000;
        config.chains.max_per_second = 100_000;
        config.limits.overrides =
            ["Query.chain=1000000/60", "Chain.balance=1000000/60"].map(|text| text.parse().unwrap()).into();
    });
    builder.start().await
}

async fn proxy(node: &Anvil) -> (Proxy, String) {
    let proxy = Proxy::start(Url::parse(&node.url()).unwrap().port().unwrap()).await;
    let url = format!("http://127.0.0.1:{}", proxy.port());
    (proxy, url)
}

/// Reads a balance that nobody has read before: the answer, and how long it took.
async fn read(alice: &Actor<'_>, number: u64, more: &str) -> (Value, Duration) {
    let clock = Clock::system();
    let began = clock.instant();
    let query = format!(
        "{{ chain(id: \"devnet\") {{ balance(address: \"0x{number:040x}\"{more}) {{ amount provenance {{ endpoint \
        agreement {{ asked agreed }} }} }} }} }}"
    );
    let reply = alice.query(&query).await.json();
    (reply, clock.instant() - began)
}

/// What many reads came to.
struct Round {
    p99: Duration,
    /// Who answered.
    endpoints: BTreeSet<String>,
}

/// Reads that must all succeed, with `during` at about the middle.
async fn reads(app: &TestApp, numbers: std::ops::Range<u64>, during: impl AsyncFnOnce()) -> Round {
    let alice = app.alice();
    let half = numbers.start + (numbers.end - numbers.start) / 2;
    let some = async |range: std::ops::Range<u64>| {
        let reading = stream::iter(range).map(|number| read(&alice, number, "")).buffer_unordered(CALLERS);
        reading.collect::<Vec<_>>().await
    };
    let mut found = some(numbers.start..half).await;
    during().await;
    found.extend(some(half..numbers.end).await);
    let mut endpoints = BTreeSet::new();
    for (reply, _) in &found {
        let balance = &reply["data"]["chain"]["balance"];
        assert_eq!(balance["amount"], "0", "{reply}");
        endpoints.insert(balance["provenance"]["endpoint"].as_str().unwrap().to_owned());
    }
    let mut took: Vec<Duration> = found.into_iter().map(|(_, took)| took).collect();
    took.sort_unstable();
    Round { p99: took[took.len() * 99 / 100], endpoints }
}

/// With each fault in turn, no read fails and none is answered by a node that is behind. Says how long 99 of 100 reads
/// took, beside the same without a fault.
async fn reads_go_on(count: u64) -> Vec<(&'static str, Duration, Duration)> {
    let node = Anvil::start().await;
    node.mine(40).await;
    let ((one, at_one), (two, at_two)) = (proxy(&node).await, proxy(&node).await);
    let three = Relay::start(&node.url()).await;
    let app = app(&[at_one, at_two, three.url()]).await;
    let mut next = 1_000_000;
    let mut some = || {
        next += count;
        next - count..next
    };
    reads(&app, some(), async || {}).await;
    let healthy = reads(&app, some(), async || {}).await;
    assert!(healthy.endpoints.contains("one"), "the first is preferred, but for hedged reads: {:?}", healthy.endpoints);

    let stalled = reads(&app, some(), async || one.stall()).await;
    one.pass().await;
    let killed = reads(&app, some(), async || one.refuse().await).await;
    assert!(killed.endpoints.contains("two"), "{:?}", killed.endpoints);
    // The second one is killed as well: only the third is left.
    three.set(Fault::Lags(20));
    one.pass().await;
    let is_lagging = async || lag(&app, "three").await.is_some_and(|lag| lag >= 20);
    until("it is known to be behind", is_lagging).await;
    let lagging = reads(&app, some(), async || two.refuse().await).await;
    assert!(!lagging.endpoints.contains("three"), "{:?}", lagging.endpoints);
    let mut told = Vec::new();
    for (name, round) in [("stalled", &stalled), ("killed", &killed), ("lagging", &lagging)] {
        println!(
            "{name}: p99 {:?} beside {:?} without a fault, answered by {:?}",
            round.p99, healthy.p99, round.endpoints
        );
        told.push((name, round.p99, healthy.p99));
    }
    app.stop().await;
    told
}

/// One endpoint stalls, one is killed in the middle, one is 20 blocks behind, all at once; the last one is well.
async fn reads_go_on_with_one_of_four(count: u64) -> (Duration, Duration) {
    let node = Anvil::start().await;
    node.mine(40).await;
    let ((one, at_one), (two, at_two), (_four, at_four)) = (proxy(&node).await, proxy(&node).await, proxy(&node).await);
    let three = Relay::start(&node.url()).await;
    let app = app(&[at_one, at_two, three.url(), at_four]).await;
    let first = 1_000_000;
    reads(&app, first..first + count, async || {}).await;
    let healthy = reads(&app, first + count..first + 2 * count, async || {}).await;
    three.set(Fault::Lags(20));
    let is_lagging = async || lag(&app, "three").await.is_some_and(|lag| lag >= 20);
    until("it is known to be behind", is_lagging).await;
    one.stall();
    let unwell = reads(&app, first + 2 * count..first + 3 * count, async || two.refuse().await).await;
    assert!(!unwell.endpoints.contains("three"), "{:?}", unwell.endpoints);
    assert!(unwell.endpoints.contains("four"), "only it is left: {:?}", unwell.endpoints);
    println!("all at once: p99 {:?} beside {:?}, answered by {:?}", unwell.p99, healthy.p99, unwell.endpoints);
    app.stop().await;
    (unwell.p99, healthy.p99)
}

async fn lag(app: &TestApp, name: &str) -> Option<u64> {
    let reply = app.admin().query("{ chain(id: \"devnet\") { head { number } endpoints { name lag } } }").await.json();
    let endpoints = reply["data"]["chain"]["endpoints"].as_array()?.clone();
    endpoints.iter().find(|endpoint| endpoint["name"] == name)?["lag"].as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_while_an_endpoint_is_unwell() {
    reads_go_on(300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_reads_go_on_while_an_endpoint_is_unwell() {
    for (name, p99, healthy) in reads_go_on(10_000).await {
        assert!(p99 <= healthy * 2, "{name}: {p99:?} beside {healthy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_while_one_of_four_is_well() {
    reads_go_on_with_one_of_four(300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make soak"]
async fn soak_reads_go_on_while_one_of_four_is_well() {
    let (p99, healthy) = reads_go_on_with_one_of_four(10_000).await;
    assert!(p99 <= healthy * 2, "{p99:?} beside {healthy:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_endpoint_cannot_say_another_is_asked() {
    let node = Anvil::start().await;
    node.mine(40).await;
    let (bad, good) = (Relay::start(&node.url()).await, Relay::start(&node.url()).await);
    let app = app(&[bad.url(), good.url()]).await;
    let alice = app.alice();
    let mut number = 5_000_000;
    for fault in [Fault::Lags(20), Fault::Overloaded, Fault::Garbage, Fault::Broken] {
        // As it was when the head was last looked at, too.
        bad.set(fault);
        for _ in 0..5 {
            number += 1;
            let (reply, _) = read(&alice, number, "").await;
            assert_eq!(reply["data"]["chain"]["balance"]["provenance"]["endpoint"], "two", "{fault:?}: {reply}");
        }
    }
    // When nobody can say, that is told.
    good.set(Fault::Broken);
    let (reply, _) = read(&alice, number + 1, "").await;
    assert_eq!(reply["errors"][0]["extensions"]["code"], "UPSTREAM_UNAVAILABLE", "{reply}");
    assert_eq!(reply["errors"][0]["message"], "no endpoint of the chain could answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_is_not_fooled_by_one() {
    let node = Anvil::start().await;
    node.mine(3).await;
    let relays = [Relay::start(&node.url()).await, Relay::start(&node.url()).await, Relay::start(&node.url()).await];
    let app = app(&relays.each_ref().map(Relay::url)).await;
    let (alice, quorum) = (app.alice(), ", consistency: QUORUM");
    until("all have told their heads", async || lag(&app, "three").await.is_some()).await;
    let (reply, _) = read(&alice, 1, quorum).await;
    let balance = &reply["data"]["chain"]["balance"];
    assert_eq!(balance["provenance"]["agreement"]["asked"], 3, "{reply}");

    relays[0].set(Fault::Lies);
    let (reply, _) = read(&alice, 2, "").await;
    assert_eq!(reply["data"]["chain"]["balance"]["amount"], "1", "one alone is believed: {reply}");
    let (reply, _) = read(&alice, 2, quorum).await;
    let balance = &reply["data"]["chain"]["balance"];
    assert_eq!(
        (&balance["amount"], &balance["provenance"]["agreement"]["agreed"]),
        (&json!("0"), &json!(2)),
        "{reply}"
    );

    // Of two that can be asked, one lies: nobody can say which.
    relays[2].set(Fault::Broken);
    let (reply, _) = read(&alice, 3, quorum).await;
    let error = &reply["errors"][0]["extensions"];
    assert_eq!((&error["code"], &error["reason"]), (&json!("UPSTREAM_UNAVAILABLE"), &json!("DISAGREEMENT")), "{reply}");
}
