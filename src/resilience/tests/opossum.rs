//! Opossum's documented behaviour as a table, for what we promise to keep. The differences are in docs/resilience.md.

use std::time::Duration;

use super::{answer, clock, options, status};
use crate::resilience::{Breaker, BreakerEvent, BreakerOptions, BreakerState, CallError};

/// What an upstream does, one letter a step: `.` succeeds, `x` fails with 500, `t` hangs, `4` says 404, `9` says 429,
/// `!` is a fire that must be refused, `+` a second passes, `_` a tenth of a second.
async fn play(breaker: &Breaker, script: &str) {
    for (position, step) in script.chars().enumerate() {
        let result = match step {
            '+' => {
                tokio::time::advance(Duration::from_secs(1)).await;
                continue;
            }
            '_' => {
                tokio::time::advance(Duration::from_millis(100)).await;
                continue;
            }
            't' => breaker.fire(super::hang()).await,
            '.' | '!' => breaker.fire(answer(Ok(()))).await,
            'x' => breaker.fire(answer(Err(status(500)))).await,
            '4' => breaker.fire(answer(Err(status(404)))).await,
            '9' => breaker.fire(answer(Err(CallError::RateLimited { retry_after: None }))).await,
            other => panic!("no such step: {other}"),
        };
        let refused = matches!(result, Err(CallError::BreakerOpen { .. }));
        assert_eq!(refused, step == '!', "{script:?} at {position}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn thresholds_and_states_are_opossums() {
    use BreakerState::{Closed, HalfOpen, Open};
    for (script, percentage, volume, expected, why) in [
        ("", 50, 0, Closed, "a new circuit is closed"),
        ("x", 50, 0, Open, "without a volume threshold one failure of one opens"),
        (".x", 50, 0, Closed, "half is not more than half"),
        (".xx", 50, 0, Open, "two thirds are"),
        ("x", 100, 0, Closed, "no share exceeds all"),
        (".........x", 0, 0, Open, "a threshold of zero opens on any failure"),
        ("xx", 50, 3, Closed, "the volume threshold holds it closed"),
        ("xxx", 50, 3, Open, "and is reached, not exceeded"),
        ("..xxx", 50, 5, Open, "successes count towards the volume"),
        ("xx.", 50, 3, Closed, "only a failure opens"),
        ("xx.x", 50, 3, Open, "as it then does"),
        ("ttt", 50, 3, Open, "timeouts are failures"),
        ("999", 50, 3, Open, "429 is a failure"),
        ("444444", 50, 3, Closed, "what the error filter forgives is a success"),
        ("xxx!!!", 50, 3, Open, "an open circuit refuses"),
        ("xxx_________!", 50, 3, Open, "until the reset timeout has passed"),
        ("xxx+", 50, 3, HalfOpen, "then it is half-open, without traffic"),
        ("xxx+.", 50, 3, Closed, "a success closes it"),
        ("xxx+4", 50, 3, Closed, "so does an error that the filter forgives"),
        ("xxx+x!", 50, 3, Open, "a failure opens it, whatever the volume"),
        ("xxx+t!", 50, 3, Open, "so does a timeout"),
        ("xxx+x+.", 50, 3, Closed, "and the next reset timeout half-opens again"),
        ("xxx+.xx", 50, 3, Open, "the probe's success counts in the new window"),
        ("xxx+.x", 50, 3, Closed, "but what came before the trip does not"),
        ("xx++++++++++x", 50, 3, Closed, "the window forgets"),
        ("xx+++++++++x", 50, 3, Open, "but not before its time"),
    ] {
        let options = BreakerOptions { error_threshold_percentage: percentage, volume_threshold: volume, ..options() };
        let breaker = Breaker::new("x", options, clock());
        play(&breaker, script).await;
        assert_eq!(breaker.state(), expected, "{script:?}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_circuit_counts_and_lets_everything_through() {
    let breaker = Breaker::new("x", BreakerOptions { enabled: false, ..options() }, clock());
    play(&breaker, "xxxxxxxxxx.").await;
    assert_eq!((breaker.state(), breaker.read().0.failures), (BreakerState::Closed, 10));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_warms_up_forgives_its_first_window() {
    let breaker = Breaker::new("x", BreakerOptions { allow_warm_up: true, ..options() }, clock());
    play(&breaker, "xxxxxxxxx+++++++++xxx").await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    play(&breaker, "+x").await;
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_full_circuit_refuses_without_counting_a_failure() {
    let breaker = Breaker::new("x", BreakerOptions { capacity: 1, ..options() }, clock());
    let mut events = breaker.events();
    let mut first = Box::pin(breaker.fire(super::hang()));
    assert!(super::poll_once(first.as_mut()).await.is_none());
    for _ in 0..10 {
        assert_eq!(breaker.fire(answer(Ok(()))).await, Err(CallError::Saturated));
    }
    drop(first);
    breaker.fire(answer(Ok(()))).await.unwrap();
    let (window, ..) = breaker.read();
    assert_eq!((window.saturated, window.failures, window.successes), (10, 0, 1));
    assert_eq!(events.recv().await.unwrap().event, BreakerEvent::Fire);
    assert_eq!(events.recv().await.unwrap().event, BreakerEvent::SemaphoreLocked);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_failures_and_refusals_but_not_forgiven_errors() {
    let breaker = Breaker::new("x", options(), clock());
    let mut events = breaker.events();
    for error in [status(500), CallError::Timeout, status(502)] {
        assert_eq!(breaker.fire_or(answer(Err(error)), |_| 7).await, Ok(7));
    }
    assert_eq!(breaker.fire_or(answer(Ok(1)), |_| 7).await, Ok(7), "the circuit is open");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(breaker.fire_or(answer(Err(status(404))), |_| 7).await, Err(status(404)));
    assert_eq!(breaker.fire_or(answer(Ok(1)), |_| 7).await, Ok(1));
    let mut fallbacks = 0;
    while let Ok(event) = events.try_recv() {
        fallbacks += usize::from(event.event == BreakerEvent::Fallback);
    }
    assert_eq!(fallbacks, 4);
}

#[tokio::test(start_paused = true)]
async fn events_come_in_opossums_order() {
    use BreakerEvent::{Close, Failure, Fire, HalfOpen, Open, Reject, Success, Timeout};
    let breaker = Breaker::new("x", options(), clock());
    let mut events = breaker.events();
    play(&breaker, "xtx!+.").await;
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        assert_eq!(&*event.upstream, "x");
        seen.push(event.event);
    }
    let expected = [Fire, Failure, Fire, Timeout, Failure, Fire, Failure, Open, Reject, HalfOpen, Fire, Success, Close];
    assert_eq!(seen, expected);
}
