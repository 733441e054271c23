//! Topics over Redis: two nodes against real servers, a real cluster, and a network that fails on demand.
//!
//! Readers are the proof: what they hear after every fault, that it is each message once and in order, and that they are
//! told when it cannot be. The long outages are `soak_`, as those of a few seconds are the same code.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::join_all};
use tidegate::{
    bus::{Bus, Delivered, Delivery, History, Position, Reach, Subscription, Topic},
    config::RedisConfig,
    model::{Chance, Clock},
    store::{Redis, RedisParts, partition_of},
};
use tokio::time::{sleep, timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::harness::{PATIENCE, Proxy, RedisCluster, RedisServer};

/// How soon everything must be delivered again after the end of a fault.
const BACK_WITHIN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// A process that shares a Redis with others.
struct Node {
    bus: Bus,
    redis: Redis,
    _stop: DropGuard,
}

impl Node {
    async fn open(url: &str) -> Self {
        Self::of(&RedisConfig { url: Some(url.into()), ..RedisConfig::defaults() }).await
    }

    async fn in_cluster(cluster: &RedisCluster) -> Self {
        Self::of(&RedisConfig {
            url: Some(cluster.url().as_str().into()),
            cluster: true,
            cluster_seeds: cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect(),
            ..RedisConfig::defaults()
        })
        .await
    }

    async fn of(config: &RedisConfig) -> Self {
        let (clock, chance) = (Clock::system(), Chance::from_entropy());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let parts =
            RedisParts { clock: clock.clone(), chance: chance.clone(), tasks: tasks.clone(), stop: stop.clone() };
        let redis = Redis::open(config, &parts).unwrap();
        let node = Self {
            bus: Bus::shared(redis.clone(), clock, chance, tasks, stop.clone()),
            redis,
            _stop: stop.drop_guard(),
        };
        node.up().await;
        node
    }

    async fn up(&self) {
        until("redis is reached", || self.redis.is_up()).await;
    }

    async fn read(&self, topic: &Topic<u64>) -> Subscription<u64> {
        let reader = self.bus.subscribe(topic);
        assert!(reader.ready().await, "{topic:?}");
        reader
    }

    /// Publishes numbers from `number` on until one of them has reached all nodes, which a busy machine may delay; returns
    /// that one.
    async fn publish(&self, topic: &Topic<u64>, number: u64) -> u64 {
        for number in number..number + 100 {
            if self.bus.publish(topic, number).await == Reach::Nodes {
                return number;
            }
        }
        panic!("redis is never reached");
    }

    /// The topic's channel in Redis.
    fn channel(&self, topic: &Topic<u64>) -> String {
        let tag = self.redis.partition_tag(partition_of(topic.name()));
        self.redis.key(&format!("bus:{{{tag}}}:{}", topic.name()))
    }
}

fn buffered(name: &str) -> Topic<u64> {
    Topic::new(name, Delivery::Buffer(8_192))
}

fn remembering(name: &str, messages: usize) -> Topic<u64> {
    buffered(name).remembering(History { messages, keep_for: Duration::from_mins(5) })
}

/// One in each of 20 partitions; every second one remembers.
fn twenty_topics() -> Vec<Topic<u64>> {
    let mut partitions = HashSet::new();
    let names = (0..).map(|number| format!("topic:{number}")).filter(|name| partitions.insert(partition_of(name)));
    let topic = |(number, name): (usize, String)| {
        if number % 2 == 0 { buffered(&name) } else { remembering(&name, 1_000) }
    };
    names.take(20).enumerate().map(topic).collect()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn next<T: tidegate::bus::Message>(reader: &mut Subscription<T>) -> Delivered<T> {
    timeout(PATIENCE, reader.next()).await.expect("something is delivered in time").expect("the bus is there")
}

async fn message(reader: &mut Subscription<u64>) -> u64 {
    match next(reader).await {
        Delivered::Message { message, .. } => message,
        Delivered::Missed(count) => panic!("missed {count:?}"),
    }
}

async fn position(reader: &mut Subscription<u64>) -> Position {
    match next(reader).await {
        Delivered::Message { position: Some(position), .. } => position,
        other => panic!("{other:?}"),
    }
}

fn waiting(reader: &mut Subscription<u64>) -> Vec<Delivered<u64>> {
    std::iter::from_fn(|| reader.next().now_or_never().flatten()).collect()
}

/// Publishes on one node until the reader on the other hears a message of now.
async fn delivers_again(node: &Node, topic: &Topic<u64>, reader: &mut Subscription<u64>, since: Instant) {
    let again = async {
        for number in 1_000_000.. {
            node.bus.publish(topic, number).await;
            sleep(POLL).await;
            let heard = waiting(reader);
            if heard.iter().any(|heard| matches!(heard, Delivered::Message { message: 1_000_000.., .. })) {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.unwrap_or_else(|_| panic!("{topic:?} never came back"));
    let took = since.elapsed();
    assert!(took <= BACK_WITHIN, "{topic:?} was back after {took:?}");
}

async fn all_deliver_again(node: &Node, readers: &mut [(Topic<u64>, Subscription<u64>)], since: Instant) {
    join_all(readers.iter_mut().map(|(topic, reader)| delivers_again(node, topic, reader, since))).await;
}

async fn read_twenty(node: &Node) -> Vec<(Topic<u64>, Subscription<u64>)> {
    join_all(twenty_topics().into_iter().map(async |topic| (topic.clone(), node.read(&topic).await))).await
}

fn subscriptions(server: &RedisServer, verb: &str, channel: &str) -> u64 {
    server.cli(&["PUBSUB", verb, channel]).lines().last().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_node_sees_the_messages_of_all_in_one_order() {
    let server = RedisServer::start().await;
    let nodes = [Node::open(&server.url()).await, Node::open(&server.url()).await];
    let topic = remembering("orders", 1_000);
    let mut readers = [nodes[0].read(&topic).await, nodes[1].read(&topic).await];
    let publish = async |node: &Node, from: u64| {
        for number in from..from + 200 {
            assert_eq!(node.bus.publish(&topic, number).await, Reach::Nodes);
        }
    };
    tokio::join!(publish(&nodes[0], 0), publish(&nodes[1], 1_000));
    let mut heard = [Vec::new(), Vec::new()];
    for (reader, heard) in readers.iter_mut().zip(&mut heard) {
        for offset in 1..=400 {
            match next(reader).await {
                Delivered::Message { message, position: Some(position), replayed: false } => {
                    assert_eq!(position.offset, offset);
                    heard.push((message, position));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0].iter().map(|(message, _)| message).collect::<HashSet<_>>().len(), 400);
}

#[tokio::test]
async fn twenty_topics_come_back_after_their_connections_are_killed() {
    let server = RedisServer::start().await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&server.url()).await);
    let mut readers = read_twenty(&there).await;
    let killed = Instant::now();
    assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "0");
    all_deliver_again(&here, &mut readers, killed).await;
}

#[tokio::test]
async fn twenty_topics_of_a_cluster_come_back_after_kills_and_migrations() {
    let cluster = RedisCluster::start().await;
    let (here, there) = (Node::in_cluster(&cluster).await, Node::in_cluster(&cluster).await);
    let mut readers = read_twenty(&there).await;
    all_deliver_again(&here, &mut readers, Instant::now()).await;
    let killed = Instant::now();
    for server in cluster.nodes() {
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    all_deliver_again(&here, &mut readers, killed).await;
    for (topic, reader) in &mut readers {
        let slot = cluster.slot(&there.channel(topic));
        let owner = cluster.owner(slot);
        cluster.migrate(slot, owner, (owner + 1) % cluster.nodes().len()).await;
        delivers_again(&here, topic, reader, Instant::now()).await;
    }
}

#[tokio::test]
async fn twenty_topics_of_a_cluster_come_back_after_an_outage() {
    come_back_after_an_outage(Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_twenty_topics_of_a_cluster_come_back_after_a_minute_without() {
    come_back_after_an_outage(Duration::from_mins(1)).await;
}

async fn come_back_after_an_outage(length: Duration) {
    let cluster = RedisCluster::start().await;
    let (here, there) = (Node::in_cluster(&cluster).await, Node::in_cluster(&cluster).await);
    let mut readers = read_twenty(&there).await;
    cluster.nodes().iter().for_each(RedisServer::kill);
    sleep(length).await;
    for server in cluster.nodes() {
        server.restart().await;
    }
    cluster.settled().await;
    all_deliver_again(&here, &mut readers, Instant::now()).await;
}

#[tokio::test]
async fn a_node_that_was_cut_off_gets_every_message_once_in_order() {
    get_every_message_after_a_cut(Duration::from_secs(5)).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_a_node_that_was_cut_off_for_half_a_minute_gets_every_message_once_in_order() {
    get_every_message_after_a_cut(Duration::from_secs(30)).await;
}

async fn get_every_message_after_a_cut(length: Duration) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&proxy.url()).await);
    let topic = remembering("cut", 65_536);
    let mut staying = there.read(&topic).await;
    let mut leaving = there.read(&topic).await;
    for number in 1..=5 {
        here.bus.publish(&topic, number).await;
        assert_eq!((message(&mut staying).await, message(&mut leaving).await), (number, number));
    }
    here.bus.publish(&topic, 6).await;
    let (place, _) = (position(&mut leaving).await, position(&mut staying).await);
    drop(leaving);

    proxy.stall();
    let cut = Instant::now();
    let mut number = 6;
    while cut.elapsed() < length {
        number = here.publish(&topic, number + 1).await;
        sleep(Duration::from_millis(2)).await;
    }
    proxy.pass().await;
    let mut resuming = there.bus.resume(&topic, place);
    for _ in 0..100 {
        number = here.publish(&topic, number + 1).await;
    }
    for reader in [&mut staying, &mut resuming] {
        let mut progress = Progress::from(place);
        while progress.message < number {
            progress.follow(&next(reader).await);
        }
        assert_eq!((progress.lost, progress.was_left_unsure, waiting(reader)), (0, 0, vec![]));
    }
}

#[tokio::test]
async fn what_the_history_does_not_reach_back_to_is_told() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&proxy.url()).await);
    let topic = remembering("short", 10);
    let mut reader = there.read(&topic).await;
    here.bus.publish(&topic, 1).await;
    let place = position(&mut reader).await;
    proxy.refuse().await;
    for number in 2..=50 {
        here.bus.publish(&topic, number).await;
    }
    proxy.pass().await;
    for mut reader in [reader, there.bus.resume(&topic, place)] {
        assert_eq!(next(&mut reader).await, Delivered::Missed(Some(39)));
        for expected in 41..=50 {
            assert_eq!(message(&mut reader).await, expected);
        }
    }
}

#[tokio::test]
async fn a_history_that_was_lost_is_told_and_the_next_one_read() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&proxy.url()).await);
    let topic = remembering("flushed", 100);
    let mut reader = there.read(&topic).await;
    for number in 1..=5 {
        here.bus.publish(&topic, number).await;
        assert_eq!(message(&mut reader).await, number);
    }
    here.bus.publish(&topic, 6).await;
    let place = position(&mut reader).await;

    proxy.refuse().await;
    here.bus.publish(&topic, 7).await;
    assert_eq!(server.cli(&["FLUSHALL"]), "OK");
    here.bus.publish(&topic, 8).await;
    proxy.pass().await;
    let mut resuming = there.bus.resume(&topic, place);
    for reader in [&mut reader, &mut resuming] {
        assert_eq!(next(reader).await, Delivered::Missed(None));
        assert_eq!(message(reader).await, 8);
    }
    // Who was there all the time has missed nothing.
    assert_eq!(server.cli(&["FLUSHALL"]), "OK");
    let mut late = there.bus.resume(&topic, place);
    assert_eq!(next(&mut late).await, Delivered::Missed(None));
    here.bus.publish(&topic, 9).await;
    for reader in [&mut reader, &mut resuming, &mut late] {
        assert_eq!(message(reader).await, 9);
    }
}

