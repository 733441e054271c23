//! Two nodes over one Redis: what one has loaded the other finds, what one removes the other forgets, and nothing that
//! happens to Redis keeps a caller waiting.
//!
//! Proves `cache/shared/` against real servers; the interleavings beside the code prove that nothing comes back.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tidegate::{
    cache::{Cache, CacheSettings, CacheValue, Hit, LoadLost, Loaded, Lookup, Tag, Tags},
    config::{CacheConfig, RedisConfig, Secret},
    model::{Chance, Clock},
    store::{Redis, RedisParts},
};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::harness::{Proxy, RedisCluster, RedisServer, until};

const FRESH: Duration = Duration::from_mins(5);
const STALE: Duration = Duration::from_mins(5);

#[derive(Debug, Clone, PartialEq)]
struct Text(String);

impl CacheValue for Text {
    const SCHEMA: Option<u16> = Some(1);

    fn weight(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }

    fn encode(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        String::from_utf8(bytes.to_vec()).ok().map(Self)
    }
}

type Texts = Cache<Arc<str>, Text, LoadLost>;

/// One node of ours.
struct Node {
    tags: Tags,
    texts: Texts,
    stop: CancellationToken,
}

impl Node {
    fn open(url: &str) -> Self {
        Self::open_with(&RedisConfig { url: Some(Secret::from(url)), ..RedisConfig::defaults() }, |_| {})
    }

