//! The feed of several nodes that share a Redis: one fetches for all, and its end, or Redis', stops nobody's updates.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate::sandbox::Vendor;
use tokio::time::{sleep, timeout};

use crate::harness::{Builder, PATIENCE, Proxy, RedisCluster, RedisServer, Socket, TICKS, TestApp, subscribe, until};

/// How long a lease lasts without its holder.
const LEASE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

fn node(url: &str) -> Builder {
    TestApp::builder().redis(url).config(|config| config.market.feed_interval_ms = 200)
}

async fn watch(app: &TestApp, document: &str) -> Socket {
    let mut socket = app.alice().connect().await;
    socket.send(subscribe("1", document)).await;
    socket
}

/// The next update, and no longer to wait for it than that.
async fn tick(socket: &mut Socket, within: Duration) -> Value {
    let message = timeout(within, socket.message()).await.expect("an update in time");
    assert_eq!(message["type"], "next", "{message}");
    message["payload"]["data"]["priceUpdates"].clone()
}

/// Updates that wait already were published before whatever comes next.
async fn drain(socket: &mut Socket) {
    while timeout(Duration::from_millis(50), socket.message()).await.is_ok() {}
}

fn calls(app: &TestApp) -> usize {
    app.stand_ins.calls(Vendor::CoinGecko)
}

/// Which of the two fetches: it goes on to, and the other does not begin. Waits until that is so.
async fn feeder(one: &TestApp, other: &TestApp) -> usize {
    let start = Instant::now();
    loop {
        let before = [calls(one), calls(other)];
        let mut grown = [0, 0];
        while grown.iter().all(|grown| *grown < 8) {
            assert!(start.elapsed() < PATIENCE, "one of two fetches, not {grown:?}");
            sleep(POLL).await;
            grown = [calls(one) - before[0], calls(other) - before[1]];
        }
        match grown {
            [_, 0] => return 0,
            [0, _] => return 1,
            // The beginning of a subscription asks the sources too, and a feed moves.
            _ => {}
        }
    }
}

/// Two nodes with a subscriber each, the one that fetches first.
async fn pair(first: &str, second: &str) -> [(TestApp, Socket); 2] {
    let (one, other) = (node(first).start().await, node(second).start().await);
    let mut sockets = [watch(&one, TICKS).await, watch(&other, TICKS).await];
    for socket in &mut sockets {
        tick(socket, PATIENCE).await;
    }
    let feeds = feeder(&one, &other).await;
    let [a, b] = sockets;
    if feeds == 0 { [(one, a), (other, b)] } else { [(other, b), (one, a)] }
}

