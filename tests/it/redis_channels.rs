//! Subscriptions in Redis that come back: against real servers, a real cluster, and a network that fails on demand.
//!
//! What a reader hears is the proof: `Lost` after every fault, `Live` within two seconds after its end, and messages in
//! order in between. The outage of a minute is `soak_`, as the ones of a few seconds are the same code.

use std::time::{Duration, Instant};

use tidegate::{
    config::RedisConfig,
    model::{Chance, Clock},
    store::{Heard, Lane, Listening, PARTITIONS, Redis, RedisParts},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::harness::{PATIENCE, Proxy, RedisCluster, RedisServer};

/// How soon everything must be heard again after the end of a fault.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// What a reader that does not read is kept.
const CAPACITY: usize = 1_024;

/// A process that shares a Redis with others.
struct Node {
    redis: Redis,
    lane: Lane,
    _stop: DropGuard,
}

impl Node {
    fn open(url: &str) -> Self {
        Self::of(&RedisConfig { url: Some(url.into()), ..RedisConfig::defaults() })
    }

    fn in_cluster(cluster: &RedisCluster) -> Self {
        Self::of(&RedisConfig {
            url: Some(cluster.url().as_str().into()),
            cluster: true,
            cluster_seeds: cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect(),
            ..RedisConfig::defaults()
        })
    }

    fn of(config: &RedisConfig) -> Self {
        let stop = CancellationToken::new();
        let parts = RedisParts {
            clock: Clock::system(),
            chance: Chance::from_entropy(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        let redis = Redis::open(config, &parts).unwrap();
        let lane = redis.lane("test", Duration::from_secs(2));
        Self { redis, lane, _stop: stop.drop_guard() }
    }

    async fn listen(&self, channel: &str) -> Listening {
        let mut listening = self.redis.listen(channel.to_owned());
        assert_eq!(next(&mut listening).await, Heard::Live);
        listening
    }

    /// Publishes as soon as that is possible; returns how many connections got it.
    async fn publish(&self, channel: &str, message: &str) -> u64 {
        let publish = async {
            loop {
                let mut command = redis::cmd(self.redis.publish_verb());
                command.arg(channel).arg(message);
                match self.lane.run(command).await {
                    Ok(receivers) => return receivers,
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        timeout(PATIENCE, publish).await.expect("redis can be reached")
    }

    /// A message published now is the next thing that is heard.
    async fn delivers(&self, listening: &mut Listening, channel: &str, message: &str) {
        assert_eq!(self.publish(channel, message).await, 1, "{channel}");
        assert_eq!(next(listening).await, Heard::Message(message.to_owned().into()), "{channel}");
    }
}

async fn next(listening: &mut Listening) -> Heard {
    timeout(PATIENCE, listening.heard()).await.expect("something is heard in time")
}

/// Reads on until the channel is live again, which must be soon after `since`.
async fn back(listening: &mut Listening, since: Instant) {
    while next(listening).await != Heard::Live {}
    let took = since.elapsed();
    assert!(took <= BACK_WITHIN, "{listening:?} was back after {took:?}");
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{what}"));
}

/// How many subscriptions the server knows for a channel.
fn subscriptions(server: &RedisServer, channel: &str) -> u64 {
    let answer = server.cli(&["PUBSUB", "NUMSUB", channel]);
    answer.lines().last().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_killed_connection_comes_back() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let mut listening = node.listen("a").await;
    node.delivers(&mut listening, "a", "before").await;
    for _ in 0..3 {
        let killed = Instant::now();
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "0");
        assert_eq!(next(&mut listening).await, Heard::Lost);
        back(&mut listening, killed).await;
        node.delivers(&mut listening, "a", "after").await;
    }
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let mut listening = node.listen("a").await;
    server.kill();
    assert_eq!(next(&mut listening).await, Heard::Lost);
    sleep(Duration::from_secs(3)).await;
    server.restart().await;
    back(&mut listening, Instant::now()).await;
    node.delivers(&mut listening, "a", "after").await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_found() {
    let server = RedisServer::start().await;
    server.kill();
    let node = Node::open(&server.url());
    let mut listening = node.redis.listen("a".to_owned());
    assert!(timeout(Duration::from_millis(300), listening.heard()).await.is_err(), "nothing is told before it is live");
    server.restart().await;
    back(&mut listening, Instant::now()).await;
    node.delivers(&mut listening, "a", "after").await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_found_again() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let mut listening = node.listen("a").await;
    let paused = Instant::now();
    server.pause();
    assert_eq!(next(&mut listening).await, Heard::Lost);
    assert!(paused.elapsed() < Duration::from_secs(4), "noticed after {:?}", paused.elapsed());
    server.resume();
    back(&mut listening, Instant::now()).await;
    node.delivers(&mut listening, "a", "after").await;
}

#[tokio::test]
async fn a_network_that_swallows_is_noticed_and_one_that_resets_too() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let node = Node::open(&proxy.url());
    let mut listening = node.listen("a").await;
    for fault in [Proxy::stall, Proxy::half_open] {
        fault(&proxy);
        assert_eq!(next(&mut listening).await, Heard::Lost);
        proxy.pass().await;
        back(&mut listening, Instant::now()).await;
        node.delivers(&mut listening, "a", "after").await;
    }
    proxy.reset();
    assert_eq!(next(&mut listening).await, Heard::Lost);
    back(&mut listening, Instant::now()).await;
    proxy.refuse().await;
    assert_eq!(next(&mut listening).await, Heard::Lost);
    proxy.pass().await;
    back(&mut listening, Instant::now()).await;
    node.delivers(&mut listening, "a", "after").await;
}

#[tokio::test]
async fn ten_thousand_messages_arrive_in_order() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let mut listening = node.listen("a").await;
    let publisher = Node::open(&server.url());
    let publishing = async {
        for number in 0..10_000 {
            publisher.publish("a", &number.to_string()).await;
        }
    };
    let heard = async {
        for number in 0..10_000 {
            assert_eq!(next(&mut listening).await, Heard::Message(number.to_string().into()));
        }
    };
    tokio::join!(publishing, heard);
}

#[tokio::test]
async fn a_slow_reader_is_told_that_it_missed_something_and_harms_nobody() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let (mut slow, mut quick) = (node.listen("a").await, node.listen("a").await);
    for number in 0..2 * CAPACITY {
        node.delivers(&mut quick, "a", &number.to_string()).await;
    }
    for number in 0..CAPACITY {
        assert_eq!(next(&mut slow).await, Heard::Message(number.to_string().into()));
    }
    assert_eq!([next(&mut slow).await, next(&mut slow).await], [Heard::Lost, Heard::Live]);
    node.delivers(&mut slow, "a", "caught up").await;
}

#[tokio::test]
async fn readers_share_one_subscription_and_the_last_ends_it() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let (mut first, mut second) = (node.listen("a").await, node.listen("a").await);
    let other = node.listen("b").await;
    assert_eq!(subscriptions(&server, "a"), 1);
    node.delivers(&mut first, "a", "x").await;
    assert_eq!(next(&mut second).await, Heard::Message("x".into()));
    drop(first);
    node.delivers(&mut second, "a", "y").await;
    drop(second);
    until("the subscription ends", || subscriptions(&server, "a") == 0).await;
    assert_eq!(subscriptions(&server, "b"), 1);
    drop(other);
    until("the line closes", || server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).is_empty()).await;
    let mut again = node.listen("a").await;
    node.delivers(&mut again, "a", "z").await;
}

#[tokio::test]
async fn leaving_and_joining_in_one_breath_ends_subscribed() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let _line = node.listen("other").await;
    let mut listening = node.listen("a").await;
    for round in 0..200 {
        drop(listening);
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        listening = node.redis.listen("a".to_owned());
        if round % 5 == 0 {
            assert_eq!(next(&mut listening).await, Heard::Live);
        }
    }
    drop(listening);
    let mut listening = node.listen("a").await;
    node.delivers(&mut listening, "a", "x").await;
    assert_eq!(subscriptions(&server, "a"), 1);
}

