//! The harness itself: what the other tests believe when they say that Redis was killed, deaf, slow or moved.

use std::time::Duration;

use ::redis::{AsyncCommands, RedisResult, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};

use crate::harness::{PATIENCE, Proxy, RedisCluster, RedisServer, until};

/// Longer than an answer over loopback takes on a busy machine, shorter than patience.
const MOMENT: Duration = Duration::from_millis(300);

async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    ::redis::Client::open(url)?.get_multiplexed_async_connection().await
}

async fn ping(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    ::redis::cmd("PING").query_async(connection).await
}

#[tokio::test]
async fn a_server_dies_comes_back_and_holds_its_breath() {
    let server = RedisServer::start().await;
    assert_eq!(server.cli(&["SET", "name", "value"]), "OK");

    server.kill();
    assert!(connect(&server.url()).await.is_err());
    server.restart().await;
    assert_eq!(server.cli(&["GET", "name"]), "", "nothing is kept");

    let mut connection = connect(&server.url()).await.unwrap();
    server.pause();
    assert!(timeout(MOMENT, ping(&mut connection)).await.is_err());
    server.resume();
    assert_eq!(timeout(PATIENCE, ping(&mut connection)).await.unwrap().unwrap(), "PONG");

    let port = server.port();
    drop(server);
    assert!(connect(&format!("redis://127.0.0.1:{port}")).await.is_err(), "dropped is killed");
}

#[tokio::test]
async fn a_server_asks_who_comes() {
    let server = RedisServer::builder().password("secret").acl("app on >word ~* &* +@all").start().await;
    assert_eq!(server.cli(&["PING"]), "PONG");
    assert!(server.url().contains(":secret@"));
    for (login, welcome) in [("", false), (":wrong@", false), (":secret@", true), ("app:word@", true)] {
        let url = format!("redis://{login}127.0.0.1:{}", server.port());
        let answer = async { ping(&mut connect(&url).await?).await };
        assert_eq!(answer.await.is_ok(), welcome, "{login:?}");
    }
}

#[tokio::test]
async fn a_server_speaks_tls_alone() {
    let server = RedisServer::builder().tls().start().await;
    assert_eq!(server.cli(&["PING"]), "PONG", "redis-cli trusts the authority");
    assert!(server.url().starts_with("rediss://localhost:"));
    let plain = connect(&format!("redis://127.0.0.1:{}", server.port())).await;
    assert!(plain.is_err());
}

#[tokio::test]
async fn a_slot_moves_with_its_keys() {
    let cluster = RedisCluster::start().await;
    assert_eq!(cluster.seeds().len(), 3);
    assert_eq!(format!("redis://{}", cluster.seeds()[0]), cluster.url());
    let slot = cluster.slot("{tag}name");
    assert_eq!(slot, cluster.slot("{tag}other"));
    let from = cluster.owner(slot);
    let to = (from + 1) % 3;
    for number in 0..250 {
        assert_eq!(cluster.nodes()[from].cli(&["SET", &format!("{{tag}}{number}"), "value"]), "OK");
    }

    cluster.migrate(slot, from, to).await;

    assert_eq!(cluster.owner(slot), to);
    assert_eq!(cluster.nodes()[to].cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]), "250");
    let moved = format!("MOVED {slot} 127.0.0.1:{}", cluster.nodes()[to].port());
    assert_eq!(cluster.nodes()[from].cli(&["GET", "{tag}1"]), moved);

    cluster.nodes().iter().for_each(RedisServer::kill);
    for node in cluster.nodes() {
        node.restart().await;
    }
    cluster.settled().await;
    assert_eq!(cluster.owner(slot), to, "a node remembers its slots");
}

#[tokio::test]
async fn a_proxy_plays_every_fault_of_a_network() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    assert_ne!(proxy.port(), server.port());
    let mut connection = connect(&proxy.url()).await.unwrap();
    assert_eq!(ping(&mut connection).await.unwrap(), "PONG");

    proxy.latency(Duration::from_millis(40));
    let began = Instant::now();
    assert_eq!(ping(&mut connection).await.unwrap(), "PONG");
    assert!(began.elapsed() >= Duration::from_millis(80), "there and back: {:?}", began.elapsed());

    proxy.stall();
    assert!(timeout(MOMENT, ping(&mut connection)).await.is_err());
    assert!(timeout(MOMENT, connect(&proxy.url())).await.is_err(), "accepted and kept");
    proxy.pass().await;
    assert_eq!(timeout(PATIENCE, ping(&mut connection)).await.unwrap().unwrap(), "PONG");

    proxy.reset();
    let lost = timeout(PATIENCE, ping(&mut connection)).await.expect("a reset is heard at once");
    assert!(lost.is_err());
    let mut connection = connect(&proxy.url()).await.unwrap();

    proxy.refuse().await;
    assert!(timeout(PATIENCE, ping(&mut connection)).await.expect("a reset is heard at once").is_err());
    let refused = timeout(PATIENCE, connect(&proxy.url())).await.unwrap().map(drop).unwrap_err();
    assert!(refused.is_connection_refusal(), "{refused}");
    proxy.pass().await;
    assert_eq!(ping(&mut connect(&proxy.url()).await.unwrap()).await.unwrap(), "PONG");
}

#[tokio::test]
async fn half_a_connection_still_hears() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let mut heard = ::redis::Client::open(proxy.url()).unwrap().get_async_pubsub().await.unwrap();
    heard.subscribe("channel").await.unwrap();
    let mut speaks = connect(&proxy.url()).await.unwrap();

    proxy.half_open();
    let said = timeout(MOMENT, speaks.set::<_, _, ()>("name", "value")).await;
    assert!(said.is_err() && server.cli(&["GET", "name"]).is_empty());
    assert_eq!(server.cli(&["PUBLISH", "channel", "message"]), "1");
    let mut messages = heard.into_on_message();
    let message = timeout(PATIENCE, futures_util::StreamExt::next(&mut messages)).await.unwrap().unwrap();
    assert_eq!(message.get_payload_bytes(), b"message");

    proxy.pass().await;
    until("what was held back arrives", async || server.cli(&["GET", "name"]) == "value").await;
}
