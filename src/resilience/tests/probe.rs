//! One probe at a time, and nothing that is late or cancelled decides.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::{answer, clock, hang, options, poll_once, status};
use crate::{
    model::Clock,
    resilience::{Breaker, BreakerOptions, BreakerState, CallError},
};

const RESET: Duration = Duration::from_secs(1);

async fn trip(breaker: &Breaker) {
    for _ in 0..3 {
        let _ = breaker.fire(answer(Err::<(), _>(status(500)))).await;
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

/// A breaker whose reset timeout has just passed.
async fn half_open(options: BreakerOptions) -> Breaker {
    let breaker = Breaker::new("x", options, clock());
    trip(&breaker).await;
    tokio::time::advance(RESET).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker
}

#[tokio::test(start_paused = true)]
async fn exactly_one_probe_goes_through_in_each_of_fifty_rounds_of_a_thousand_callers() {
    let breaker = half_open(BreakerOptions { capacity: 2_000, ..options() }).await;
    for round in 0..50 {
        let probes = AtomicUsize::new(0);
        let callers = (0..1_000).map(|_| {
            breaker.fire(async {
                probes.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err::<(), _>(status(500))
            })
        });
        let refused = join_all(callers).await.iter().filter(|result| is_rejected(result)).count();
        assert_eq!((probes.load(Ordering::SeqCst), refused), (1, 999), "round {round}");
        assert_eq!(breaker.state(), BreakerState::Open);
        tokio::time::advance(RESET).await;
    }
}

#[test]
fn exactly_one_probe_goes_through_when_callers_run_on_several_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (reset_timeout, timeout) = (Duration::from_millis(1), Duration::from_mins(10));
        let options = BreakerOptions { capacity: 2_000, reset_timeout, timeout, ..options() };
        let breaker = Breaker::new("x", options, Clock::system());
        for _ in 0..3 {
            let _ = breaker.fire(answer(Err::<(), _>(status(500)))).await;
        }
        for round in 0..50 {
            while breaker.state() != BreakerState::HalfOpen {
                tokio::task::yield_now().await;
            }
            assert_eq!(race(&breaker).await, 1, "round {round}");
        }
    });
}