#[tokio::test]
async fn many_channels_come_back_together() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    let mut listenings: Vec<_> = (0..1_200).map(|number| node.redis.listen(format!("many:{number}"))).collect();
    for listening in &mut listenings {
        assert_eq!(next(listening).await, Heard::Live);
    }
    let killed = Instant::now();
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    for listening in &mut listenings {
        assert_eq!(next(listening).await, Heard::Lost);
        back(listening, killed).await;
    }
    drop(listenings);
    until("every subscription ends", || server.cli(&["PUBSUB", "CHANNELS", "many:*"]).is_empty()).await;
}

#[tokio::test]
async fn a_channel_that_is_not_permitted_does_not_take_the_others_along() {
    let server = RedisServer::builder().acl("app on >secret ~* resetchannels &tidegate:* +@all").start().await;
    let node = Node::open(&server.url().replace("redis://", "redis://app:secret@"));
    let mut forbidden = node.redis.listen("elsewhere".to_owned());
    let channel = node.redis.key("a");
    let mut listening = node.listen(&channel).await;
    node.delivers(&mut listening, &channel, "x").await;
    assert!(timeout(Duration::from_millis(100), forbidden.heard()).await.is_err());
    // Whoever is permitted later is heard later.
    server.cli(&["ACL", "SETUSER", "app", "&elsewhere"]);
    assert_eq!(next(&mut forbidden).await, Heard::Live);
    node.delivers(&mut forbidden, "elsewhere", "y").await;
}