#[tokio::test]
async fn a_node_has_one_subscription_for_all_readers_of_a_topic() {
    let server = RedisServer::start().await;
    let nodes = [Node::open(&server.url()).await, Node::open(&server.url()).await];
    let topic = remembering("crowd", 10);
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(node.read(&topic).await);
        readers.extend((1..1_000).map(|_| node.bus.subscribe(&topic)));
    }
    let channel = nodes[0].channel(&topic);
    assert_eq!(subscriptions(&server, "NUMSUB", &channel), 2);
    nodes[0].bus.publish(&topic, 7).await;
    for reader in &mut readers {
        assert_eq!(message(reader).await, 7);
    }
    drop(readers);
    until("nobody is subscribed", || subscriptions(&server, "NUMSUB", &channel) == 0).await;
}

#[tokio::test]
async fn a_cluster_has_one_subscription_for_all_readers_of_a_topic() {
    let cluster = RedisCluster::start().await;
    let node = Node::in_cluster(&cluster).await;
    let topic = remembering("crowd", 10);
    let readers = [node.read(&topic).await, node.read(&topic).await];
    let channel = node.channel(&topic);
    let owner = &cluster.nodes()[cluster.owner(cluster.slot(&channel))];
    assert_eq!(subscriptions(owner, "SHARDNUMSUB", &channel), 1);
    drop(readers);
    until("nobody is subscribed", || subscriptions(owner, "SHARDNUMSUB", &channel) == 0).await;
}

