//! Commands over a link that is cut in every way we know: what a caller waits, what it is told, and when it is back.
//!
//! Proves `store/redis/{link,lane,cool_off,heartbeat,target}.rs` against real servers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ::redis::{Cmd, cmd};
use tidegate::{
    config::{RedisConfig, Secret},
    model::{Chance, Clock},
    store::{Lane, LinkState, Redis, RedisError, RedisParts},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::harness::{PATIENCE, Proxy, RedisCluster, RedisServer, until};

const DEADLINE: Duration = Duration::from_millis(50);
/// What a busy machine adds to a deadline.
const SLACK: Duration = Duration::from_millis(150);
/// After Redis can be reached again.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// One node of ours.
struct Node {
    redis: Redis,
    stop: CancellationToken,
}

impl Node {
    fn open(url: &str) -> Self {
        Self::open_with(url, |_| {})
    }

    fn open_with(url: &str, change: impl FnOnce(&mut RedisConfig)) -> Self {
        static SEED: AtomicU64 = AtomicU64::new(0);
        let mut config = RedisConfig { url: Some(Secret::from(url)), ..RedisConfig::defaults() };
        change(&mut config);
        let stop = CancellationToken::new();
        let parts = RedisParts {
            clock: Clock::system(),
            chance: Chance::seeded(SEED.fetch_add(1, Ordering::Relaxed)),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        Self { redis: Redis::open(&config, &parts).expect("the address is good"), stop }
    }

    fn open_cluster(cluster: &RedisCluster) -> Self {
        Self::open_with(&cluster.url(), |config| {
            config.cluster = true;
            config.cluster_seeds = cluster.seeds();
        })
    }

    async fn is(&self, state: LinkState) {
        let mut link = self.redis.link();
        timeout(PATIENCE, link.wait_for(|now| *now == state)).await.expect("in time").expect("the link lives");
    }

    fn lane(&self) -> Lane {
        self.redis.lane("test", DEADLINE)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn set(key: &str) -> Cmd {
    cmd("SET").arg(key).arg("value").to_owned()
}

/// Tries one command, and tells how it ended and how long that took.
async fn attempt(lane: &Lane, command: Cmd) -> (Result<(), RedisError>, Duration) {
    let began = Instant::now();
    let answer = lane.run::<::redis::Value>(command).await.map(drop);
    (answer, began.elapsed())
}

/// Waits until a lane is answered, and tells how long that took.
async fn answered_after(lane: &Lane, key: &str) -> Duration {
    let began = Instant::now();
    until("the lane is answered", async || attempt(lane, set(key)).await.0.is_ok()).await;
    began.elapsed()
}

/// What callers who never stop asking go through for a time.
struct Outage {
    calls: u32,
    answered: u32,
    /// Of those that were failed at once.
    unavailable: u32,
    /// Of those that waited for their deadline.
    timed_out: u32,
    longest: Duration,
}

async fn ask_during(lane: &Lane, time: Duration) -> Outage {
    let mut outage = Outage { calls: 0, answered: 0, unavailable: 0, timed_out: 0, longest: Duration::ZERO };
    let began = Instant::now();
    while began.elapsed() < time {
        let (answer, took) = attempt(lane, set("name")).await;
        outage.calls += 1;
        outage.longest = outage.longest.max(took);
        match answer {
            Ok(()) => outage.answered += 1,
            Err(RedisError::Unavailable) => {
                assert!(took < DEADLINE, "nothing was sent, and nothing waited for: {took:?}");
                outage.unavailable += 1;
            }
            Err(RedisError::TimedOut) => outage.timed_out += 1,
            Err(RedisError::Lost(_)) => {}
            Err(error) => panic!("nobody refuses anything here: {error}"),
        }
        sleep(Duration::from_millis(2)).await;
    }
    outage
}

#[tokio::test]
async fn nodes_are_counted_while_they_live() {
    let server = RedisServer::start().await;
    let fast = |config: &mut RedisConfig| config.heartbeat_ms = 100;
    let one = Node::open_with(&server.url(), fast);
    let other = Node::open_with(&server.url(), fast);
    one.is(LinkState::Up).await;
    until("both are counted", async || one.redis.nodes() == 2 && other.redis.nodes() == 2).await;
    assert_ne!(one.redis.node(), other.redis.node());
    drop(other);
    until("the dead are not", async || one.redis.nodes() == 1).await;

    let third = Node::open_with(&server.url(), fast);
    until("it is counted", async || one.redis.nodes() == 2).await;
    server.kill();
    one.is(LinkState::Down).await;
    assert_eq!((one.redis.nodes(), third.redis.nodes()), (2, 2), "the last known number stays");
}

#[tokio::test]
async fn every_way_in_that_is_configured_works() {
    let plain = RedisServer::builder().password("secret").acl("app on >word ~tidegate:* &tidegate:* +@all");
    let plain = plain.start().await;
    let tls = RedisServer::builder().tls().password("secret").start().await;
    let by_user = format!("redis://app:word@127.0.0.1:{}", plain.port());
    let by_database = format!("{}/3", plain.url());
    for (url, authority) in
        [(plain.url(), None), (by_user, None), (by_database, None), (tls.url(), Some(tls.authority()))]
    {
        let node = Node::open_with(&url, |config| config.tls_ca_file = authority);
        node.is(LinkState::Up).await;
        let key = node.redis.key("name");
        assert_eq!(attempt(&node.lane(), set(&key)).await.0, Ok(()), "{url}");
    }
    assert_eq!(plain.cli(&["-n", "3", "GET", "tidegate:name"]), "value");

    // An authority that nobody told us of vouches for nothing.
    let distrustful = Node::open(&tls.url());
    let (answer, _) = attempt(&distrustful.lane(), set("name")).await;
    assert_eq!(answer, Err(RedisError::Unavailable));
    let up = timeout(Duration::from_millis(500), distrustful.is(LinkState::Up)).await;
    assert!(up.is_err(), "the certificate is checked");
}

#[tokio::test]
async fn a_wrong_password_heals_when_the_server_learns_it() {
    let server = RedisServer::builder().acl("app on >old ~* &* +@all").start().await;
    let node = Node::open(&format!("redis://app:new@127.0.0.1:{}", server.port()));
    assert_eq!(attempt(&node.lane(), set("name")).await.0, Err(RedisError::Unavailable));
    assert!(timeout(Duration::from_millis(500), node.is(LinkState::Up)).await.is_err());

    assert_eq!(server.cli(&["ACL", "SETUSER", "app", ">new"]), "OK");
    assert!(answered_after(&node.lane(), "name").await < BACK_WITHIN);

    // Permissions that are taken away are refusals, and the lane goes on asking.
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "-set"]), "OK");
    for _ in 0..10 {
        let (answer, _) = attempt(&node.lane(), set("name")).await;
        assert!(matches!(&answer, Err(RedisError::Refused(why)) if why.contains("permission")), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_run_yet_is_no_error() {
    let server = RedisServer::start().await;
    server.kill();
    let node = Node::open(&server.url());
    let (answer, took) = attempt(&node.lane(), set("name")).await;
    assert_eq!(answer, Err(RedisError::Unavailable));
    assert!(took < DEADLINE, "{took:?}");
    server.restart().await;
    assert!(answered_after(&node.lane(), "name").await < BACK_WITHIN);
}

/// Dead and back after some time.
async fn outage(length: Duration) {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    node.is(LinkState::Up).await;
    let lane = node.lane();
    server.kill();
    let outage = ask_during(&lane, length).await;
    assert_eq!(outage.answered, 0);
    assert!(outage.longest < DEADLINE + SLACK, "{:?}", outage.longest);
    assert!(outage.unavailable * 10 > outage.calls * 9, "{} of {}", outage.unavailable, outage.calls);
    server.restart().await;
    let back = answered_after(&lane, "name").await;
    assert!(back < BACK_WITHIN, "{back:?}");
    node.is(LinkState::Up).await;
}

#[tokio::test]
async fn an_outage_of_three_seconds_ends_when_the_server_is_back() {
    outage(Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_an_outage_of_25_seconds_ends_when_the_server_is_back() {
    outage(Duration::from_secs(25)).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_an_outage_of_60_seconds_ends_when_the_server_is_back() {
    outage(Duration::from_mins(1)).await;
}

/// How Redis can be silent without being gone.
#[derive(Debug, Clone, Copy)]
enum Silence {
    Stall,
    HalfOpen,
    Stopped,
}

async fn silence(how: Silence, length: Duration) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let node = Node::open(&proxy.url());
    node.is(LinkState::Up).await;
    let lane = node.lane();
    assert_eq!(attempt(&lane, set("name")).await.0, Ok(()));
    match how {
        Silence::Stall => proxy.stall(),
        Silence::HalfOpen => proxy.half_open(),
        Silence::Stopped => server.pause(),
    }
    let outage = ask_during(&lane, length).await;
    assert_eq!(outage.answered, 0, "{how:?}");
    assert!(outage.longest < DEADLINE + SLACK, "{how:?}: {:?}", outage.longest);
    // Three to learn it, and a probe every quarter of a second at most.
    let probes = 3 + u32::try_from(length.as_millis() / 250).unwrap();
    assert!((3..=probes).contains(&outage.timed_out), "{how:?}: {} deadlines of {probes}", outage.timed_out);
    assert!(outage.unavailable > outage.timed_out * 5, "{how:?}: {} failed at once", outage.unavailable);
    node.is(LinkState::Down).await;
    match how {
        Silence::Stall | Silence::HalfOpen => proxy.pass().await,
        Silence::Stopped => server.resume(),
    }
    let back = answered_after(&lane, "name").await;
    assert!(back < BACK_WITHIN, "{how:?}: {back:?}");
}

#[tokio::test]
async fn a_silent_redis_costs_three_deadlines_and_then_nothing() {
    let length = Duration::from_secs(3);
    tokio::join!(
        silence(Silence::Stall, length),
        silence(Silence::HalfOpen, length),
        silence(Silence::Stopped, length)
    );
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_a_redis_that_is_silent_for_30_seconds_costs_three_deadlines_and_then_nothing() {
    let length = Duration::from_secs(30);
    tokio::join!(
        silence(Silence::Stall, length),
        silence(Silence::HalfOpen, length),
        silence(Silence::Stopped, length)
    );
}

#[tokio::test]
async fn a_connection_that_is_cut_is_replaced() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let node = Node::open(&proxy.url());
    node.is(LinkState::Up).await;
    let lane = node.lane();
    for _ in 0..3 {
        proxy.reset();
        let back = answered_after(&lane, "name").await;
        assert!(back < BACK_WITHIN, "reset: {back:?}");
    }
    for _ in 0..3 {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        let back = answered_after(&lane, "name").await;
        assert!(back < BACK_WITHIN, "killed: {back:?}");
    }
    proxy.refuse().await;
    node.is(LinkState::Down).await;
    assert_eq!(attempt(&lane, set("name")).await.0, Err(RedisError::Unavailable));
    proxy.pass().await;
    let back = answered_after(&lane, "name").await;
    assert!(back < BACK_WITHIN, "refused: {back:?}");
}

#[tokio::test]
async fn a_slow_redis_is_too_slow_for_those_only_who_cannot_wait() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let node = Node::open(&proxy.url());
    node.is(LinkState::Up).await;
    let (hasty, patient) = (node.lane(), node.redis.lane("patient", Duration::from_millis(500)));
    proxy.latency(DEADLINE);
    for _ in 0..3 {
        assert_eq!(attempt(&hasty, set("name")).await.0, Err(RedisError::TimedOut));
    }
    assert_eq!(attempt(&hasty, set("name")).await.0, Err(RedisError::Unavailable));
    for _ in 0..3 {
        assert_eq!(attempt(&patient, set("name")).await.0, Ok(()));
    }
    assert!(node.redis.is_up(), "slow is not down");
    proxy.latency(Duration::ZERO);
    let back = answered_after(&hasty, "name").await;
    assert!(back < BACK_WITHIN, "{back:?}");
}

#[tokio::test]
async fn a_server_that_makes_its_clients_pause_is_left_alone_meanwhile() {
    let server = RedisServer::start().await;
    let node = Node::open(&server.url());
    node.is(LinkState::Up).await;
    let lane = node.lane();
    assert_eq!(server.cli(&["CLIENT", "PAUSE", "1000", "ALL"]), "OK");
    let outage = ask_during(&lane, Duration::from_millis(700)).await;
    assert!(outage.answered == 0 && outage.timed_out >= 3, "{} answered", outage.answered);
    assert!(outage.longest < DEADLINE + SLACK, "{:?}", outage.longest);
    assert!(outage.unavailable > outage.timed_out, "{} failed at once", outage.unavailable);
    let back = answered_after(&lane, "name").await;
    assert!(back < BACK_WITHIN + Duration::from_millis(300), "{back:?}");
}

#[tokio::test]
async fn a_server_without_memory_refuses_and_is_still_up() {
    let server = RedisServer::builder().arg("--maxmemory", "1").arg("--maxmemory-policy", "noeviction").start().await;
    let node = Node::open(&server.url());
    node.is(LinkState::Up).await;
    let lane = node.lane();
    for _ in 0..10 {
        let (answer, _) = attempt(&lane, set("name")).await;
        assert!(matches!(&answer, Err(RedisError::Refused(why)) if why.contains("OOM")), "{answer:?}");
    }
    let read: Option<String> = lane.run(cmd("GET").arg("name").to_owned()).await.expect("reading needs no memory");
    assert_eq!(read, None);
    assert!(node.redis.is_up());
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    assert_eq!(attempt(&lane, set("name")).await.0, Ok(()));
}

/// A key that each of the nodes serves.
fn keys_by_node(cluster: &RedisCluster) -> Vec<String> {
    let mut keys = vec![None; 3];
    for number in 0.. {
        let key = format!("name{number}");
        keys[cluster.owner(cluster.slot(&key))].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    keys.into_iter().flatten().collect()
}

/// How one of three masters goes away.
#[derive(Debug, Clone, Copy)]
enum Gone {
    Killed,
    Stopped,
}

/// Takes away the master that keeps the heartbeats, which is the worst to lose.
async fn one_master_gone(how: Gone) {
    let cluster = RedisCluster::start().await;
    let node = Node::open_cluster(&cluster);
    node.is(LinkState::Up).await;
    assert!(node.redis.is_cluster());
    let (lane, mut keys) = (node.lane(), keys_by_node(&cluster));
    for key in &keys {
        assert_eq!(attempt(&lane, set(key)).await.0, Ok(()), "{key}");
    }
    let place = cluster.owner(cluster.slot(&node.redis.key("nodes")));
    let (gone, lost) = (&cluster.nodes()[place], keys.remove(place));
    match how {
        Gone::Killed => gone.kill(),
        Gone::Stopped => gone.pause(),
    }
    let (mut failed, mut at_once, mut live_failures) = (0, 0, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let (answer, took) = attempt(&lane, set(&lost)).await;
        assert!(answer.is_err() && took < DEADLINE + SLACK, "{how:?}: {answer:?} after {took:?}");
        failed += 1;
        at_once += u32::from(answer == Err(RedisError::Unavailable));
        for key in &keys {
            live_failures += u32::from(attempt(&lane, set(key)).await.0.is_err());
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(at_once * 10 > failed * 7, "{how:?}: {at_once} of {failed} at once");
    // One in a hundred may be the machine's: deadlines are short here, and other tests run.
    assert!(live_failures * 50 <= failed, "{how:?}: {live_failures} of {} on the living masters", failed * 2);
    assert!(node.redis.is_up(), "{how:?}: two of three are a cluster");

    match how {
        Gone::Killed => gone.restart().await,
        Gone::Stopped => gone.resume(),
    }
    cluster.settled().await;
    let back = answered_after(&lane, &lost).await;
    assert!(back < BACK_WITHIN, "{how:?}: {back:?}");
}

#[tokio::test]
async fn one_dead_master_of_a_cluster_takes_only_its_slots_with_it() {
    one_master_gone(Gone::Killed).await;
}

#[tokio::test]
async fn one_silent_master_of_a_cluster_takes_only_its_slots_with_it() {
    one_master_gone(Gone::Stopped).await;
}

/// Callers who never stop asking for keys of one slot: how many commands were answered, and how many not.
async fn increment_until(stop: CancellationToken, lane: Lane, keys: Vec<String>) -> (u64, u64) {
    let (mut answered, mut failed) = (0, 0);
    while !stop.is_cancelled() {
        let commands = keys.iter().map(|key| cmd("INCR").arg(key).to_owned()).collect();
        for answer in lane.run_many::<u64>(commands).await {
            match answer {
                Ok(_) => answered += 1,
                Err(_) => failed += 1,
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    (answered, failed)
}

// The load goes on while the test waits for `redis-cli`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_takes_its_callers_along() {
    let cluster = RedisCluster::start().await;
    let node = Node::open_cluster(&cluster);
    node.is(LinkState::Up).await;
    let lane = node.redis.lane("test", Duration::from_millis(250));
    let slot = cluster.slot("{tag}");
    let keys: Vec<String> = (0..50).map(|number| format!("{{tag}}{number}")).collect();
    let stop = CancellationToken::new();
    let load = tokio::spawn(increment_until(stop.clone(), lane.clone(), keys.clone()));
    for _ in 0..3 {
        let from = cluster.owner(slot);
        cluster.migrate(slot, from, (from + 1) % 3).await;
        let back = answered_after(&lane, "{tag}").await;
        assert!(back < DEADLINE, "{back:?}");
    }
    stop.cancel();
    let (answered, failed) = timeout(PATIENCE, load).await.expect("in time").expect("the load ends");
    assert_eq!(failed, 0, "of {answered} commands");
    let mut counted = 0;
    for key in &keys {
        counted += lane.run::<u64>(cmd("GET").arg(key).to_owned()).await.expect("it was counted");
    }
    assert_eq!(counted, answered, "each once");
}

async fn cluster_outage(length: Duration) {
    let cluster = RedisCluster::start().await;
    let node = Node::open_cluster(&cluster);
    node.is(LinkState::Up).await;
    let (lane, keys) = (node.lane(), keys_by_node(&cluster));
    cluster.nodes().iter().for_each(RedisServer::kill);
    let outage = ask_during(&lane, length).await;
    assert!(outage.answered == 0 && outage.longest < DEADLINE + SLACK, "{:?}", outage.longest);
    node.is(LinkState::Down).await;
    for node in cluster.nodes() {
        node.restart().await;
    }
    cluster.settled().await;
    for key in &keys {
        let back = answered_after(&lane, key).await;
        assert!(back < BACK_WITHIN, "{key}: {back:?}");
    }
    node.is(LinkState::Up).await;
}

#[tokio::test]
async fn a_whole_cluster_may_die_and_come_back() {
    cluster_outage(Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "make soak"]
async fn soak_a_whole_cluster_may_be_dead_for_60_seconds_and_come_back() {
    cluster_outage(Duration::from_mins(1)).await;
}