/// Lets 1000 callers loose, holds whoever is let through until all have been answered, and counts those.
async fn race(breaker: &Breaker) -> usize {
    let (probes, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (release, held) = tokio::sync::watch::channel(false);
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let (breaker, probes, refused) = (breaker.clone(), Arc::clone(&probes), Arc::clone(&refused));
        let mut held = held.clone();
        callers.spawn(async move {
            let probe = async {
                probes.fetch_add(1, Ordering::SeqCst);
                held.wait_for(|released| *released).await.unwrap();
                Err::<(), _>(status(500))
            };
            if is_rejected(&breaker.fire(probe).await) {
                refused.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    while probes.load(Ordering::SeqCst) + refused.load(Ordering::SeqCst) < 1_000 {
        tokio::task::yield_now().await;
    }
    release.send(true).unwrap();
    callers.join_all().await;
    probes.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_good_probe_closes_with_an_empty_window() {
    let breaker = half_open(options()).await;
    breaker.fire(answer(Ok(()))).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
    let (window, total, _) = breaker.read();
    assert_eq!((window.successes, window.failures, total.failures), (1, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_opens_again_after_its_timeout() {
    let breaker = half_open(options()).await;
    assert_eq!(breaker.fire(hang()).await, Err(CallError::Timeout));
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn cancelled_probes_give_no_verdict_and_never_wedge_the_breaker() {
    let breaker = half_open(options()).await;
    for _ in 0..100 {
        let cancelled = tokio::time::timeout(Duration::from_millis(1), breaker.fire(hang())).await;
        assert!(cancelled.is_err(), "it was let through, and cancelled");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    breaker.fire(answer(Ok(()))).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_frees_its_place() {
    let breaker = half_open(options()).await;
    let panicking = breaker.clone();
    let task =
        tokio::spawn(async move { panicking.fire(async { panic!("a bug in an adapter") as Result<(), _> }).await });
    assert!(task.await.is_err());
    breaker.fire(answer(Ok(()))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_polls_is_given_up_and_its_late_result_does_not_count() {
    let breaker = half_open(options()).await;
    let (finish, finished) = tokio::sync::oneshot::channel();
    let mut forgotten = Box::pin(breaker.fire(async { finished.await.unwrap() }));
    assert!(poll_once(forgotten.as_mut()).await.is_none());
    assert!(is_rejected(&breaker.fire(answer(Ok(()))).await));
    tokio::time::advance(options().timeout * 2).await;
    let mut second = Box::pin(breaker.fire(hang()));
    assert!(poll_once(second.as_mut()).await.is_none(), "the next caller probes");
    finish.send(Ok(())).unwrap();
    forgotten.await.unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "the first probe has lost its say");
    assert!(is_rejected(&breaker.fire(answer(Ok(()))).await), "and has not freed the second one's place");
}

#[tokio::test(start_paused = true)]
async fn results_from_before_the_trip_change_nothing() {
    for (late, then) in [(Ok(()), "success"), (Err(status(500)), "failure")] {
        let breaker = Breaker::new("x", BreakerOptions { timeout: Duration::from_mins(1), ..options() }, clock());
        let (finish, finished) = tokio::sync::oneshot::channel();
        let mut slow = Box::pin(breaker.fire(async { finished.await.unwrap() }));
        assert!(poll_once(slow.as_mut()).await.is_none());
        trip(&breaker).await;
        tokio::time::advance(RESET).await;
        let mut probe = Box::pin(breaker.fire(hang()));
        assert!(poll_once(probe.as_mut()).await.is_none());
        finish.send(late).unwrap();
        let _ = slow.await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "a late {then} decided for the probe");
        assert!(is_rejected(&breaker.fire(answer(Ok(()))).await), "a late {then} freed the probe's place");
    }
}

#[tokio::test(start_paused = true)]
async fn late_results_do_not_count_in_the_closed_state_that_followed() {
    let breaker = Breaker::new("x", BreakerOptions { timeout: Duration::from_mins(1), ..options() }, clock());
    let (finish, _) = tokio::sync::broadcast::channel::<()>(1);
    let mut slow = Vec::new();
    for number in 0..20 {
        let mut finished = finish.subscribe();
        let mut call = Box::pin(breaker.fire(async move {
            finished.recv().await.unwrap();
            if number % 2 == 0 { Err(status(500)) } else { Ok(()) }
        }));
        assert!(poll_once(call.as_mut()).await.is_none());
        slow.push(call);
    }
    trip(&breaker).await;
    tokio::time::advance(RESET).await;
    breaker.fire(answer(Ok(()))).await.unwrap();
    finish.send(()).unwrap();
    join_all(slow).await;
    let (window, total, _) = breaker.read();
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!((window.successes, window.failures), (1, 0), "only the probe");
    assert_eq!((total.successes, total.failures), (11, 13), "they happened all the same");
}

/// `failsafe` wants its own clock to be strictly later than the trip; in the same nanosecond it refuses its probe.
#[test]
fn a_probe_in_the_very_nanosecond_of_the_trip_is_refused_and_keeps_no_place() {
    use futures_util::FutureExt;
    failsafe::clock::freeze(|time| {
        let paused = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = paused.enter();
        let breaker = Breaker::new("x", BreakerOptions { reset_timeout: Duration::ZERO, ..options() }, clock());
        let fire = |result| breaker.fire(answer(result)).now_or_never().expect("the call is ready");
        for _ in 0..3 {
            assert_eq!(fire(Err(status(500))), Err(status(500)));
        }
        for _ in 0..3 {
            assert_eq!(fire(Ok(())), Err(CallError::BreakerOpen { retry_after: Duration::from_millis(1) }));
        }
        time.advance(Duration::from_nanos(1));
        assert_eq!(fire(Ok(())), Ok(()));
        assert_eq!(breaker.state(), BreakerState::Closed);
    });
}

fn is_rejected<T>(result: &Result<T, CallError>) -> bool {
    matches!(result, Err(CallError::BreakerOpen { .. }))
}