#[tokio::test]
async fn readers_that_come_and_go_leave_the_topic_readable() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url()).await;
    for topic in [buffered("plain"), remembering("kept", 10)] {
        for round in 0..100 {
            let mut reader = node.read(&topic).await;
            assert_eq!(node.bus.publish(&topic, round).await, Reach::Nodes);
            assert_eq!(message(&mut reader).await, round, "{topic:?}");
        }
        let channel = node.channel(&topic);
        until("nobody is subscribed", || subscriptions(&server, "NUMSUB", &channel) == 0).await;
    }
}

#[tokio::test]
async fn without_redis_a_node_has_its_own_messages_and_then_those_of_all() {
    let server = RedisServer::start().await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&server.url()).await);
    let topic = remembering("outage", 100);
    let (mut near, mut far) = (here.read(&topic).await, there.read(&topic).await);
    here.bus.publish(&topic, 1).await;
    assert_eq!((message(&mut near).await, message(&mut far).await), (1, 1));

    server.kill();
    for number in 2..=50 {
        let began = Instant::now();
        assert_eq!(here.bus.publish(&topic, number).await, Reach::Here);
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
        assert_eq!(next(&mut near).await, Delivered::Message { message: number, position: None, replayed: false });
    }
    server.restart().await;
    delivers_again(&here, &topic, &mut far, Instant::now()).await;
    let heard = waiting(&mut near);
    assert!(heard.iter().all(|heard| !matches!(heard, Delivered::Message { message: ..=50, .. })), "{heard:?}");
}

