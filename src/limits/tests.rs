//! The limiter's promises, on a paused clock.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use chrono::DateTime;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::{
    config::{LimitOverride, LimitsConfig},
    model::Clock,
};

const NANOSECOND: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

fn limiter() -> Limiter {
    Limiter::new(Clock::stepped_from(DateTime::UNIX_EPOCH), &LimitsConfig::defaults())
}

fn caller(number: u8) -> Caller {
    Caller::new(None, IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
}

/// A wish to draw on `name`, which allows `limit` in a `window`.
fn demand(name: &str, limit: u32, window: Duration, cost: u32) -> Demand {
    Demand { policy: Policy { name: name.into(), limit, window }, cost }
}

fn prices(cost: u32) -> Demand {
    demand("Query.cryptoPrices", 100, 60 * SECOND, cost)
}

fn is_allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allowed { .. })
}

fn states(decision: &Decision) -> &[Standing] {
    match decision {
        Decision::Allowed { states } | Decision::Refused { states, .. } => states,
    }
}

fn remaining(decision: &Decision) -> Vec<u32> {
    states(decision).iter().map(|standing| standing.remaining).collect()
}

fn wait(decision: &Decision) -> Duration {
    match decision {
        Decision::Allowed { .. } => Duration::ZERO,
        Decision::Refused { retry_after, .. } => *retry_after,
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_limit_may_be_used_at_once_and_comes_back_evenly() {
    let limiter = limiter();
    for used in 1..=100 {
        let decision = limiter.check(&caller(1), &[prices(1)]).await;
        assert!(is_allowed(&decision), "{used}");
        assert_eq!(remaining(&decision), [100 - used]);
        assert_eq!(states(&decision)[0].reset, Duration::from_millis(600) * used);
    }
    for _ in 0..3 {
        assert_eq!(wait(&limiter.check(&caller(1), &[prices(1)]).await), Duration::from_millis(600));
        advance(Duration::from_millis(600)).await;
        assert!(is_allowed(&limiter.check(&caller(1), &[prices(1)]).await));
    }
    advance(60 * SECOND).await;
    assert_eq!(remaining(&limiter.check(&caller(1), &[prices(0)]).await), [100]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_exact_to_the_nanosecond_where_the_limit_does_not_divide_the_window() {
    let limiter = limiter();
    let demand = |cost| [demand("Query.price", 7, SECOND, cost)];
    assert!(is_allowed(&limiter.check(&caller(1), &demand(7)).await));
    let told = wait(&limiter.check(&caller(1), &demand(3)).await);
    assert_eq!(told, Duration::from_nanos(428_571_429));
    advance(told.saturating_sub(NANOSECOND)).await;
    assert_eq!(wait(&limiter.check(&caller(1), &demand(3)).await), NANOSECOND);
    advance(NANOSECOND).await;
    assert!(is_allowed(&limiter.check(&caller(1), &demand(3)).await));
}

#[tokio::test(start_paused = true)]
async fn a_refused_check_charges_nothing() {
    let limiter = limiter();
    let wide = |cost| demand("Query.wide", 10, SECOND, cost);
    let narrow = |cost| demand("Query.narrow", 2, SECOND, cost);
    let Decision::Refused { standing, states, retry_after } =
        limiter.check(&caller(1), &[wide(1), narrow(3), wide(9)]).await
    else {
        panic!("3 of 2 were admitted");
    };
    assert_eq!((&*standing.name, standing.quota, standing.window, standing.remaining), ("Query.narrow", 2, SECOND, 2));
    assert_eq!(states.len(), 2);
    assert_eq!(retry_after, SECOND);
    let decision = limiter.check(&caller(1), &[wide(10), narrow(2)]).await;
    assert!(is_allowed(&decision));
    assert_eq!(remaining(&decision), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_of_a_check_is_the_longest_of_its_demands() {
    let limiter = limiter();
    let quick = |cost| demand("Query.quick", 10, SECOND, cost);
    let slow = |cost| demand("Query.slow", 10, 60 * SECOND, cost);
    assert!(is_allowed(&limiter.check(&caller(1), &[quick(10), slow(10)]).await));
    let refused = limiter.check(&caller(1), &[quick(1), slow(1)]).await;
    assert_eq!(wait(&refused), 6 * SECOND);
    advance(6 * SECOND).await;
    assert!(is_allowed(&limiter.check(&caller(1), &[quick(1), slow(1)]).await));
}

#[tokio::test(start_paused = true)]
async fn demands_on_one_account_are_added_up() {
    let limiter = limiter();
    let decision = limiter.check(&caller(1), &[prices(60), prices(41)]).await;
    assert!(!is_allowed(&decision));
    let decision = limiter.check(&caller(1), &[prices(60), prices(40)]).await;
    assert!(is_allowed(&decision));
    assert_eq!(remaining(&decision), [0]);
    let huge = limiter.check(&caller(1), &[prices(u32::MAX), prices(u32::MAX), prices(2)]).await;
    assert!(!is_allowed(&huge));
}

#[tokio::test(start_paused = true)]
async fn more_than_the_limit_is_never_admitted_and_says_so() {
    let limiter = limiter();
    for _ in 0..3 {
        let Decision::Refused { standing, retry_after, .. } = limiter.check(&caller(1), &[prices(101)]).await else {
            panic!("101 of 100 were admitted");
        };
        assert_eq!((standing.quota, standing.remaining, standing.reset), (100, 100, Duration::ZERO));
        assert_eq!(retry_after, 60 * SECOND);
        advance(retry_after).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_nothing() {
    let limiter = limiter();
    assert_eq!(limiter.check(&caller(1), &[]).await, Decision::Allowed { states: Vec::new() });
    assert!(is_allowed(&limiter.check(&caller(1), &[prices(100)]).await));
    let decision = limiter.check(&caller(1), &[prices(0)]).await;
    assert!(is_allowed(&decision));
    assert_eq!(remaining(&decision), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_closes_and_a_window_of_zero_opens() {
    let limiter = limiter();
    let closed = limiter.check(&caller(1), &[demand("Query.closed", 0, 60 * SECOND, 1)]).await;
    assert_eq!((wait(&closed), remaining(&closed)), (60 * SECOND, vec![0]));
    for _ in 0..10 {
        let open = limiter.check(&caller(1), &[demand("Query.open", 3, Duration::ZERO, 3)]).await;
        assert_eq!((is_allowed(&open), remaining(&open)), (true, vec![3]));
    }
    assert!(!is_allowed(&limiter.check(&caller(1), &[demand("Query.open", 3, Duration::ZERO, 4)]).await));
}

#[tokio::test(start_paused = true)]
async fn callers_and_policies_do_not_touch_one_another() {
    let limiter = limiter();
    assert!(is_allowed(&limiter.check(&caller(1), &[demand("Query.price", 1, SECOND, 1)]).await));
    assert!(!is_allowed(&limiter.check(&caller(1), &[demand("Query.price", 1, SECOND, 1)]).await));
    assert!(is_allowed(&limiter.check(&caller(2), &[demand("Query.price", 1, SECOND, 1)]).await));
    assert!(is_allowed(&limiter.check(&caller(1), &[demand("Query.prices", 1, SECOND, 1)]).await));
    assert!(is_allowed(&limiter.check(&caller(1), &[demand("Query.price", 2, SECOND, 1)]).await));
}

#[tokio::test(start_paused = true)]
async fn an_override_replaces_the_limit_of_the_schema() {
    let to = LimitOverride { policy: "Query.cryptoPrices".into(), limit: 2, window_seconds: 10 };
    let config = LimitsConfig { overrides: vec![to], ..LimitsConfig::defaults() };
    let limiter = Limiter::new(Clock::stepped_from(DateTime::UNIX_EPOCH), &config);
    let decision = limiter.check(&caller(1), &[prices(2), demand("Query.price", 7, SECOND, 1)]).await;
    let told: Vec<_> = states(&decision).iter().map(|standing| (standing.quota, standing.window)).collect();
    assert_eq!(told, [(2, 10 * SECOND), (7, SECOND)]);
    assert_eq!(wait(&limiter.check(&caller(1), &[prices(1)]).await), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_most_extreme_policies_do_not_overflow() {
    let limiter = limiter();
    for (limit, window) in [(u32::MAX, Duration::MAX), (1, Duration::MAX), (u32::MAX, NANOSECOND)] {
        let spend = [demand("Query.extreme", limit, window, limit)];
        assert!(is_allowed(&limiter.check(&caller(1), &spend).await));
        assert_eq!(wait(&limiter.check(&caller(1), &spend).await), window);
        advance(1_000 * SECOND).await;
        limiter.check(&caller(1), &spend).await;
    }
}

#[test]
fn callers_at_the_same_time_share_the_limit_exactly() {
    let limiter = Limiter::new(Clock::system(), &LimitsConfig::defaults());
    let admitted: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let demand = [demand("Query.price", 1_000, 1_000_000 * SECOND, 1)];
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let ask = || is_allowed(&runtime.block_on(limiter.check(&caller(1), &demand)));
                    (0..1_000).filter(|_| ask()).count()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_eq!(admitted, 1_000);
}

/// One step of a schedule: wait, then ask.
#[derive(Debug, Clone)]
struct Step {
    pause: Duration,
    cost: u32,
}

fn schedule(limit: u32, window: Duration) -> impl Strategy<Value = Vec<Step>> {
    let token = u64::try_from(window.as_nanos() / u128::from(limit)).unwrap();
    let pause = prop_oneof![3 => 0..=token, 2 => 0..=token * 4, 1 => 0..=token * u64::from(limit) * 2];
    let step = (pause, 0..=limit + 1).prop_map(|(pause, cost)| Step { pause: Duration::from_nanos(pause), cost });
    proptest::collection::vec(step, 1..60)
}

fn cases() -> impl Strategy<Value = (u32, Duration, Vec<Step>)> {
    (1..40_u32, 1_000..10_000_000_000_u64)
        .prop_map(|(limit, window)| (limit, Duration::from_nanos(window)))
        .prop_flat_map(|(limit, window)| (Just(limit), Just(window), schedule(limit, window)))
}

/// A token bucket counted in nanoseconds × tokens, the textbook form of the same promise.
struct Bucket {
    capacity: u128,
    level: u128,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_schedule_is_admitted_as_a_token_bucket_would((limit, window, steps) in cases()) {
        on_a_paused_clock(async {
            let limiter = limiter();
            let capacity = window.as_nanos() * u128::from(limit);
            let mut bucket = Bucket { capacity, level: capacity };
            for Step { pause, cost } in steps {
                advance(pause).await;
                bucket.level = bucket.capacity.min(bucket.level + pause.as_nanos() * u128::from(limit));
                let price = window.as_nanos() * u128::from(cost);
                let decision = limiter.check(&caller(1), &[demand("p", limit, window, cost)]).await;
                assert_eq!(is_allowed(&decision), price <= bucket.level);
                if is_allowed(&decision) {
                    bucket.level -= price;
                }
                assert_eq!(u128::from(remaining(&decision)[0]), bucket.level / window.as_nanos());
                let reset = (bucket.capacity - bucket.level).div_ceil(u128::from(limit));
                assert_eq!(states(&decision)[0].reset.as_nanos(), reset);
            }
        });
    }

    #[test]
    fn no_span_of_time_admits_more_than_the_limit_and_what_came_back((limit, window, steps) in cases()) {
        on_a_paused_clock(async {
            let limiter = limiter();
            let mut elapsed = Duration::ZERO;
            let mut admitted: Vec<(Duration, u32)> = Vec::new();
            for Step { pause, cost } in steps {
                advance(pause).await;
                elapsed += pause;
                if is_allowed(&limiter.check(&caller(1), &[demand("p", limit, window, cost)]).await) {
                    admitted.push((elapsed, cost));
                }
            }
            for (first, (since, _)) in admitted.iter().enumerate() {
                let mut used = 0;
                for (at, cost) in &admitted[first..] {
                    used += u128::from(*cost) * window.as_nanos();
                    let span = at.abs_diff(*since).as_nanos();
                    assert!(used <= u128::from(limit) * (window.as_nanos() + span));
                }
            }
        });
    }

    #[test]
    fn whoever_waits_as_told_is_admitted_and_no_earlier((limit, window, steps) in cases()) {
        on_a_paused_clock(async {
            let limiter = limiter();
            for Step { pause, cost } in steps {
                advance(pause).await;
                let ask = [demand("p", limit, window, cost.min(limit))];
                let told = wait(&limiter.check(&caller(1), &ask).await);
                if told.is_zero() {
                    continue;
                }
                advance(told.saturating_sub(NANOSECOND)).await;
                assert_eq!(wait(&limiter.check(&caller(1), &ask).await), NANOSECOND);
                advance(NANOSECOND).await;
                assert!(is_allowed(&limiter.check(&caller(1), &ask).await));
            }
        });
    }
}

fn on_a_paused_clock(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}