#[tokio::test]
async fn a_line_that_hears_nothing_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(confirm_and_never_deliver(client));
        }
    });
    let node = Node::open(&url);
    let mut listening = node.listen("a").await;
    let began = Instant::now();
    assert_eq!(next(&mut listening).await, Heard::Lost);
    // Two probes must have stayed away: sooner, it would be another fault that was noticed.
    let noticed = began.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&noticed), "noticed after {noticed:?}");
    assert_eq!(next(&mut listening).await, Heard::Live);
}

/// A server that answers, confirms subscriptions, counts a listener for whatever is published, and delivers nothing.
async fn confirm_and_never_deliver(client: TcpStream) {
    let mut client = BufReader::new(client);
    while let Some(command) = read_command(&mut client).await {
        let answer = match command[0].to_ascii_uppercase().as_str() {
            "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            "CLIENT" => "+OK\r\n".to_owned(),
            "PING" => "+PONG\r\n".to_owned(),
            "PUBLISH" => ":1\r\n".to_owned(),
            "SUBSCRIBE" => format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{}\r\n:1\r\n", command[1].len(), command[1]),
            _ => "-ERR not here\r\n".to_owned(),
        };
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_command(client: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..read_count(client, '*').await? {
        let length = read_count(client, '$').await?;
        let mut word = vec![0; length + 2];
        client.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word[..length]).into_owned());
    }
    Some(words)
}

async fn read_count(client: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    client.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}

/// Twenty channels in twenty slots, all live, and their readers.
async fn twenty(node: &Node) -> Vec<(String, Listening)> {
    let mut readers = Vec::new();
    for partition in 0..20 {
        let tag = node.redis.partition_tag(partition * PARTITIONS / 20);
        let channel = node.redis.key(&format!("topic:{{{tag}}}"));
        readers.push((channel.clone(), node.redis.listen(channel)));
    }
    for (_, listening) in &mut readers {
        assert_eq!(next(listening).await, Heard::Live);
    }
    deliver_all(node, &mut readers, "at first").await;
    readers
}

async fn deliver_all(node: &Node, readers: &mut [(String, Listening)], message: &str) {
    for (channel, listening) in readers {
        node.delivers(listening, channel, message).await;
    }
}

#[tokio::test]
async fn twenty_slots_come_back_when_their_connections_are_killed() {
    let cluster = RedisCluster::start().await;
    let node = Node::in_cluster(&cluster);
    let mut readers = twenty(&node).await;
    let killed = Instant::now();
    for server in cluster.nodes() {
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "0");
    }
    for (_, listening) in &mut readers {
        assert_eq!(next(listening).await, Heard::Lost);
        back(listening, killed).await;
    }
    deliver_all(&node, &mut readers, "after").await;
}

#[tokio::test]
async fn twenty_slots_are_followed_where_they_move() {
    let cluster = RedisCluster::start().await;
    let node = Node::in_cluster(&cluster);
    let mut readers = twenty(&node).await;
    for (channel, listening) in &mut readers {
        let slot = cluster.slot(channel);
        let from = cluster.owner(slot);
        cluster.migrate(slot, from, (from + 1) % 3).await;
        let moved = Instant::now();
        assert_eq!(next(listening).await, Heard::Lost, "{channel}");
        back(listening, moved).await;
        node.delivers(listening, channel, "after").await;
    }
    // Nobody was disturbed by the others' moves.
    deliver_all(&node, &mut readers, "at last").await;
}

#[tokio::test]
async fn twenty_slots_come_back_after_an_outage_of_all_nodes() {
    outage_of_all_nodes(Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_twenty_slots_come_back_after_an_outage_of_a_minute() {
    outage_of_all_nodes(Duration::from_mins(1)).await;
}

async fn outage_of_all_nodes(duration: Duration) {
    let cluster = RedisCluster::start().await;
    let node = Node::in_cluster(&cluster);
    let mut readers = twenty(&node).await;
    cluster.nodes().iter().for_each(RedisServer::kill);
    for (_, listening) in &mut readers {
        assert_eq!(next(listening).await, Heard::Lost);
    }
    sleep(duration).await;
    for server in cluster.nodes() {
        server.restart().await;
    }
    let restarted = Instant::now();
    for (_, listening) in &mut readers {
        back(listening, restarted).await;
    }
    cluster.settled().await;
    deliver_all(&node, &mut readers, "after").await;
}