/// What the network held back arrives after all, when it was handed to this node's readers long ago.
#[tokio::test]
async fn a_message_that_redis_took_too_late_is_not_delivered_twice() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&proxy.url()).await, Node::open(&server.url()).await);
    let topic = remembering("late", 100);
    let (mut near, mut far) = (here.read(&topic).await, there.read(&topic).await);
    here.bus.publish(&topic, 1).await;
    assert_eq!((message(&mut near).await, message(&mut far).await), (1, 1));
    proxy.stall();
    assert_eq!(here.bus.publish(&topic, 2).await, Reach::Here);
    assert_eq!(message(&mut near).await, 2);
    proxy.pass().await;
    assert_eq!(message(&mut far).await, 2);
    here.up().await;
    assert!(near.ready().await);
    assert_eq!(here.bus.publish(&topic, 3).await, Reach::Nodes);
    assert_eq!((message(&mut near).await, message(&mut far).await), (3, 3));
}

#[tokio::test]
async fn a_new_reader_of_the_newest_gets_it_from_another_node() {
    let server = RedisServer::start().await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&server.url()).await);
    let topic = Topic::new("newest", Delivery::Latest)
        .remembering(History { messages: 8, keep_for: Duration::from_millis(700) });
    for number in 1..=3 {
        assert_eq!(here.bus.publish(&topic, number).await, Reach::Nodes);
    }
    let mut reader = there.bus.subscribe(&topic);
    let first = next(&mut reader).await;
    assert!(matches!(first, Delivered::Message { message: 3, replayed: true, .. }), "{first:?}");
    assert!(reader.ready().await);
    here.bus.publish(&topic, 4).await;
    let Delivered::Message { message: 4, position: Some(place), replayed: false } = next(&mut reader).await else {
        panic!("the next one is live");
    };
    // Whoever resumes gets all of them, not the newest alone.
    let mut resuming = there.bus.resume(&topic, Position { offset: 1, ..place });
    for expected in 2..=4 {
        let heard = next(&mut resuming).await;
        assert!(
            matches!(heard, Delivered::Message { message, replayed: true, .. } if message == expected),
            "{heard:?}"
        );
    }
    let history = format!("{}:h", here.channel(&topic));
    until("the history is over", || server.cli(&["EXISTS", &history]) == "0").await;
    drop((reader, resuming));
    let mut late = there.bus.subscribe(&topic);
    assert!(late.ready().await);
    assert_eq!(waiting(&mut late), []);
}

