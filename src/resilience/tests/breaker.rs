//! What an operator can do to a breaker, and what a breaker does under a long random load.

use std::time::Duration;

use super::{answer, clock, hang, options, poll_once, status};
use crate::resilience::{Breaker, BreakerEvent, BreakerOptions, BreakerState, CallError, Forced};

async fn fail(breaker: &Breaker, times: usize) {
    for _ in 0..times {
        let _ = breaker.fire(answer(Err::<(), _>(status(500)))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_upstream_trips_in_bounded_time() {
    let clock = clock();
    let started = clock.instant();
    let breaker = Breaker::new("x", options(), clock);
    while breaker.state() == BreakerState::Closed {
        assert_eq!(breaker.fire(hang()).await, Err(CallError::Timeout));
    }
    assert_eq!(started.elapsed(), options().timeout * 3);
    let (window, ..) = breaker.read();
    assert_eq!((window.failures, window.timeouts), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_asks_for_keeps_the_breaker_open_up_to_a_limit() {
    for (asked, expected) in [(None, 1), (Some(0), 1), (Some(60), 60), (Some(86_400), 300)] {
        let breaker = Breaker::new("x", options(), clock());
        let limited = CallError::RateLimited { retry_after: asked.map(Duration::from_secs) };
        for _ in 0..3 {
            let _ = breaker.fire(answer(Err::<(), _>(limited.clone()))).await;
        }
        let refused = breaker.fire(answer(Ok(()))).await;
        assert_eq!(refused, Err(CallError::BreakerOpen { retry_after: Duration::from_secs(expected) }), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_errors_count_as_successes() {
    let breaker = Breaker::new("x", options(), clock());
    for _ in 0..100 {
        assert_eq!(breaker.fire(answer(Err::<(), _>(status(404)))).await, Err(status(404)));
    }
    assert_eq!((breaker.state(), breaker.read().0.successes), (BreakerState::Closed, 100));
}

#[tokio::test(start_paused = true)]
async fn what_guards_further_in_refuse_is_no_verdict() {
    let breaker = Breaker::new("x", options(), clock());
    let refused = CallError::BreakerOpen { retry_after: Duration::from_secs(9) };
    for error in [CallError::Saturated, refused] {
        for _ in 0..10 {
            let _ = breaker.fire(answer(Err::<(), _>(error.clone()))).await;
        }
    }
    assert_eq!((breaker.state(), breaker.read().0.finished()), (BreakerState::Closed, 0));
    fail(&breaker, 3).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let _ = breaker.fire(answer(Err::<(), _>(CallError::Saturated))).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "nor does it decide for a probe");
}

#[tokio::test(start_paused = true)]
async fn an_operator_forces_open_and_closed_and_resets() {
    let breaker = Breaker::new("x", options(), clock());
    breaker.force(Forced::Open);
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(breaker.state(), BreakerState::Open, "time does not end what was forced");
    assert!(breaker.fire(answer(Ok(()))).await.is_err());
    breaker.force(Forced::Closed);
    fail(&breaker, 100).await;
    assert_eq!((breaker.state(), breaker.read().0.failures), (BreakerState::Closed, 100));
    breaker.reset();
    assert_eq!((breaker.view().forced, breaker.read().0.failures), (None, 0));
    fail(&breaker, 3).await;
    assert_eq!(breaker.state(), BreakerState::Open, "the breaker judges again");
    breaker.reset();
    breaker.fire(answer(Ok(()))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_from_before_a_reset_do_not_count_after_it() {
    let breaker = Breaker::new("x", BreakerOptions { volume_threshold: 1, ..options() }, clock());
    let mut slow = Box::pin(breaker.fire(hang()));
    assert!(poll_once(slow.as_mut()).await.is_none());
    breaker.reset();
    assert_eq!(slow.await, Err(CallError::Timeout));
    assert_eq!((breaker.state(), breaker.read().0.failures), (BreakerState::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn half_open_is_announced_without_traffic() {
    let breaker = Breaker::new("x", options(), clock());
    fail(&breaker, 3).await;
    let mut events = breaker.events();
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert!(events.try_recv().is_err());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(events.recv().await.unwrap().event, BreakerEvent::HalfOpen);
    assert!(events.try_recv().is_err(), "once");
}

/// A model of what a breaker may do, run against a million random events: calls start, finish in any order, are
/// cancelled, and time passes. Every change of state must have been decided by a call of the current stretch.
#[tokio::test(start_paused = true)]
async fn a_million_random_events_see_no_result_decide_out_of_its_time() {
    let (steps, clock) = (1_000_000, clock());
    let options = BreakerOptions { volume_threshold: 5, capacity: usize::MAX, ..options() };
    let gate = super::super::gate::Gate::new(options, clock.clone(), super::herald());
    let mut load = load::Load::new(&gate, clock, 20_261_121);
    for step in 0..steps {
        load.step(step).await;
    }
    let seen = load.seen();
    assert!(seen.opened > 1_000 && seen.closed > 500 && seen.late > 10_000, "the load is too tame: {seen:?}");
}

mod load {
    use std::time::Duration;

    use crate::{
        model::Clock,
        resilience::{
            BreakerState,
            gate::{Gate, Pass},
            ledger::Finish,
            window::Tally,
        },
    };

    /// What happened during a load.
    #[derive(Debug, Clone, Copy, Default)]
    pub(super) struct Seen {
        pub(super) opened: usize,
        pub(super) closed: usize,
        pub(super) late: usize,
    }

    /// A call under way, and the stretch between two changes in which it was let through.
    struct Call {
        pass: Pass,
        stretch: usize,
        is_probe: bool,
    }

    pub(super) struct Load<'a> {
        gate: &'a Gate,
        clock: Clock,
        random: fastrand::Rng,
        /// The upstream's mood.
        failing_percent: u8,
        calls: Vec<Call>,
        state: BreakerState,
        /// Grows with every change of state that was seen.
        stretch: usize,
        seen: Seen,
    }

    impl<'a> Load<'a> {
        pub(super) fn new(gate: &'a Gate, clock: Clock, seed: u64) -> Self {
            let random = fastrand::Rng::with_seed(seed);
            let state = BreakerState::Closed;
            Self {
                gate,
                clock,
                random,
                failing_percent: 10,
                calls: Vec::new(),
                state,
                stretch: 0,
                seen: Seen::default(),
            }
        }

        pub(super) fn seen(&self) -> Seen {
            self.seen
        }

        pub(super) async fn step(&mut self, step: usize) {
            match self.random.u8(0..100) {
                0..50 => self.start(step),
                50..85 => self.finish(step),
                85..89 => self.cancel(step),
                89 => self.failing_percent = if self.random.bool() { 90 } else { 10 },
                _ => {
                    tokio::time::advance(Duration::from_millis(self.random.u64(0..300))).await;
                    let state = self.gate.view().state;
                    if state != self.state {
                        assert_eq!((self.state, state), (BreakerState::Open, BreakerState::HalfOpen), "step {step}");
                        self.enter(state);
                    }
                }
            }
        }

        fn start(&mut self, step: usize) {
            if self.calls.len() > 200 {
                return;
            }
            let probing = self.calls.iter().any(|call| call.is_probe && call.stretch == self.stretch);
            let admitted = self.gate.admit(self.clock.instant());
            let may_pass = match self.state {
                BreakerState::Closed => true,
                // A lease that ran out may pass a second probe; the first one's stretch is then over.
                BreakerState::HalfOpen => !probing || admitted.is_ok(),
                BreakerState::Open => false,
            };
            assert_eq!(admitted.is_ok(), may_pass, "step {step}");
            let Ok(pass) = admitted else { return };
            let is_probe = self.state == BreakerState::HalfOpen;
            if is_probe && probing {
                self.stretch += 1;
            }
            self.calls.push(Call { pass, stretch: self.stretch, is_probe });
            self.expect(self.state, step);
        }

        fn finish(&mut self, step: usize) {
            if self.calls.is_empty() {
                return;
            }
            let call = self.calls.swap_remove(self.random.usize(0..self.calls.len()));
            let tally = if self.random.u8(0..100) < self.failing_percent { Tally::Failure } else { Tally::Success };
            let at = self.clock.instant();
            self.gate.settle(call.pass, Finish { at, took: Duration::from_millis(1), tally }, None);
            let state = self.gate.view().state;
            if call.stretch != self.stretch {
                self.seen.late += 1;
                self.expect(self.state, step);
                return;
            }
            match (self.state, tally) {
                (BreakerState::HalfOpen | BreakerState::Closed, Tally::Success) => {
                    assert_eq!(state, BreakerState::Closed, "step {step}");
                }
                (BreakerState::HalfOpen, _) => assert_eq!(state, BreakerState::Open, "step {step}"),
                (BreakerState::Closed, _) => assert_ne!(state, BreakerState::HalfOpen, "step {step}"),
                (BreakerState::Open, _) => panic!("step {step}: a call of an open stretch"),
            }
            if state != self.state {
                self.enter(state);
            }
        }

        fn cancel(&mut self, step: usize) {
            if !self.calls.is_empty() {
                let call = self.calls.swap_remove(self.random.usize(0..self.calls.len()));
                self.gate.abandon(call.pass);
                self.expect(self.state, step);
            }
        }

        fn expect(&self, state: BreakerState, step: usize) {
            assert_eq!(self.gate.view().state, state, "step {step}: a result out of its time decided");
        }

        fn enter(&mut self, state: BreakerState) {
            self.state = state;
            self.stretch += 1;
            match state {
                BreakerState::Open => self.seen.opened += 1,
                BreakerState::Closed => self.seen.closed += 1,
                BreakerState::HalfOpen => {}
            }
        }
    }
}
