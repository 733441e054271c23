//! The order of the guards, and what each of them promises.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{answer, clock, hang, options, poll_once, status};
use crate::{
    config::ResilienceConfig,
    model::Chance,
    resilience::{
        BreakerOptions, CallError, CallKind, CallPolicy, PolicyOptions, RateHint, RetryOptions, ThrottleOptions,
        Upstreams,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// A policy that hardly ever trips, with tries of 100 ms and a deadline of ten seconds.
fn base() -> PolicyOptions {
    let defaults = PolicyOptions::from(&ResilienceConfig::defaults());
    let breaker = BreakerOptions { volume_threshold: 1_000_000, ..options() };
    PolicyOptions { breaker, deadline: 10 * SECOND, ..defaults }
}

fn policy(options: PolicyOptions) -> CallPolicy {
    Upstreams::new(clock(), Chance::seeded(1), &ResilienceConfig::defaults()).register("x", options)
}

fn limited(seconds: u64) -> CallError {
    CallError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) }
}

fn pace(policy: &CallPolicy) -> String {
    format!("{:.1}", policy.status().rate_per_second)
}

/// Calls with an upstream that gives `errors` in turn and then succeeds; tells the result, the tries and the time.
async fn call(policy: &CallPolicy, kind: CallKind, errors: &[CallError]) -> (Result<u32, CallError>, u32, Duration) {
    let tries = AtomicU32::new(0);
    let started = clock().instant();
    let result = policy
        .call(kind, || {
            let attempt = tries.fetch_add(1, Ordering::SeqCst);
            answer(errors.get(attempt as usize).cloned().map_or(Ok(attempt), Err))
        })
        .await;
    (result, tries.into_inner(), started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn only_idempotent_calls_and_passing_errors_are_tried_again() {
    use CallKind::{Idempotent, Once};
    for (kind, error, expected) in [
        (Idempotent, status(503), 2),
        (Idempotent, CallError::Timeout, 2),
        (Idempotent, CallError::RateLimited { retry_after: None }, 2),
        (Idempotent, status(404), 1),
        (Idempotent, CallError::Decode { detail: "x".into() }, 1),
        (Once, status(503), 1),
        (Once, CallError::Timeout, 1),
    ] {
        let (result, tries, _) = call(&policy(base()), kind, std::slice::from_ref(&error)).await;
        assert_eq!((tries, result.is_ok()), (expected, expected == 2), "{kind:?} {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_and_the_last_error_is_told() {
    let errors = [status(500), status(502), status(503), status(504)];
    let (result, tries, took) = call(&policy(base()), CallKind::Idempotent, &errors).await;
    assert_eq!((result, tries), (Err(status(503)), 3));
    assert!(took <= Duration::from_millis(300), "waits of at most 100 and 200 ms: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_within_the_deadline_and_otherwise_told_at_once() {
    let (result, tries, took) = call(&policy(base()), CallKind::Idempotent, &[limited(5)]).await;
    assert_eq!((result, tries), (Ok(1), 2));
    assert!(took >= 5 * SECOND && took < 6 * SECOND, "{took:?}");
    let (result, tries, took) = call(&policy(base()), CallKind::Idempotent, &[limited(30)]).await;
    assert_eq!((result, tries, took), (Err(limited(30)), 1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_upstream_costs_a_try_timeout_and_never_more_than_the_deadline() {
    let policy_of_tries = policy(base());
    let started = clock().instant();
    assert_eq!(policy_of_tries.call(CallKind::Once, hang).await, Err(CallError::Timeout));
    assert_eq!(started.elapsed(), options().timeout);

    let breaker = BreakerOptions { timeout: 3 * SECOND, ..base().breaker };
    let policy_of_deadline = policy(PolicyOptions { breaker, deadline: 5 * SECOND, ..base() });
    let started = clock().instant();
    assert_eq!(policy_of_deadline.call(CallKind::Idempotent, hang).await, Err(CallError::Timeout));
    assert_eq!(started.elapsed(), 5 * SECOND, "the second try is cut short by the deadline");
    assert_eq!(policy_of_deadline.status().window.timeouts, 2, "and is judged all the same");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_sees_each_try_and_stops_the_retries_it_forbids() {
    let policy = policy(PolicyOptions { breaker: options(), ..base() });
    let errors = vec![status(500); 10];
    let (_, tries, _) = call(&policy, CallKind::Idempotent, &errors).await;
    assert_eq!((tries, policy.is_open()), (3, true), "three tries of one call are three failures");
    let (result, tries, took) = call(&policy, CallKind::Idempotent, &[]).await;
    assert_eq!((result, tries, took), (Err(CallError::BreakerOpen { retry_after: SECOND }), 0, Duration::ZERO));

    tokio::time::advance(SECOND).await;
    let (result, tries, _) = call(&policy, CallKind::Idempotent, &errors).await;
    assert_eq!((result, tries), (Err(status(500)), 1), "a failed probe is told as it was, and not retried");
}

#[tokio::test(start_paused = true)]
async fn the_budget_stops_a_retry_storm() {
    let retry = RetryOptions { budget_per_second: 1, budget_percent: 20, ..base().retry };
    let throttle = ThrottleOptions { max_per_second: 1e9, burst: 1_000_000, ..base().throttle };
    let policy = policy(PolicyOptions { retry, throttle, ..base() });
    let tries = AtomicU32::new(0);
    let attempt = || {
        tries.fetch_add(1, Ordering::SeqCst);
        answer(Err::<(), _>(status(500)))
    };
    let started = clock().instant();
    for _ in 0..1_000 {
        let _ = policy.call(CallKind::Idempotent, attempt).await;
    }
    let allowed = 10.0 + 200.0 + started.elapsed().as_secs_f64();
    let retries = f64::from(tries.load(Ordering::SeqCst)) - 1_000.0;
    assert!(retries > 150.0 && retries <= allowed, "{retries} retries, {allowed} allowed");
}

#[tokio::test(start_paused = true)]
async fn the_bulkhead_is_outermost() {
    let breaker = BreakerOptions { capacity: 1, ..options() };
    let policy = policy(PolicyOptions { breaker, ..base() });
    let mut first = Box::pin(policy.call(CallKind::Once, hang));
    assert!(poll_once(first.as_mut()).await.is_none());
    assert_eq!(policy.status().in_flight, 1);
    assert_eq!(policy.call(CallKind::Once, hang).await, Err(CallError::Saturated));
    assert_eq!(first.await, Err(CallError::Timeout));
    assert_eq!(policy.status().in_flight, 0);

    for _ in 0..2 {
        let _ = policy.call(CallKind::Once, hang).await;
    }
    assert!(policy.is_open());
    let refused = policy.call(CallKind::Once, hang).await;
    assert_eq!(refused, Err(CallError::BreakerOpen { retry_after: SECOND }), "room again, so the breaker answers");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_answers_before_anyone_waits_for_the_pace() {
    let throttle = ThrottleOptions { max_per_second: 0.1, min_per_second: 0.1, burst: 3, ..base().throttle };
    let policy = policy(PolicyOptions { breaker: options(), throttle, deadline: 60 * SECOND, ..base() });
    for _ in 0..3 {
        let _ = call(&policy, CallKind::Once, &[status(500)]).await;
    }
    let (result, _, took) = call(&policy, CallKind::Once, &[]).await;
    assert_eq!((result, took), (Err(CallError::BreakerOpen { retry_after: SECOND }), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_the_pace_and_are_told_at_once_when_it_would_take_too_long() {
    let throttle = ThrottleOptions { max_per_second: 1.0, min_per_second: 0.5, burst: 1, step_per_success: 0.0 };
    let policy = policy(PolicyOptions { throttle, deadline: 3 * SECOND, ..base() });
    let calls = (0..5).map(|_| call(&policy, CallKind::Idempotent, &[]));
    let results = futures_util::future::join_all(calls).await;
    let told: Vec<_> = results.into_iter().map(|(result, _, took)| (result, took)).collect();
    let refused = (Err(limited(3)), Duration::ZERO);
    let served = |seconds| (Ok(0), seconds * SECOND);
    assert_eq!(told, [served(0), served(1), served(2), refused.clone(), refused]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_slows_everyone_down_and_rate_headers_do_so_before_it() {
    let policy = policy(base());
    assert_eq!(pace(&policy), "100.0");
    let _ = call(&policy, CallKind::Once, &[limited(20)]).await;
    let status = policy.status();
    assert_eq!((pace(&policy).as_str(), status.retry_after), ("50.0", Some(20 * SECOND)));
    let (result, tries, took) = call(&policy, CallKind::Once, &[]).await;
    assert_eq!((result, tries, took), (Err(limited(20)), 0, Duration::ZERO), "longer than the deadline");
    tokio::time::advance(20 * SECOND).await;
    let _ = call(&policy, CallKind::Once, &[]).await;
    assert_eq!(pace(&policy), "50.1");
    policy.heed(RateHint { remaining: 10, resets_in: 10 * SECOND });
    assert_eq!(pace(&policy), "1.0");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_frees_its_place_everywhere() {
    let throttle = ThrottleOptions { max_per_second: 1.0, min_per_second: 1.0, burst: 1, step_per_success: 0.0 };
    let policy = policy(PolicyOptions { throttle, ..base() });
    let _ = call(&policy, CallKind::Once, &[]).await;
    for _ in 0..100 {
        let mut waiting = Box::pin(call(&policy, CallKind::Once, &[]));
        assert!(poll_once(waiting.as_mut()).await.is_none());
    }
    let (result, _, took) = call(&policy, CallKind::Once, &[]).await;
    assert_eq!((result, took, policy.status().in_flight), (Ok(0), SECOND, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_can_be_spawned() {
    let policy = policy(base());
    let answer = tokio::spawn(async move { policy.call(CallKind::Idempotent, || answer(Ok(7))).await });
    assert_eq!(answer.await.unwrap(), Ok(7));
}