#[tokio::test]
async fn the_newest_arrives_after_a_cut_and_is_given_once() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&proxy.url()).await);
    let topic =
        Topic::new("newest", Delivery::Latest).remembering(History { messages: 8, keep_for: Duration::from_mins(1) });
    let mut reader = there.read(&topic).await;
    here.bus.publish(&topic, 1).await;
    assert_eq!(message(&mut reader).await, 1);
    for newest in [3, 5] {
        proxy.refuse().await;
        here.bus.publish(&topic, newest - 1).await;
        here.bus.publish(&topic, newest).await;
        proxy.pass().await;
        assert_eq!(message(&mut reader).await, newest);
    }
    proxy.reset();
    sleep(Duration::from_millis(100)).await;
    assert!(reader.ready().await);
    assert_eq!(waiting(&mut reader), []);
}

#[tokio::test]
async fn a_topic_without_history_says_that_messages_may_be_missing() {
    let server = RedisServer::start().await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&server.url()).await);
    let topic = buffered("forgetful");
    let mut reader = there.read(&topic).await;
    assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "0");
    assert_eq!(next(&mut reader).await, Delivered::Missed(None));
    here.bus.publish(&topic, 1).await;
    assert_eq!(next(&mut reader).await, Delivered::Message { message: 1, position: None, replayed: false });
}

#[tokio::test]
async fn without_memory_messages_still_pass() {
    let server = RedisServer::start().await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&server.url()).await);
    let topic = remembering("full", 100);
    let mut reader = there.read(&topic).await;
    here.bus.publish(&topic, 1).await;
    position(&mut reader).await;
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert_eq!(here.bus.publish(&topic, 2).await, Reach::Nodes);
    assert_eq!(next(&mut reader).await, Delivered::Message { message: 2, position: None, replayed: false });
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    here.bus.publish(&topic, 3).await;
    assert_eq!(position(&mut reader).await.offset, 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_stops_nothing() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url()).await;
    let texts: Topic<String> = Topic::new("mixed", Delivery::Buffer(8));
    let numbers = buffered("mixed");
    let mut reader = node.read(&numbers).await;
    assert_eq!(server.cli(&["PUBLISH", &node.channel(&numbers), "hello"]), "1");
    assert_eq!(next(&mut reader).await, Delivered::Missed(Some(1)));
    // Not a number: its ten bytes all say that more follow.
    node.bus.publish(&texts, "\u{3ff}".repeat(200)).await;
    let heard = next(&mut reader).await;
    assert!(matches!(heard, Delivered::Missed(Some(1)) | Delivered::Message { .. }), "{heard:?}");
    node.bus.publish(&numbers, 7).await;
    assert_eq!(message(&mut reader).await, 7);
}