/// Waits until this node fetches.
async fn fetches(app: &TestApp, within: Duration) -> Duration {
    let (start, before) = (Instant::now(), calls(app));
    while calls(app) == before {
        assert!(start.elapsed() < within, "no call within {within:?}");
        sleep(POLL).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn one_of_two_nodes_fetches_and_both_tell_the_same() {
    let redis = RedisServer::start().await;
    let [(leader, mut here), (follower, mut there)] = pair(&redis.url(), &redis.url()).await;
    let before = calls(&follower);
    for _ in 0..5 {
        let told = tick(&mut there, PATIENCE).await;
        let json = follower.anon().query("{ price(coin: \"bitcoin\") { amount asOf } }").await.json();
        let asked = &json["data"]["price"];
        assert!(asked["asOf"].as_str() >= told["price"]["asOf"].as_str(), "a query is behind a tick: {asked} {told}");
        tick(&mut here, PATIENCE).await;
    }
    assert_eq!(calls(&follower), before, "what was told is what is kept");
    assert!(calls(&leader) > 0);
}

/// Nobody subscribes on the node that is asked: what it has in memory, it has from queries.
#[tokio::test]
async fn a_query_is_not_behind_the_ticks_of_another_node_either() {
    let redis = RedisServer::start().await;
    let [(leader, mut here), (other, there)] = pair(&redis.url(), &redis.url()).await;
    drop(there);
    let ask = async || {
        let json = other.anon().query("{ price(coin: \"bitcoin\") { amount asOf ageMs } }").await.json();
        json["data"]["price"].clone()
    };
    let before = calls(&other);
    for _ in 0..10 {
        ask().await;
        let told = tick(&mut here, PATIENCE).await;
        let told = told["price"]["asOf"].as_str();
        // The two messages about a price are on their way to different nodes at the same time.
        let since = Instant::now();
        until("the query is not behind the tick", async || ask().await["asOf"].as_str() >= told).await;
        assert!(since.elapsed() < Duration::from_millis(500), "{:?} behind", since.elapsed());
    }
    assert!(calls(&other) <= before + 1, "what the leader fetched is what others find");
    leader.stop().await;
}

#[tokio::test]
async fn a_cluster_of_masters_decides_as_one_does() {
    let cluster = RedisCluster::start().await;
    let node = || node(&cluster.url()).config(|config| config.redis.cluster = true);
    let (one, other) = (node().start().await, node().start().await);
    let mut sockets = [watch(&one, TICKS).await, watch(&other, TICKS).await];
    for socket in &mut sockets {
        tick(socket, PATIENCE).await;
    }
    feeder(&one, &other).await;
    for socket in &mut sockets {
        drain(socket).await;
        tick(socket, Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn what_is_wanted_elsewhere_only_is_fed_and_then_no_longer() {
    let redis = RedisServer::start().await;
    let [(leader, here), (follower, mut there)] = pair(&redis.url(), &redis.url()).await;
    let mut ethereum = watch(&follower, &TICKS.replace("bitcoin", "ethereum")).await;
    tick(&mut ethereum, Duration::from_secs(2)).await;
    drop(here);
    drain(&mut ethereum).await;
    tick(&mut ethereum, Duration::from_secs(2)).await;
    drain(&mut there).await;
    tick(&mut there, Duration::from_secs(2)).await;
    assert_eq!(feeder(&leader, &follower).await, 0, "the lead does not move with the demand");
    drop((there, ethereum));
    // From some moment on nobody fetches.
    let start = Instant::now();
    loop {
        let before = (calls(&leader), calls(&follower));
        sleep(Duration::from_millis(800)).await;
        if before == (calls(&leader), calls(&follower)) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the feed goes on without demand");
    }
    // And it begins again.
    tick(&mut watch(&follower, TICKS).await, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_newcomer_on_another_node_hears_a_price_that_does_not_change() {
    let redis = RedisServer::start().await;
    let slow = |config: &mut tidegate::config::Config| config.market.feed_interval_ms = 600_000;
    let (one, other) = (node(&redis.url()).config(slow).start().await, node(&redis.url()).config(slow).start().await);
    let mut here = watch(&one, TICKS).await;
    let first = tick(&mut here, PATIENCE).await;
    // As after two minutes without a change: only the leader still knows what it told.
    redis.cli(&["EVAL", "return redis.call('DEL', unpack(redis.call('KEYS', '*price:bitcoin*')))", "0"]);
    let mut there = watch(&other, TICKS).await;
    assert_eq!(tick(&mut there, Duration::from_secs(2)).await, first);
    assert!(timeout(Duration::from_millis(300), here.message()).await.is_err(), "nothing changed for who has heard it");
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_at_once() {
    let redis = RedisServer::start().await;
    let [(leader, here), (follower, mut there)] = pair(&redis.url(), &redis.url()).await;
    drop(here);
    leader.stop().await;
    let took = fetches(&follower, Duration::from_millis(1_500)).await;
    drain(&mut there).await;
    tick(&mut there, Duration::from_secs(1)).await;
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

#[tokio::test]
async fn a_leader_that_is_cut_off_is_replaced_and_goes_on_for_itself() {
    let redis = RedisServer::start().await;
    let (first, second) = (Proxy::start(redis.port()).await, Proxy::start(redis.port()).await);
    let (one, other) = (node(&first.url()).start().await, node(&second.url()).start().await);
    let mut sockets = [watch(&one, TICKS).await, watch(&other, TICKS).await];
    for socket in &mut sockets {
        tick(socket, PATIENCE).await;
    }
    let feeds = feeder(&one, &other).await;
    let (cut, apps) = if feeds == 0 { (&first, [&one, &other]) } else { (&second, [&other, &one]) };
    cut.stall();
    let took = fetches(apps[1], Duration::from_secs(5)).await;
    // The lease was renewed within the last second, so it held for two more at least.
    assert!(took >= LEASE / 2, "two nodes fed at once: {took:?}");
    // Each of them tells its own subscribers.
    for socket in &mut sockets {
        drain(socket).await;
        tick(socket, LEASE + Duration::from_secs(2)).await;
    }
    cut.pass().await;
    feeder(&one, &other).await;
    for socket in &mut sockets {
        drain(socket).await;
        tick(socket, Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn without_redis_each_node_feeds_its_own_and_one_feeds_all_when_it_is_back() {
    let redis = RedisServer::start().await;
    let [(leader, here), (follower, there)] = pair(&redis.url(), &redis.url()).await;
    redis.kill();
    let mut sockets = [here, there];
    for (app, socket) in [&leader, &follower].into_iter().zip(&mut sockets) {
        fetches(app, LEASE + Duration::from_secs(3)).await;
        drain(socket).await;
        tick(socket, LEASE + Duration::from_secs(2)).await;
    }
    redis.restart().await;
    feeder(&leader, &follower).await;
    for socket in &mut sockets {
        drain(socket).await;
        tick(socket, Duration::from_secs(2)).await;
    }
}