    fn open_with(config: &RedisConfig, change: impl FnOnce(&mut CacheConfig)) -> Self {
        static SEED: AtomicU64 = AtomicU64::new(1_000_000);
        let mut cached = CacheConfig::defaults();
        // A busy machine must not turn a hit into a miss.
        cached.redis_deadline_ms = 1_000;
        change(&mut cached);
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let (clock, stop) = (Clock::system(), CancellationToken::new());
        let parts = RedisParts {
            clock: clock.clone(),
            chance: Chance::seeded(seed),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        let redis = Redis::open(config, &parts).unwrap();
        let tags = Tags::shared_by(&redis, &cached, &parts);
        let texts = Cache::new("texts", CacheSettings::from(&cached), &tags, clock, parts.chance);
        Self { tags, texts, stop }
    }

    async fn put(&self, key: &str, text: &str, tags: &[&str]) {
        let tags = tags.iter().map(|tag| Tag((*tag).into())).collect();
        let loaded = Loaded::Found { value: Text(text.to_owned()), fresh_for: FRESH, stale_for: STALE, tags };
        self.texts.put(self.texts.begin(), &key.into(), loaded).await;
    }

    /// What is found without loading.
    async fn find(&self, key: &str) -> Option<Hit<Text>> {
        match self.texts.get(&key.into(), async |_| Err(LoadLost::Unanswered)).await {
            Ok(Lookup::Found(hit)) => Some(hit),
            Ok(Lookup::Missing) | Err(_) => None,
        }
    }

    async fn has(&self, key: &str, text: &str) -> bool {
        self.find(key).await.is_some_and(|hit| hit.value.0 == text)
    }

    fn keeps(&self, key: &str) -> bool {
        self.texts.last_known(&key.into()).is_some()
    }

    /// Loads, and counts that.
    async fn load(&self, key: &str, loads: &Arc<AtomicUsize>, takes: Duration) -> Option<String> {
        let loads = Arc::clone(loads);
        let load = async move |_| {
            loads.fetch_add(1, Ordering::SeqCst);
            sleep(takes).await;
            Ok(Loaded::found(Text("loaded".to_owned()), FRESH, STALE))
        };
        self.texts.get(&key.into(), load).await.ok().and_then(Lookup::hit).map(|hit| hit.value.0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Two nodes that have found each other.
async fn pair(one: Node, two: Node) -> (Node, Node) {
    meet(&one, &two).await;
    (one, two)
}

/// Waits until each finds what the other keeps.
async fn meet(one: &Node, two: &Node) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    for (from, to) in [(one, two), (two, one)] {
        until("the nodes share values", async || {
            let key = format!("meeting-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            from.put(&key, "hello", &[]).await;
            to.has(&key, "hello").await
        })
        .await;
    }
}

async fn two_nodes(redis: &RedisServer) -> (Node, Node) {
    pair(Node::open(&redis.url()), Node::open(&redis.url())).await
}

#[tokio::test]
async fn what_one_node_has_loaded_the_other_finds_with_the_same_times() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    let loads = Arc::default();
    assert_eq!(one.load("a", &loads, Duration::ZERO).await.as_deref(), Some("loaded"));
    until("the flight has written", async || two.has("a", "loaded").await).await;
    let (here, there) = (one.find("a").await.unwrap(), two.find("a").await.unwrap());
    assert_eq!(here, there);
    assert!(two.keeps("a"), "and keeps it");
    assert_eq!(two.load("a", &loads, Duration::ZERO).await.as_deref(), Some("loaded"));
    assert_eq!(loads.load(Ordering::SeqCst), 1);

    let large = "large ".repeat(100_000);
    one.put("large", &large, &[]).await;
    assert!(two.has("large", &large).await);
    let kept: usize = redis.cli(&["STRLEN", "tidegate:cache:texts:large"]).parse().unwrap();
    assert!(kept < large.len() / 50, "{kept} bytes");
    one.texts.put(one.texts.begin(), &"none".into(), Loaded::Missing).await;
    let asked = two.texts.get(&"none".into(), async |_| Err(LoadLost::Unanswered)).await;
    assert_eq!(asked, Ok(Lookup::Missing), "that there is none is shared too");
}

#[tokio::test]
async fn what_one_node_removes_the_other_forgets() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    for way in 0..4 {
        let [a, b] = ["a", "b"].map(|key| format!("{key}-{way}"));
        for key in [&a, &b] {
            one.put(key, "old", &["group"]).await;
            assert!(two.has(key, "old").await && two.keeps(key), "way {way}");
        }
        match way {
            0 => one.texts.invalidate(&a.as_str().into()).await,
            1 => one.tags.invalidate_key("texts", &a).await.unwrap(),
            2 => one.tags.invalidate(&[Tag("other".into()), Tag("group".into())]).await,
            _ => one.texts.clear().await,
        }
        assert!(one.find(&a).await.is_none(), "way {way}");
        until("the other forgets", async || !two.keeps(&a)).await;
        assert!(two.find(&a).await.is_none(), "nor is it in Redis, way {way}");
        assert_eq!((one.keeps(&b), two.keeps(&b)), (way < 2, way < 2), "way {way}");
        two.put(&a, "new", &["group"]).await;
        until("the new value is found", async || one.has(&a, "new").await).await;
    }
    let unknown = one.tags.invalidate_key("nothing", "a").await.unwrap_err();
    assert_eq!(unknown.known, ["texts"]);
}

#[tokio::test]
async fn a_load_that_was_overtaken_leaves_nothing_behind() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    let ticket = two.texts.begin();
    one.texts.invalidate(&"a".into()).await;
    two.texts.put(ticket, &"a".into(), Loaded::found(Text("late".to_owned()), FRESH, STALE)).await;
    assert!(one.find("a").await.is_none());
    until("it is forgotten where it was loaded", async || !two.keeps("a")).await;
    assert!(two.find("a").await.is_none());
    let name = "tidegate:cache:texts:a";
    assert_eq!(redis.cli(&["EXISTS", name]), "1", "a tombstone");
    let left: u64 = redis.cli(&["PTTL", name]).parse().unwrap();
    assert!((1..=20_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn what_another_version_wrote_is_a_miss_and_goes() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    let name = "tidegate:cache:texts:a";
    for wrong in ["\x09 another format", "", "\x01"] {
        redis.cli(&["SET", name, wrong]);
        assert!(one.find("a").await.is_none(), "{wrong:?}");
        assert_eq!(redis.cli(&["EXISTS", name]), "0", "{wrong:?}");
        redis.cli(&["SET", name, wrong]);
        one.put("a", "ours", &[]).await;
        until("ours replaces it", async || two.has("a", "ours").await).await;
        one.texts.invalidate(&"a".into()).await;
        until("the other forgets", async || !two.keeps("a")).await;
    }
}

#[tokio::test]
async fn a_redis_that_has_forgotten_everything_brings_nothing_back() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    one.put("a", "old", &[]).await;
    assert!(two.has("a", "old").await);
    redis.cli(&["FLUSHALL"]);
    one.texts.invalidate(&"a".into()).await;
    assert!(one.find("a").await.is_none());
    until("the other forgets", async || !two.keeps("a")).await;
    meet(&one, &two).await;
    assert!(one.find("a").await.is_none() && two.find("a").await.is_none());
}

#[tokio::test]
async fn what_is_removed_while_the_others_are_deaf_is_made_up_for() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    one.put("a", "old", &[]).await;
    assert!(two.has("a", "old").await);
    redis.cli(&["CLIENT", "KILL", "TYPE", "PUBSUB"]);
    one.texts.invalidate(&"a".into()).await;
    let began = Instant::now();
    until("the other forgets", async || !two.keeps("a")).await;
    assert!(began.elapsed() < Duration::from_secs(4), "after {:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_removed_without_redis_is_told_later() {
    let redis = RedisServer::start().await;
    let way = Proxy::start(redis.port()).await;
    let (one, two) = pair(Node::open(&way.url()), Node::open(&redis.url())).await;
    one.put("a", "old", &[]).await;
    assert!(two.has("a", "old").await);
    way.refuse().await;
    one.texts.invalidate(&"a".into()).await;
    assert!(one.find("a").await.is_none(), "here it is gone at once");
    way.pass().await;
    until("the other is told", async || !two.keeps("a")).await;
    meet(&one, &two).await;
    assert!(one.find("a").await.is_none() && two.find("a").await.is_none());
}

#[tokio::test]
async fn a_redis_that_never_answers_is_left_alone() {
    const CALLS: u32 = 60;
    let redis = RedisServer::start().await;
    let way = Proxy::start(redis.port()).await;
    let config = RedisConfig { url: Some(Secret::from(way.url().as_str())), ..RedisConfig::defaults() };
    let slow = |config: &mut CacheConfig| {
        config.redis_deadline_ms = 200;
        config.shared_flight_ms = 0;
    };
    let (one, two) = pair(Node::open_with(&config, slow), Node::open(&redis.url())).await;
    way.stall();
    let (began, loads) = (Instant::now(), Arc::default());
    for number in 0..CALLS {
        assert_eq!(one.load(&format!("key-{number}"), &loads, Duration::ZERO).await.as_deref(), Some("loaded"));
    }
    let took = began.elapsed();
    assert_eq!(loads.load(Ordering::SeqCst), CALLS as usize);
    assert!(took < Duration::from_millis(200) * CALLS / 3, "{took:?} for {CALLS} calls: they still ask");
    way.pass().await;
    meet(&one, &two).await;
}

#[tokio::test]
async fn a_stampede_over_two_nodes_is_one_load() {
    const CALLERS: usize = 5_000;
    let redis = RedisServer::start().await;
    let patient = |config: &mut CacheConfig| config.shared_flight_ms = 10_000;
    let open = || {
        let config = RedisConfig { url: Some(Secret::from(redis.url().as_str())), ..RedisConfig::defaults() };
        Node::open_with(&config, patient)
    };
    let (one, two) = pair(open(), open()).await;
    let loads = Arc::default();
    let callers = (0..2 * CALLERS).map(|caller| {
        let node = if caller % 2 == 0 { &one } else { &two };
        node.load("a", &loads, Duration::from_millis(200))
    });
    let answers = join_all(callers).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Some("loaded")));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_batch_asks_redis_once_for_what_it_lacks() {
    let redis = RedisServer::start().await;
    let (one, two) = two_nodes(&redis).await;
    for key in ["a", "b"] {
        one.put(key, "shared", &[]).await;
    }
    two.put("c", "own", &[]).await;
    let keys: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Into::into).into();
    let load = async |keys: Vec<Arc<str>>| {
        keys.into_iter().map(|key| (key, Ok(Loaded::found(Text("loaded".to_owned()), FRESH, STALE)))).collect()
    };
    let answers: HashMap<_, _> = two.texts.get_many(&keys, load).await;
    let text = |key: &str| answers[key].clone().unwrap().hit().unwrap().value.0;
    assert_eq!(["a", "b", "c", "d"].map(text), ["shared", "shared", "own", "loaded"]);
}