/// What pub/sub swallows without a sign shows in the next offset.
#[tokio::test]
async fn a_hole_in_what_is_heard_is_filled_from_the_history() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url()).await;
    let topic = remembering("hole", 100);
    let mut reader = node.read(&topic).await;
    node.bus.publish(&topic, 7).await;
    assert_eq!(position(&mut reader).await.offset, 1);
    let copy = "local entry = redis.call('XRANGE', KEYS[1], '-', '+')[1]
        redis.call('HINCRBY', KEYS[2], 'offset', 1)
        return redis.call('XADD', KEYS[1], '2-0', 'frame', entry[2][2])";
    let (history, numbering) = (format!("{}:h", node.channel(&topic)), format!("{}:m", node.channel(&topic)));
    assert_eq!(server.cli(&["EVAL", copy, "2", &history, &numbering]), "2-0");
    node.bus.publish(&topic, 8).await;
    for (expected, offset) in [(7, 2), (8, 3)] {
        match next(&mut reader).await {
            Delivered::Message { message, position: Some(position), .. } => {
                assert_eq!((message, position.offset), (expected, offset));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_redis_remembers_does_not_replace_what_came_after_it_without_redis() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&proxy.url()).await);
    let topic =
        Topic::new("newest", Delivery::Latest).remembering(History { messages: 8, keep_for: Duration::from_mins(1) });
    here.bus.publish(&topic, 1).await;
    proxy.refuse().await;
    let mut reader = there.bus.subscribe(&topic);
    assert_eq!(there.bus.publish(&topic, 2).await, Reach::Here);
    assert_eq!(message(&mut reader).await, 2);
    proxy.pass().await;
    until("the subscription is confirmed", || reader.ready().now_or_never() == Some(true)).await;
    assert_eq!(waiting(&mut reader), []);
    here.bus.publish(&topic, 3).await;
    assert_eq!(message(&mut reader).await, 3);
}

/// More than fits into one page, and more than waits for one reader.
#[tokio::test]
async fn a_long_history_is_read_page_by_page() {
    let server = RedisServer::start().await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&server.url()).await);
    let topic = remembering("long", 65_536);
    let mut first = here.read(&topic).await;
    for number in 1..=3_000 {
        here.bus.publish(&topic, number).await;
    }
    let place = position(&mut first).await;
    let mut reader = there.bus.resume(&topic, place);
    for expected in 2..=3_000 {
        assert_eq!(message(&mut reader).await, expected);
    }
}

#[tokio::test]
async fn whatever_the_network_does_each_message_comes_once_in_order() {
    survive_a_storm(Duration::from_secs(6), 65_536).await;
}

