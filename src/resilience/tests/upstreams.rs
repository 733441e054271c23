//! The registry: what operators see and steer.

use std::time::Duration;

use chrono::DateTime;

use super::{answer, clock, options, status};
use crate::{
    config::ResilienceConfig,
    model::Chance,
    resilience::{BreakerEvent, BreakerState, CallError, CallKind, Counts, Forced, PolicyOptions, Upstreams},
};

fn upstreams() -> Upstreams {
    Upstreams::new(clock(), Chance::seeded(1), &ResilienceConfig::defaults())
}

fn quick(upstreams: &Upstreams) -> PolicyOptions {
    PolicyOptions { breaker: options(), ..upstreams.defaults() }
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_what_happened() {
    let upstreams = upstreams();
    let policy = upstreams.register("coins", quick(&upstreams));
    policy.call(CallKind::Once, || answer(Ok(()))).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..2 {
        let _ = policy.call(CallKind::Once, || answer(Err::<(), _>(status(503)))).await;
    }
    let refused = policy.call(CallKind::Once, || answer(Ok(()))).await;
    assert_eq!(refused, Err(CallError::BreakerOpen { retry_after: Duration::from_secs(1) }));
    assert!(policy.is_open());

    let status = upstreams.status("coins").unwrap();
    let counts = Counts { successes: 1, failures: 2, rejects: 1, ..Counts::default() };
    assert_eq!((&*status.name, status.state, status.forced), ("coins", BreakerState::Open, None));
    assert_eq!((status.window, status.total), (counts, counts));
    assert_eq!((status.in_flight, status.capacity), (0, options().capacity));
    assert_eq!(status.retry_after, Some(Duration::from_secs(1)));
    let at = DateTime::from_timestamp_secs(2).unwrap();
    assert_eq!((status.opened_at, status.changed_at), (Some(at), at));
    let last_error = status.last_error.unwrap();
    assert_eq!((last_error.at, &*last_error.detail), (at, "the upstream failed with status 503: test"));

    tokio::time::advance(Duration::from_secs(1)).await;
    let status = upstreams.status("coins").unwrap();
    assert_eq!((status.state, status.retry_after), (BreakerState::HalfOpen, None), "without traffic");
    assert!(!policy.is_open());
    assert_eq!(status.changed_at, DateTime::from_timestamp_secs(3).unwrap());
}

#[tokio::test(start_paused = true)]
async fn operators_steer_by_name() {
    let upstreams = upstreams();
    let policy = upstreams.register("coins", quick(&upstreams));
    upstreams.register("bases", quick(&upstreams));
    let mut events = upstreams.events();

    let status = upstreams.force_open("coins").unwrap();
    assert_eq!((status.state, status.forced), (BreakerState::Open, Some(Forced::Open)));
    assert!(policy.call(CallKind::Once, || answer(Ok(()))).await.is_err());
    let status = upstreams.force_close("coins").unwrap();
    assert_eq!((status.state, status.forced), (BreakerState::Closed, Some(Forced::Closed)));
    let status = upstreams.reset("coins").unwrap();
    assert_eq!((status.state, status.forced, status.window), (BreakerState::Closed, None, Counts::default()));

    assert!(upstreams.force_open("nobody").is_none() && upstreams.status("nobody").is_none());
    let names: Vec<_> = upstreams.list().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["bases".into(), "coins".into()] as [std::sync::Arc<str>; 2]);
    let event = events.recv().await.unwrap();
    assert_eq!((&*event.upstream, event.event), ("coins", BreakerEvent::Open));
}

#[tokio::test(start_paused = true)]
async fn adapters_that_name_the_same_upstream_share_its_breaker() {
    let upstreams = upstreams();
    let first = upstreams.register("coins", quick(&upstreams));
    let second = upstreams.register("coins", upstreams.defaults());
    for _ in 0..3 {
        let _ = first.call(CallKind::Once, || answer(Err::<(), _>(status(500)))).await;
    }
    assert!(second.is_open());
}

#[tokio::test(start_paused = true)]
async fn the_metrics_tell_the_same() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let upstreams = upstreams();
    let policy = metrics::with_local_recorder(&recorder, || upstreams.register("coins", quick(&upstreams)));
    let mut under_way = Box::pin(policy.call(CallKind::Once, super::hang));
    assert!(super::poll_once(under_way.as_mut()).await.is_none());
    policy.call(CallKind::Once, || answer(Ok(()))).await.unwrap();
    for _ in 0..2 {
        let _ = policy.call(CallKind::Idempotent, || answer(Err::<(), _>(status(503)))).await;
    }

    let text = metrics.render();
    for line in [
        "tidegate_upstream_calls_total{upstream=\"coins\",outcome=\"success\"} 1",
        "tidegate_upstream_calls_total{upstream=\"coins\",outcome=\"failure\"} 1",
        "tidegate_upstream_calls_total{upstream=\"coins\",outcome=\"rejected\"} 1",
        "tidegate_upstream_call_seconds_count{upstream=\"coins\"} 3",
        "tidegate_upstream_retries_total{upstream=\"coins\"} 1",
        "tidegate_upstream_in_flight{upstream=\"coins\"} 1",
        "tidegate_breaker_state{upstream=\"coins\"} 2",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