#[tokio::test]
async fn a_cluster_shares_as_one_server_does() {
    let cluster = RedisCluster::start().await;
    let open = || {
        let config = RedisConfig {
            url: Some(Secret::from(cluster.url().as_str())),
            cluster: true,
            cluster_seeds: cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect(),
            ..RedisConfig::defaults()
        };
        Node::open_with(&config, |_| {})
    };
    let (one, two) = pair(open(), open()).await;
    let keys: Vec<String> = (0..20).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        one.put(key, "old", &["group"]).await;
    }
    for key in &keys {
        assert!(two.has(key, "old").await, "{key}");
    }
    one.tags.invalidate(&[Tag("group".into())]).await;
    until("the other forgets", async || keys.iter().all(|key| !two.keeps(key))).await;
    for key in &keys {
        assert!(two.find(key).await.is_none(), "{key}");
    }
}

#[tokio::test]
async fn a_node_that_hears_nothing_does_not_trust_its_memory_for_long() {
    let redis = RedisServer::start().await;
    let (one, _two) = two_nodes(&redis).await;
    one.put("a", "old", &[]).await;
    redis.kill();
    let began = Instant::now();
    until("it is not fresh any more", async || one.texts.peek(&"a".into()).is_none()).await;
    assert!(began.elapsed() < Duration::from_secs(6), "after {:?}", began.elapsed());
    let (loads, key) = (Arc::default(), "a");
    assert!(one.find(key).await.unwrap().stale, "a failing load is still answered with it");
    one.texts.invalidate(&key.into()).await;
    assert_eq!(
        one.load(key, &loads, Duration::ZERO).await.as_deref(),
        Some("loaded"),
        "and what is removed is removed"
    );
}