#[tokio::test]
async fn whatever_the_network_does_what_is_missing_is_told() {
    survive_a_storm(Duration::from_secs(6), 40).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_whatever_the_network_does_for_minutes() {
    tokio::join!(survive_a_storm(Duration::from_mins(3), 65_536), survive_a_storm(Duration::from_mins(3), 40));
}

/// One node publishes growing numbers, another reads through a network with seeded faults: one reader stays, others come
/// and go, and one sleeps until the storm is over and its buffer has long run over. Offsets tell each of them what it must
/// hear, or be told of, next.
async fn survive_a_storm(length: Duration, remembered: usize) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let (here, there) = (Node::open(&server.url()).await, Node::open(&proxy.url()).await);
    let topic = Topic::new("storm", Delivery::Buffer(1_024))
        .remembering(History { messages: remembered, keep_for: Duration::from_mins(5) });
    let (mut staying, mut slow) = (there.read(&topic).await, there.read(&topic).await);
    here.bus.publish(&topic, 1).await;
    let (start, _) = (position(&mut staying).await, position(&mut slow).await);
    let (mut resident, mut guest, mut sleeper) = (Progress::from(start), Progress::from(start), Progress::from(start));

    let calm = CancellationToken::new();
    let publish = async {
        let mut number = 1;
        while !calm.is_cancelled() {
            number = here.publish(&topic, number + 1).await;
            sleep(Duration::from_millis(3)).await;
        }
        sleep(BACK_WITHIN).await;
        // A last one, by which readers find out what they missed before it.
        here.publish(&topic, number + 1).await
    };
    let storm = async {
        rage(&proxy, &server, length).await;
        calm.cancel();
    };
    let come_and_go = async {
        while !calm.is_cancelled() {
            guest.visit(&there, &topic).await;
            sleep(Duration::from_millis(300)).await;
        }
    };
    let stay = async {
        while !calm.is_cancelled() {
            sleep(POLL).await;
            resident.follow_all(&waiting(&mut staying));
        }
    };
    let (last, (), (), ()) = tokio::join!(publish, storm, come_and_go, stay);
    let mut resuming = there.bus.resume(&topic, guest.place);
    for (reader, progress) in [(&mut staying, &mut resident), (&mut resuming, &mut guest), (&mut slow, &mut sleeper)] {
        while progress.message < last {
            progress.follow(&next(reader).await);
        }
        assert_eq!(waiting(reader), []);
    }
    assert_eq!(resident.was_left_unsure, 0);
    assert_eq!(resident.lost == 0, remembered > 1_000, "{resident:?} {guest:?}");
    assert!(sleeper.lost > 0, "{sleeper:?}");
    assert!(guest.lost == 0 || remembered < 1_000, "{guest:?}");
}

/// What a reader has heard, and what it was told that it has not.
#[derive(Debug)]
struct Progress {
    place: Position,
    message: u64,
    lost: u64,
    is_unsure: bool,
    was_left_unsure: u64,
}

impl From<Position> for Progress {
    fn from(place: Position) -> Self {
        Self { place, message: 0, lost: 0, is_unsure: false, was_left_unsure: 0 }
    }
}

impl Progress {
    /// Reads on for a moment, from where it was last time.
    async fn visit(&mut self, node: &Node, topic: &Topic<u64>) {
        let mut reader = node.bus.resume(topic, self.place);
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(700) {
            sleep(POLL).await;
            self.follow_all(&waiting(&mut reader));
        }
    }

    fn follow_all(&mut self, heard: &[Delivered<u64>]) {
        for heard in heard {
            self.follow(heard);
        }
    }

    fn follow(&mut self, heard: &Delivered<u64>) {
        match heard {
            Delivered::Message { message, position: Some(position), .. } => {
                assert!(*message > self.message && position.epoch == self.place.epoch, "{heard:?} {self:?}");
                let expected = self.place.offset + 1;
                assert!(
                    position.offset == expected || self.is_unsure && position.offset > expected,
                    "{heard:?} {self:?}"
                );
                (self.place, self.message) = (*position, *message);
                self.is_unsure = false;
            }
            Delivered::Missed(Some(count)) => {
                self.place.offset += count;
                self.lost += count;
            }
            // Whoever resumes while the network is away for long.
            Delivered::Missed(None) => {
                self.is_unsure = true;
                self.was_left_unsure += 1;
            }
            other => panic!("{other:?} {self:?}"),
        }
    }
}

async fn rage(proxy: &Proxy, server: &RedisServer, length: Duration) {
    let chance = Chance::seeded(7);
    let began = Instant::now();
    while began.elapsed() < length {
        match chance.number() % 6 {
            0 => proxy.reset(),
            1 => proxy.stall(),
            2 => proxy.half_open(),
            3 => proxy.refuse().await,
            4 => proxy.latency(Duration::from_millis(40)),
            _ => drop(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"])),
        }
        sleep(chance.spread(Duration::from_millis(500), 1.0)).await;
        proxy.pass().await;
        sleep(chance.spread(Duration::from_millis(400), 1.0)).await;
    }
    proxy.pass().await;
}
