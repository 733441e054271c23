//! Promises 1–5 of docs/cache.md, on a paused clock.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{advance, sleep},
};

use super::{Cache, CacheKey, CacheSettings, CacheValue, Hit, LoadLost, Loaded, Lookup, Tag, Tags};
use crate::{
    config::CacheConfig,
    model::{Chance, Clock, Timestamp},
};

const FRESH: Duration = Duration::from_secs(10);
const STALE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, PartialEq)]
struct Text(&'static str);

impl CacheKey for u32 {
    fn shared_name(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

impl CacheValue for Text {
    fn weight(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Fault {
    Down,
    Lost(LoadLost),
}

impl From<LoadLost> for Fault {
    fn from(lost: LoadLost) -> Self {
        Self::Lost(lost)
    }
}

type Texts = Cache<u32, Text, Fault>;
type Answer = Result<Lookup<Text>, Fault>;

/// The defaults, without the jitter and early refresh that would blur the times.
fn settings() -> CacheSettings {
    CacheSettings { jitter: 0.0, early_refresh_beta: 0.0, ..CacheSettings::from(&CacheConfig::defaults()) }
}

fn cache_with(settings: CacheSettings) -> Texts {
    Cache::new("texts", settings, &Tags::new(), Clock::stepped_from(Timestamp::UNIX_EPOCH), Chance::seeded(7))
}

fn cache() -> Texts {
    cache_with(settings())
}

fn found(text: &'static str) -> Loaded<Text> {
    Loaded::found(Text(text), FRESH, STALE)
}

fn tagged(text: &'static str, tag: &Tag) -> Loaded<Text> {
    Loaded::Found { value: Text(text), fresh_for: FRESH, stale_for: STALE, tags: vec![tag.clone()] }
}

fn value(answer: &Answer) -> Option<(&'static str, bool)> {
    match answer {
        Ok(Lookup::Found(Hit { value, stale, .. })) => Some((value.0, *stale)),
        _ => None,
    }
}

/// An upstream that counts its calls and answers when it is let.
#[derive(Clone)]
struct Upstream {
    calls: Arc<AtomicUsize>,
    gate: Arc<Notify>,
}

impl Upstream {
    fn new() -> Self {
        Self { calls: Arc::default(), gate: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Starts a lookup whose load waits for the gate.
    async fn begin(&self, cache: &Texts, loaded: Loaded<Text>) -> tokio::task::JoinHandle<Answer> {
        let (cache, upstream) = (cache.clone(), self.clone());
        let before = self.calls();
        let lookup = tokio::spawn(async move {
            let (calls, gate) = (upstream.calls, upstream.gate);
            let load = async move |_| {
                calls.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ok(loaded)
            };
            cache.get(&1, load).await
        });
        while self.calls() == before {
            yield_now().await;
        }
        lookup
    }

    async fn answer(&self, cache: &Texts, reply: Result<Loaded<Text>, Fault>) -> Answer {
        let calls = self.calls.clone();
        let load = async move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            reply
        };
        cache.get(&1, load).await
    }
}

async fn settle_tasks() {
    for _ in 0..10 {
        yield_now().await;
    }
}

// Promise 1: what was removed stays removed.

#[tokio::test(start_paused = true)]
async fn a_load_that_began_before_an_invalidation_is_neither_kept_nor_joined() {
    let tag = Tag("all".into());
    for way in 0..3 {
        let (cache, old, new) = (cache(), Upstream::new(), Upstream::new());
        let waiting = old.begin(&cache, tagged("old", &tag)).await;
        match way {
            0 => cache.invalidate(&1).await,
            1 => cache.invalidate_tag(&tag).await,
            _ => cache.clear().await,
        }
        let later = tokio::spawn({
            let (cache, new, tag) = (cache.clone(), new.clone(), tag.clone());
            async move { new.answer(&cache, Ok(tagged("new", &tag))).await }
        });
        settle_tasks().await;
        old.gate.notify_one();
        assert_eq!(value(&waiting.await.unwrap()), Some(("old", false)), "who asked before is answered");
        assert_eq!(value(&later.await.unwrap()), Some(("new", false)), "who asked after is not, way {way}");
        assert_eq!(cache.peek(&1).map(|hit| hit.value), Some(Text("new")), "way {way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_obeys_its_ticket() {
    let cache = cache();
    let (older, newer) = (cache.begin(), cache.begin());
    cache.put(newer, &1, found("newer")).await;
    cache.put(older, &1, found("older")).await;
    assert_eq!(cache.peek(&1).unwrap().value, Text("newer"), "a slow fetch does not overwrite a later one");
    let before = cache.begin();
    cache.invalidate(&1).await;
    cache.put(before, &1, found("removed")).await;
    assert_eq!(cache.last_known(&1), None);
    cache.put(cache.begin(), &1, found("after")).await;
    assert_eq!(cache.peek(&1).unwrap().value, Text("after"));
}

#[tokio::test(start_paused = true)]
async fn a_tag_removes_its_values_from_every_cache_that_shares_it() {
    let (tags, clock) = (Tags::new(), Clock::stepped_from(Timestamp::UNIX_EPOCH));
    let [one, two]: [Texts; 2] =
        ["one", "two"].map(|name| Cache::new(name, settings(), &tags, clock.clone(), Chance::seeded(1)));
    let (coin, other) = (Tag("bitcoin".into()), Tag("ether".into()));
    for cache in [&one, &two] {
        cache.put(cache.begin(), &1, tagged("coin", &coin)).await;
        cache.put(cache.begin(), &2, tagged("other", &other)).await;
    }
    tags.invalidate(std::slice::from_ref(&coin)).await;
    for cache in [&one, &two] {
        assert_eq!((cache.last_known(&1), cache.peek(&2).map(|hit| hit.value)), (None, Some(Text("other"))));
    }
}

/// The write passed its check before `clear` and reaches the memory after it, which no call can be made to do on cue.
#[tokio::test(start_paused = true)]
async fn a_write_that_slips_in_behind_a_clear_is_not_served() {
    let cache = cache();
    let ticket = cache.begin();
    let slow = cache.0.keep(ticket, &1, found("removed"));
    cache.clear().await;
    cache.0.tier.0.insert(1, slow);
    assert_eq!((cache.peek(&1), cache.last_known(&1)), (None, None));
}

// Promise 2: times are absolute and count from the start of the load.

#[tokio::test(start_paused = true)]
async fn the_envelope_counts_from_the_start_of_the_load() {
    let (cache, upstream) = (cache(), Upstream::new());
    let waiting = upstream.begin(&cache, found("text")).await;
    advance(Duration::from_secs(4)).await;
    upstream.gate.notify_one();
    let answer = waiting.await.unwrap().unwrap().hit().unwrap();
    let seconds = |time: Timestamp| time.timestamp();
    let times = |hit: &Hit<Text>| (seconds(hit.created_at), seconds(hit.fresh_until), seconds(hit.stale_until));
    assert_eq!(times(&answer), (0, 10, 70));
    advance(Duration::from_secs(5)).await;
    assert_eq!(times(&cache.peek(&1).unwrap()), (0, 10, 70), "a hit changes nothing");
    advance(Duration::from_secs(1)).await;
    assert_eq!((cache.peek(&1), cache.last_known(&1).map(|hit| hit.stale)), (None, Some(true)));
    advance(Duration::from_mins(1)).await;
    assert_eq!(cache.last_known(&1), None);
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_by_weight() {
    let cache = cache_with(CacheSettings { max_weight: 100_000, ..settings() });
    for key in 0..10_000 {
        cache.put(cache.begin(), &key, found("some text")).await;
    }
    cache.0.tier.0.run_pending_tasks();
    let (entries, weight) = cache.0.tier.size();
    assert!(entries > 100 && weight <= 100_000, "{entries} entries of {weight} bytes");
}

// Promise 3: one load per key, which no caller can harm.

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_make_one_load() {
    let (cache, upstream) = (cache(), Upstream::new());
    let first = upstream.begin(&cache, found("text")).await;
    let others = join_all((0..999).map(|_| upstream.answer(&cache, Err(Fault::Down))));
    let open = async {
        settle_tasks().await;
        upstream.gate.notify_one();
    };
    let (answers, ()) = tokio::join!(others, open);
    assert!(answers.iter().all(|answer| value(answer) == Some(("text", false))));
    assert_eq!(value(&first.await.unwrap()), Some(("text", false)));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_load_that_lands_leaves_its_successor_joinable() {
    let (cache, old, new) = (cache(), Upstream::new(), Upstream::new());
    let first = old.begin(&cache, found("old")).await;
    cache.invalidate(&1).await;
    let second = new.begin(&cache, found("new")).await;
    old.gate.notify_one();
    assert_eq!(value(&first.await.unwrap()), Some(("old", false)));
    let third = new.answer(&cache, Err(Fault::Down));
    let open = async {
        settle_tasks().await;
        new.gate.notify_one();
    };
    let (third, ()) = tokio::join!(third, open);
    assert_eq!((value(&second.await.unwrap()), value(&third)), (Some(("new", false)), Some(("new", false))));
    assert_eq!((old.calls(), new.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_joins_what_is_under_way_and_loads_the_rest_at_once() {
    let (cache, upstream) = (cache(), Upstream::new());
    cache.put(cache.begin(), &3, found("kept")).await;
    let first = upstream.begin(&cache, found("joined")).await;
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let load = {
        let asked = asked.clone();
        move |keys: Vec<u32>| async move {
            asked.lock().push(keys.clone());
            keys.into_iter().map(|key| (key, Ok(found("loaded")))).collect()
        }
    };
    let open = async {
        settle_tasks().await;
        upstream.gate.notify_one();
    };
    let (answers, ()) = tokio::join!(cache.get_many(&[1, 2, 3, 4, 2], load), open);
    first.await.unwrap().unwrap();
    let texts: Vec<_> = (1..=4).map(|key| value(&answers[&key]).unwrap().0).collect();
    assert_eq!(texts, ["joined", "loaded", "kept", "loaded"]);
    assert_eq!(*asked.lock(), [vec![2, 4]]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_caller_does_not_cancel_the_load() {
    let (cache, upstream) = (cache(), Upstream::new());
    let first = upstream.begin(&cache, found("text")).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    upstream.gate.notify_one();
    assert_eq!(value(&upstream.answer(&cache, Err(Fault::Down)).await), Some(("text", false)));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_ends_badly_tells_its_callers_and_frees_the_key() {
    let cache = cache();
    let panics = cache.get(&1, async |_| panic!("a loader's panic, part of the test")).await;
    assert_eq!(panics, Err(Fault::Lost(LoadLost::Interrupted)));
    let hangs = cache.get(&1, async |_| std::future::pending().await).await;
    assert_eq!(hangs, Err(Fault::Lost(LoadLost::TimedOut)));
    let forgets = cache.get_many(&[1], async |_| HashMap::new()).await;
    assert_eq!(forgets[&1], Err(Fault::Lost(LoadLost::Unanswered)));
    assert_eq!(value(&Upstream::new().answer(&cache, Ok(found("text"))).await), Some(("text", false)));
    assert!(cache.0.flights.0.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn loads_under_way_are_bounded() {
    let (cache, upstream) = (cache_with(CacheSettings { max_loads: 1, ..settings() }), Upstream::new());
    let first = upstream.begin(&cache, found("text")).await;
    let refused = cache.get(&2, async |_| Ok(found("never"))).await;
    assert_eq!(refused, Err(Fault::Lost(LoadLost::Saturated)));
    upstream.gate.notify_one();
    first.await.unwrap().unwrap();
    let admitted = cache.get(&2, async |_| Ok(found("now"))).await;
    assert_eq!(value(&admitted), Some(("now", false)));
}

// Promise 4: stale rather than nothing, and never what was removed.

#[tokio::test(start_paused = true)]
async fn a_failing_load_is_answered_stale_until_the_value_ends() {
    let (cache, upstream) = (cache(), Upstream::new());
    upstream.answer(&cache, Ok(found("text"))).await.unwrap();
    advance(FRESH).await;
    assert_eq!(value(&upstream.answer(&cache, Err(Fault::Down)).await), Some(("text", true)));
    advance(STALE).await;
    assert_eq!(upstream.answer(&cache, Err(Fault::Down)).await, Err(Fault::Down));
}

#[tokio::test(start_paused = true)]
async fn a_removed_value_is_not_the_answer_to_a_failing_load() {
    let (cache, upstream) = (cache(), Upstream::new());
    upstream.answer(&cache, Ok(found("text"))).await.unwrap();
    advance(FRESH).await;
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let lookup = cache.get(&1, async move |_| {
        opened.notified().await;
        Err(Fault::Down)
    });
    let remove = async {
        settle_tasks().await;
        cache.invalidate(&1).await;
        gate.notify_one();
    };
    let (answer, ()) = tokio::join!(lookup, remove);
    assert_eq!(answer, Err(Fault::Down));
}

#[tokio::test(start_paused = true)]
async fn a_slow_load_is_answered_stale_and_fills_in_later() {
    let (cache, started) = (cache(), Clock::system().instant());
    cache.put(cache.begin(), &1, found("old")).await;
    advance(FRESH).await;
    let slow = async |_| {
        sleep(Duration::from_secs(2)).await;
        Ok(found("new"))
    };
    assert_eq!(value(&cache.get(&1, slow).await), Some(("old", true)));
    assert_eq!(started.elapsed(), FRESH + Duration::from_millis(250), "the soft timeout");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cache.peek(&1).unwrap().value, Text("new"));
}

#[tokio::test(start_paused = true)]
async fn a_value_removed_during_the_soft_timeout_is_waited_for() {
    let cache = cache();
    cache.put(cache.begin(), &1, found("old")).await;
    advance(FRESH).await;
    let slow = async |_| {
        sleep(Duration::from_secs(2)).await;
        Ok(found("new"))
    };
    let remove = async {
        sleep(Duration::from_millis(100)).await;
        cache.invalidate(&1).await;
    };
    let (answer, ()) = tokio::join!(cache.get(&1, slow), remove);
    assert_eq!(value(&answer), Some(("new", false)));
}

// Promise 5: errors are not kept, "missing" is for a while; lifetimes are spread, refreshes come early.

#[tokio::test(start_paused = true)]
async fn errors_are_not_kept() {
    let (cache, upstream) = (cache(), Upstream::new());
    assert_eq!(upstream.answer(&cache, Err(Fault::Down)).await, Err(Fault::Down));
    assert_eq!(value(&upstream.answer(&cache, Ok(found("text"))).await), Some(("text", false)));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_stale_value_spares_the_upstream() {
    let (cache, upstream) = (cache(), Upstream::new());
    upstream.answer(&cache, Ok(found("text"))).await.unwrap();
    advance(FRESH).await;
    for _ in 0..100 {
        assert_eq!(value(&upstream.answer(&cache, Err(Fault::Down)).await), Some(("text", true)));
    }
    assert_eq!(upstream.calls(), 2, "one attempt, then none for a second");
    advance(Duration::from_secs(1)).await;
    assert_eq!(value(&upstream.answer(&cache, Ok(found("back"))).await), Some(("back", false)));
}

#[tokio::test(start_paused = true)]
async fn missing_is_believed_for_its_own_time() {
    let (cache, upstream) = (cache(), Upstream::new());
    assert_eq!(upstream.answer(&cache, Ok(Loaded::Missing)).await, Ok(Lookup::Missing));
    advance(Duration::from_millis(4_999)).await;
    assert_eq!(upstream.answer(&cache, Ok(found("text"))).await, Ok(Lookup::Missing));
    advance(Duration::from_millis(1)).await;
    assert_eq!(value(&upstream.answer(&cache, Ok(found("text"))).await), Some(("text", false)));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn lifetimes_are_spread_within_their_bounds() {
    let cache = cache_with(CacheSettings { jitter: 0.1, ..settings() });
    let mut lifetimes = Vec::new();
    for key in 0..1_000 {
        cache.put(cache.begin(), &key, found("text")).await;
        let hit = cache.peek(&key).unwrap();
        lifetimes.push((hit.fresh_until - hit.created_at).num_milliseconds());
    }
    let (shortest, longest) = (lifetimes.iter().min().unwrap(), lifetimes.iter().max().unwrap());
    assert!((9_000..9_100).contains(shortest) && (10_900..=11_000).contains(longest), "{shortest}–{longest} ms");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_comes_early_in_the_background_and_once() {
    let cache = cache_with(CacheSettings { early_refresh_beta: 1.0, ..settings() });
    let upstream = Upstream::new();
    let first = upstream.begin(&cache, found("old")).await;
    advance(Duration::from_secs(1)).await;
    upstream.gate.notify_one();
    first.await.unwrap().unwrap();
    advance(Duration::from_secs(8)).await;
    // A load took one second and one second is left: a lookup refreshes with a chance of 1/e.
    for _ in 0..100 {
        let (calls, gate) = (upstream.calls.clone(), upstream.gate.clone());
        let refresh = async move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            Ok(found("new"))
        };
        assert_eq!(value(&cache.get(&1, refresh).await), Some(("old", false)), "nobody waits for it");
        settle_tasks().await;
    }
    assert_eq!(upstream.calls(), 2);
    upstream.gate.notify_one();
    settle_tasks().await;
    assert_eq!(cache.peek(&1).unwrap().value, Text("new"));
}
