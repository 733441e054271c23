//! Limits over a healthy Redis: what one process promises, several promise together.

use std::{sync::Arc, time::Duration};

use tidegate::{
    config::{LimitOverride, LimitsConfig},
    limits::{Decision, Demand, Limiter},
    model::Clock,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    harness::{RedisCluster, RedisServer},
    limits_node::{AGES, Node, caller, demand, is_allowed, remaining, wait},
};

/// Demands, and what they are answered: whether they are admitted, what is left, and the wait in tokens of the policies,
/// which take 1,000 seconds each, or in windows where no wait would help.
type Case = (Vec<Demand>, bool, Vec<u32>, u64);

/// One token a thousand seconds.
fn of(name: &str, limit: u32, cost: u32) -> Demand {
    demand(name, limit, Duration::from_secs(1_000) * limit.max(1), cost)
}

fn cases() -> Vec<Case> {
    let (a, b) = (|cost| of("a", 10, cost), |cost| of("b", 3, cost));
    vec![
        (vec![], true, vec![], 0),
        (vec![a(0)], true, vec![10], 0),
        (vec![a(1)], true, vec![9], 0),
        (vec![a(4), a(2)], true, vec![3], 0),
        (vec![a(4)], false, vec![3], 1),
        (vec![a(2), b(2)], true, vec![1, 1], 0),
        // Nothing is charged where one of several cannot pay.
        (vec![a(1), b(2)], false, vec![1, 1], 1),
        (vec![a(5), b(3)], false, vec![1, 1], 4),
        (vec![b(1), a(1)], true, vec![0, 0], 0),
        (vec![a(0), b(0)], true, vec![0, 0], 0),
        (vec![a(10)], false, vec![0], 10),
        // More than the limit waits for a window and never fits, spent or not.
        (vec![a(11)], false, vec![0], 10),
        (vec![of("c", 5, 6)], false, vec![5], 5),
        (vec![of("closed", 0, 1)], false, vec![0], 1),
        (vec![of("closed", 0, 0)], true, vec![0], 0),
        (vec![demand("open", 3, Duration::ZERO, 3)], true, vec![3], 0),
        // The same name with another limit is another account.
        (vec![of("a", 2, 1)], true, vec![1], 0),
        (vec![of("replaced", 100, 3)], false, vec![2], 1_000),
    ]
}

fn limits() -> LimitsConfig {
    let to = LimitOverride { policy: "replaced".into(), limit: 2, window_seconds: 1_000_000 };
    LimitsConfig { overrides: vec![to], redis_deadline_ms: 1_000, ..LimitsConfig::defaults() }
}

async fn hold(limiter: &Limiter) {
    let began = Instant::now();
    for (number, (demands, admitted, left, tokens)) in cases().into_iter().enumerate() {
        let decision = limiter.check(&caller(1), &demands).await;
        assert_eq!((is_allowed(&decision), remaining(&decision)), (admitted, left), "case {number}: {decision:?}");
        let (told, exact) = (wait(&decision), Duration::from_secs(1_000) * u32::try_from(tokens).unwrap());
        assert!(told <= exact && told + began.elapsed() >= exact, "case {number}: {told:?} of {exact:?}");
    }
    // Others begin with everything.
    let decision = limiter.check(&caller(2), &[of("a", 10, 10), of("b", 3, 3)]).await;
    assert!(is_allowed(&decision));
}

#[tokio::test]
async fn the_same_cases_hold_within_a_process_and_over_redis() {
    hold(&Limiter::new(Clock::system(), &limits())).await;
    let redis = RedisServer::start().await;
    hold(&Node::new(&redis.url(), false, &limits()).sees(1).await.limiter).await;
    assert_ne!(redis.cli(&["DBSIZE"]), "0", "it was Redis that decided");
}

#[tokio::test]
async fn two_nodes_admit_the_limit_and_not_one_more() {
    let redis = RedisServer::start().await;
    admit_exactly_the_limit(&redis.url(), false).await;
}

#[tokio::test]
async fn in_a_cluster_the_accounts_of_a_check_share_a_slot() {
    let cluster = RedisCluster::start().await;
    admit_exactly_the_limit(&cluster.url(), true).await;
    let used = cluster.nodes().iter().filter(|node| node.cli(&["DBSIZE"]) != "0").count();
    assert!(used > 1, "callers are spread over the masters");
}

