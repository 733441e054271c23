//! One upstream's circuit breaker: opossum's options and events on `failsafe`'s state machine.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{
    BreakerEvent, BreakerOptions, BreakerState, CallError, Counts, Forced, LastError, Latency, UpstreamEvent,
    bulkhead::{Bulkhead, Slot},
    events::Events,
    gate::{Gate, Pass, View},
    herald::Herald,
    ledger::Finish,
    window::Tally,
};
use crate::model::{Clock, Instant};

/// A circuit breaker; clones share it.
#[derive(Debug, Clone)]
pub struct Breaker(Arc<Core>);

struct Core {
    clock: Clock,
    timeout: Duration,
    error_filter: fn(&CallError) -> bool,
    bulkhead: Bulkhead,
    gate: Gate,
    last_error: Mutex<Option<LastError>>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, options: BreakerOptions, clock: Clock) -> Self {
        Self::with_events(name.into(), options, clock, Events::new())
    }

    pub(super) fn with_events(name: Arc<str>, options: BreakerOptions, clock: Clock, events: Events) -> Self {
        Self(Arc::new(Core {
            timeout: options.timeout,
            error_filter: options.error_filter,
            bulkhead: Bulkhead::new(options.capacity),
            gate: Gate::new(options, clock.clone(), Herald::new(name, events)),
            clock,
            last_error: Mutex::new(None),
        }))
    }

    /// Makes one try, if there is room and the breaker lets it through.
    ///
    /// Nothing is allocated and no timer is touched for a call that is ready at once.
    pub async fn fire<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let _slot = self.enter()?;
        self.attempt(call, self.0.timeout).await
    }

    /// As [`Breaker::fire`], and `fallback` answers instead of an error that counts as a failure or a refusal.
    ///
    /// An error that the filter forgives is the upstream's honest answer, so it is not papered over.
    pub async fn fire_or<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
        fallback: impl FnOnce(CallError) -> T,
    ) -> Result<T, CallError> {
        match self.fire(call).await {
            Err(error) if is_refusal(&error) || !(self.0.error_filter)(&error) => {
                self.0.gate.herald().emit(BreakerEvent::Fallback);
                Ok(fallback(error))
            }
            answer => answer,
        }
    }

    /// Listens to this breaker. A listener that is slow is told how many events it missed.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<UpstreamEvent> {
        self.0.gate.herald().subscribe()
    }

    /// Whether calls go through now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.view().state
    }

    /// Opens or closes whatever comes back, until [`Breaker::reset`].
    pub fn force(&self, forced: Forced) {
        self.0.gate.force(forced);
    }

    /// Ends what was forced; closes, with an empty window.
    pub fn reset(&self) {
        self.0.gate.reset();
    }

    /// A place in the bulkhead.
    pub(super) fn enter(&self) -> Result<Slot<'_>, CallError> {
        self.0.bulkhead.enter().ok_or_else(|| self.saturated())
    }

    /// Refuses like an attempt would, without making one.
    pub(super) fn check(&self) -> Result<(), CallError> {
        let now = self.0.clock.instant();
        self.0.gate.refusal(now).map_or(Ok(()), |retry_after| Err(self.rejected(now, retry_after)))
    }

    /// Whether an attempt would be refused now.
    pub(super) fn refuses(&self) -> bool {
        self.0.gate.refusal(self.0.clock.instant()).is_some()
    }

    /// Makes one try of at most `timeout`, outside the bulkhead.
    pub(super) async fn attempt<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let core = &*self.0;
        let started = core.clock.instant();
        let pass = core.gate.admit(started).map_err(|retry_after| self.rejected(started, retry_after))?;
        core.gate.herald().emit(BreakerEvent::Fire);
        let trial = Trial { breaker: self, pass, started };
        let outcome = within(call, started + timeout).await;
        trial.finish(&outcome);
        outcome
    }

    pub(super) fn view(&self) -> View {
        self.0.gate.view()
    }

    pub(super) fn last_error(&self) -> Option<LastError> {
        self.0.last_error.lock().clone()
    }

    pub(super) fn bulkhead(&self) -> &Bulkhead {
        &self.0.bulkhead
    }

    pub(super) fn read(&self) -> (Counts, Counts, Latency) {
        self.0.gate.ledger().read(self.0.clock.instant())
    }

    #[cold]
    fn saturated(&self) -> CallError {
        self.0.gate.ledger().record_saturated(self.0.clock.instant());
        self.0.gate.herald().emit(BreakerEvent::SemaphoreLocked);
        CallError::Saturated
    }

    #[cold]
    fn rejected(&self, now: Instant, retry_after: Duration) -> CallError {
        self.0.gate.ledger().record_reject(now);
        self.0.gate.herald().emit(BreakerEvent::Reject);
        CallError::BreakerOpen { retry_after }
    }

    #[cold]
    fn note_failure(&self, error: &CallError) {
        let note = LastError { at: self.0.clock.now(), detail: error.to_string().into() };
        *self.0.last_error.lock() = Some(note);
    }

    /// Sees to it that half-open is announced on time even when nobody calls.
    fn announce_half_open_at(&self, until: Instant) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let core: Weak<Core> = Arc::downgrade(&self.0);
            runtime.spawn(async move {
                tokio::time::sleep_until(until).await;
                if let Some(core) = core.upgrade() {
                    core.gate.observe();
                }
            });
        }
    }
}

/// A try under way. Dropping it unfinished, because its caller went away or it panicked, gives no verdict.
struct Trial<'a> {
    breaker: &'a Breaker,
    pass: Pass,
    started: Instant,
}

impl Trial<'_> {
    fn finish<T>(self, outcome: &Result<T, CallError>) {
        let core = &*self.breaker.0;
        let (tally, retry_after) = match outcome {
            Ok(_) => (Tally::Success, None),
            // Refused by a guard further in: nothing was learned about the upstream. The drop gives the pass back.
            Err(error) if is_refusal(error) => return,
            Err(error) if (core.error_filter)(error) => (Tally::Success, None),
            Err(CallError::Timeout) => (Tally::Timeout, None),
            Err(error) => (Tally::Failure, error.retry_after()),
        };
        if let (Err(error), Tally::Failure | Tally::Timeout) = (outcome, tally) {
            self.breaker.note_failure(error);
        }
        core.gate.herald().emit_result(tally);
        let at = core.clock.instant();
        let finish = Finish { at, took: at - self.started, tally };
        let opened_until = core.gate.settle(self.pass, finish, retry_after);
        if let Some(until) = opened_until {
            self.breaker.announce_half_open_at(until);
        }
        std::mem::forget(self);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.breaker.0.gate.abandon(self.pass);
    }
}

/// Whether one of our own guards said no, so that nothing was sent.
fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::BreakerOpen { .. } | CallError::Saturated)
}

/// Polls `call` once before any timer is armed: a call that is ready costs none.
async fn within<T>(call: impl Future<Output = Result<T, CallError>>, deadline: Instant) -> Result<T, CallError> {
    let mut call = pin!(call);
    if let Poll::Ready(outcome) = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        return outcome;
    }
    tokio::time::timeout_at(deadline, call).await.unwrap_or(Err(CallError::Timeout))
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.gate.view().state;
        f.debug_struct("Breaker")
            .field("name", &self.gate.herald().name())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
