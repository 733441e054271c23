//! Limits while Redis is dead, deaf, full or forgetful: nobody waits, nobody is reset.

#![expect(clippy::print_stdout, reason = "the figures of an outage are worth reading")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use tidegate::config::{LimitsConfig, OnOutage};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    harness::RedisServer,
    limits_node::{AGES, Node, caller, demand, eventually, is_allowed, wait},
};

const SECOND: Duration = Duration::from_secs(1);

async fn two_nodes(redis: &RedisServer) -> (Node, Node) {
    let node = async || Node::new(&redis.url(), false, &LimitsConfig::defaults()).sees(2).await;
    tokio::join!(node(), node())
}

async fn two_patient_nodes(redis: &RedisServer) -> (Node, Node) {
    let node = async || Node::patient(&redis.url()).sees(2).await;
    tokio::join!(node(), node())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_costs_nobody_time_and_lets_nobody_in_twice() {
    let redis = RedisServer::start().await;
    let told = under_load(&redis, || redis.kill()).await;
    redis.restart().await;
    told.and_after_the_outage().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_never_answers_costs_nobody_time_and_lets_nobody_in_twice() {
    let redis = RedisServer::start().await;
    let told = under_load(&redis, || redis.pause()).await;
    redis.resume();
    told.and_after_the_outage().await;
}

/// Callers of two nodes, each of whom wants more than they may.
struct Load {
    nodes: Arc<(Node, Node)>,
    admitted: Arc<[AtomicU32; CALLERS]>,
}

const CALLERS: usize = 40;
const LIMIT: u32 = 100;

/// One caller who never comes to their limit: every decision is a question to Redis.
const QUIET: u32 = 1_000_000;

/// Load in two phases: with Redis, and after the fault. Half of every limit is used in the first.
async fn under_load(redis: &RedisServer, fault: impl FnOnce()) -> Load {
    let load = Load {
        nodes: Arc::new(two_nodes(redis).await),
        admitted: Arc::new(std::array::from_fn(|_| AtomicU32::new(0))),
    };
    let phase = Arc::new(AtomicU8::new(0));
    let mut asking = JoinSet::new();
    for worker in 0..8_u32 {
        let (nodes, phase) = (Arc::clone(&load.nodes), Arc::clone(&phase));
        asking.spawn(async move {
            let node = if worker % 2 == 0 { &nodes.0 } else { &nodes.1 };
            let mut took = [Vec::new(), Vec::new()];
            loop {
                let now = phase.load(Ordering::Relaxed);
                let Some(took) = took.get_mut(usize::from(now)) else { return took };
                let began = Instant::now();
                let quiet = [demand("quiet", u32::MAX, SECOND, 1)];
                assert!(is_allowed(&node.limiter.check(&caller(QUIET + worker), &quiet).await));
                took.push(began.elapsed());
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
    sleep(SECOND).await;
    load.wanting(LIMIT / 2).await;
    fault();
    phase.store(1, Ordering::Relaxed);
    load.wanting(LIMIT).await;
    sleep(2 * SECOND).await;
    phase.store(2, Ordering::Relaxed);
    let workers = asking.join_all().await;
    let [healthy, outage] = [0, 1].map(|phase| {
        let mut took: Vec<Duration> = workers.iter().flat_map(|took| took[phase].iter().copied()).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    });
    println!("p99 of a decision: {healthy:?} with redis, {outage:?} after the fault");
    assert!(outage <= healthy + Duration::from_millis(20), "p99 of {outage:?}, and {healthy:?} before");
    load
}

impl Load {
    /// Every caller asks so many times, at both nodes in turn, as a balancer would have it.
    async fn wanting(&self, times: u32) {
        let mut asking = JoinSet::new();
        for who in 0..CALLERS {
            let (nodes, admitted) = (Arc::clone(&self.nodes), Arc::clone(&self.admitted));
            asking.spawn(async move {
                let wanted = [demand("field", LIMIT, AGES, 1)];
                for time in 0..times {
                    let node = if time % 2 == 0 { &nodes.0 } else { &nodes.1 };
                    let decision = node.limiter.check(&caller(u32::try_from(who).unwrap()), &wanted).await;
                    admitted[who].fetch_add(u32::from(is_allowed(&decision)), Ordering::Relaxed);
                }
            });
        }
        asking.join_all().await;
    }

    async fn and_after_the_outage(self) {
        tokio::join!(self.nodes.0.is_up(true), self.nodes.1.is_up(true));
        self.wanting(LIMIT).await;
        let admitted: Vec<u32> = self.admitted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let most = admitted.iter().max().unwrap();
        assert!(*most <= LIMIT * 11 / 10, "{most} of {LIMIT}: {admitted:?}");
        println!("at most {most} of {LIMIT} were admitted");
        // And the outage did not close the door: nearly all of what was promised was given.
        let given: u32 = admitted.iter().sum();
        assert!(given >= LIMIT * u32::try_from(CALLERS).unwrap() * 8 / 10, "{given}: {admitted:?}");
    }
}

#[tokio::test]
async fn a_redis_without_memory_of_anybody_resets_nobody() {
    let redis = RedisServer::start().await;
    let (one, other) = two_patient_nodes(&redis).await;
    let wanted = [demand("field", 100, AGES, 1)];
    let in_turn = async |rounds: u32| {
        let mut admitted = 0;
        for _ in 0..rounds {
            admitted += one.admitted(&caller(1), &wanted, 1).await + other.admitted(&caller(1), &wanted, 1).await;
        }
        admitted
    };
    let mut admitted = in_turn(30).await;
    assert_eq!(admitted, 60);
    redis.cli(&["FLUSHALL"]);
    admitted += in_turn(10).await;
    redis.restart().await;
    // Some are decided before the link is back, and others after.
    admitted += in_turn(60).await;
    tokio::join!(one.is_up(true), other.is_up(true));
    admitted += in_turn(60).await;
    // Each node may have missed the last decision of the other, twice.
    assert!((95..=104).contains(&admitted), "{admitted} of 100");
}

#[tokio::test]
async fn what_a_node_decided_alone_is_told_to_the_others_unasked() {
    let redis = RedisServer::start().await;
    let (one, other) = two_patient_nodes(&redis).await;
    let wanted = [demand("field", 100, AGES, 1)];
    assert!(is_allowed(&one.limiter.check(&caller(1), &wanted).await));
    redis.kill();
    one.is_up(false).await;
    // The share of one of two.
    assert_eq!(one.admitted(&caller(1), &wanted, 100).await, 49);
    redis.restart().await;
    tokio::join!(one.is_up(true), other.is_up(true));
    // Any decision that is shared again is the occasion.
    eventually(async || {
        one.limiter.check(&caller(2), &wanted).await;
        other.left(&caller(1), &wanted[0]).await <= 1
    })
    .await;
}

#[tokio::test]
async fn a_share_that_is_smaller_than_one_demand_still_admits_it_once() {
    let redis = RedisServer::start().await;
    let (one, _other) = two_patient_nodes(&redis).await;
    redis.kill();
    one.is_up(false).await;
    assert_eq!(one.admitted(&caller(1), &[demand("all", 100, AGES, 100)], 3).await, 1);
    assert_eq!(one.admitted(&caller(1), &[demand("rare", 1, AGES, 1)], 3).await, 1);
    assert_eq!(one.admitted(&caller(1), &[demand("never", 1, AGES, 2)], 3).await, 0);
}

#[tokio::test]
async fn every_limit_says_what_it_does_in_an_outage() {
    let redis = RedisServer::start().await;
    redis.kill();
    let overrides = vec!["login=closed".parse().unwrap(), "chart=open".parse().unwrap()];
    let config = LimitsConfig { on_outage_overrides: overrides, ..LimitsConfig::defaults() };
    let node = Node::new(&redis.url(), false, &config);
    let of = |name: &str| demand(name, 10, AGES, 1);
    assert_eq!(node.admitted(&caller(1), &[of("chart")], 100).await, 100);
    assert_eq!(node.admitted(&caller(1), &[of("price")], 100).await, 10);
    assert_eq!(node.admitted(&caller(1), &[of("login")], 100).await, 0);
    assert_eq!(wait(&node.limiter.check(&caller(1), &[of("login")]).await), SECOND);
    // The strictest of several decides, and charges nothing.
    assert!(!is_allowed(&node.limiter.check(&caller(2), &[of("price"), of("login")]).await));
    assert_eq!(node.left(&caller(2), &of("price")).await, 10);
    assert_eq!(LimitsConfig::defaults().on_outage, OnOutage::Local);
}

#[tokio::test]
async fn a_full_redis_leaves_decisions_to_the_nodes_and_hears_of_them_when_there_is_room() {
    let redis = RedisServer::builder().arg("--maxmemory-policy", "noeviction").start().await;
    let node = Node::patient(&redis.url()).sees(1).await;
    let wanted = [demand("field", 100, AGES, 1)];
    assert_eq!(node.admitted(&caller(1), &wanted, 10).await, 10);
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(node.admitted(&caller(1), &wanted, 30).await, 30);
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let fresh = Node::patient(&redis.url()).sees(2).await;
    eventually(async || {
        node.limiter.check(&caller(2), &wanted).await;
        fresh.left(&caller(1), &wanted[0]).await <= 60
    })
    .await;
    assert_eq!(fresh.admitted(&caller(1), &wanted, 100).await, 60);
}