/// Ten callers, each with two accounts in every check, half of the tries at each of two nodes.
async fn admit_exactly_the_limit(url: &str, cluster: bool) {
    let node = async || Node::new(url, cluster, &limits()).sees(2).await;
    let (one, other) = tokio::join!(node(), node());
    let mut tries = JoinSet::new();
    for number in 0..1_000_u32 {
        let limiter = if number % 2 == 0 { one.limiter.clone() } else { other.limiter.clone() };
        let demands = [demand("wide", 1_000, AGES, 1), demand("narrow", 30, AGES, 1)];
        let who = (number / 2) % 10;
        tries.spawn(async move { (who, is_allowed(&limiter.check(&caller(who), &demands).await)) });
    }
    let mut admitted = [0; 10];
    for (who, ok) in tries.join_all().await {
        admitted[who as usize] += i32::from(ok);
    }
    assert_eq!(admitted, [30; 10]);
    for who in 0..10 {
        let left = |node: &Node| {
            let limiter = node.limiter.clone();
            async move { remaining(&limiter.check(&caller(who), &[demand("wide", 1_000, AGES, 0)]).await) }
        };
        assert_eq!((left(&one).await, left(&other).await), (vec![970], vec![970]), "refusals cost nothing");
    }
}

#[tokio::test]
async fn whoever_waits_as_told_is_admitted_and_refused_until_then_without_redis() {
    let redis = RedisServer::start().await;
    let node = Node::patient(&redis.url()).sees(1).await;
    let wanted = [demand("field", 4, Duration::from_secs(4), 2)];
    assert_eq!(node.admitted(&caller(1), &wanted, 2).await, 2);
    let told = wait(&node.limiter.check(&caller(1), &wanted).await);
    let until = Instant::now() + told;
    let calls = || {
        let stats = redis.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap().to_owned();
        line.split(['=', ',']).nth(1).unwrap().parse::<u32>().unwrap()
    };
    let before = calls();
    let flood = node.admitted(&caller(1), &wanted, 10_000).await;
    if Instant::now() < until {
        assert_eq!(flood, 0);
        // A heartbeat is a script as well.
        assert!(calls() - before < 1_000, "a flood stays away from Redis");
    }
    sleep(until - Instant::now()).await;
    let then = node.limiter.check(&caller(1), &wanted).await;
    assert!(flood > 0 || is_allowed(&then), "{then:?}");
}

#[tokio::test]
async fn a_block_on_one_node_refuses_nobody_whom_another_would_admit() {
    let redis = RedisServer::start().await;
    let node = async || Node::patient(&redis.url()).sees(2).await;
    let (one, other) = tokio::join!(node(), node());
    // Two tokens a second come back while both nodes ask without a pause.
    let wanted: Arc<[Demand]> = [demand("field", 20, Duration::from_secs(1), 1)].into();
    let end = Instant::now() + Duration::from_secs(2);
    let mut tries = JoinSet::new();
    for limiter in [one.limiter.clone(), other.limiter.clone()] {
        let wanted = Arc::clone(&wanted);
        tries.spawn(async move {
            let mut admitted = 0;
            while Instant::now() < end {
                admitted += u32::from(is_allowed(&limiter.check(&caller(1), &wanted).await));
                tokio::task::yield_now().await;
            }
            admitted
        });
    }
    let admitted: u32 = tries.join_all().await.into_iter().sum();
    // 20 at once and 20 a second; what is late by a scheduling delay is not lost.
    assert!((58..=61).contains(&admitted), "{admitted} of 60");
}

#[tokio::test]
async fn what_is_kept_names_nobody_and_ends_with_the_debt() {
    let redis = RedisServer::start().await;
    let node = Node::patient(&redis.url()).sees(1).await;
    let policy = demand("Query.secret", 2, Duration::from_secs(1), 2);
    assert!(is_allowed(&node.limiter.check(&caller(1), &[policy]).await));
    let keys = redis.cli(&["KEYS", "tidegate:limits:*"]);
    let (head, tail) = keys.split_once("}:").unwrap();
    assert_eq!((head.len(), tail.len()), ("tidegate:limits:{".len() + 16, 16), "{keys}");
    let lives: u64 = redis.cli(&["PTTL", &keys]).parse().unwrap();
    assert!(lives <= 1_001, "{lives}");
}

#[tokio::test]
async fn decisions_of_both_backends_have_the_same_shape() {
    let redis = RedisServer::start().await;
    let node = Node::patient(&redis.url()).sees(1).await;
    let local = Limiter::new(Clock::system(), &LimitsConfig::defaults());
    let demands = [demand("a", 5, AGES, 5), demand("b", 7, AGES * 2, 8)];
    let (there, here) = (node.limiter.check(&caller(1), &demands).await, local.check(&caller(1), &demands).await);
    assert!(matches!(here, Decision::Refused { .. }));
    assert_eq!(there, here);
}
