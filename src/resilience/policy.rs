//! How one upstream is called. The order of the guards is written here and nowhere else.

use std::{sync::Arc, time::Duration};

use super::{
    CallError, Forced, Latency, PolicyOptions, RateHint, UpstreamStatus,
    breaker::Breaker,
    events::Events,
    meters::Meters,
    retry::{RetryBudget, backoff},
    throttle::Throttle,
};
use crate::model::{Chance, Clock, Instant};

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Making it twice does no harm: it may be retried.
    Idempotent,
    /// It must be made at most once.
    Once,
}

/// How one upstream is called; clones share their state.
#[derive(Debug, Clone)]
pub struct CallPolicy(Arc<Guards>);

#[derive(Debug)]
struct Guards {
    name: Arc<str>,
    clock: Clock,
    chance: Chance,
    options: PolicyOptions,
    breaker: Breaker,
    budget: RetryBudget,
    throttle: Throttle,
    meters: Meters,
}

impl CallPolicy {
    pub(super) fn new(name: Arc<str>, options: PolicyOptions, clock: Clock, chance: Chance, events: Events) -> Self {
        let now = clock.instant();
        Self(Arc::new(Guards {
            breaker: Breaker::with_events(Arc::clone(&name), options.breaker.clone(), clock.clone(), events),
            budget: RetryBudget::new(&options.retry, now),
            throttle: Throttle::new(options.throttle.clone(), options.breaker.retry_after_limit, now),
            meters: Meters::new(&name),
            name,
            clock,
            chance,
            options,
        }))
    }

    /// Makes a call under the policy; `attempt` starts one try.
    ///
    /// Ends within the policy's deadline, whatever the upstream does. The guards, outside in:
    /// bulkhead, breaker, deadline, retry, pace, and the breaker's books with the timeout around each try.
    pub async fn call<T, Fut>(&self, kind: CallKind, attempt: impl FnMut() -> Fut) -> Result<T, CallError>
    where
        Fut: Future<Output = Result<T, CallError>>,
    {
        let guards = &*self.0;
        let started = guards.clock.instant();
        let result = guards.call(kind, started, attempt).await;
        guards.meters.record(&result, guards.clock.instant() - started);
        result
    }

    /// Slows down as the upstream's rate headers ask.
    pub fn heed(&self, hint: RateHint) {
        self.0.throttle.heed(self.0.clock.instant(), hint);
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the breaker would refuse a call now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.breaker.refuses()
    }

    /// How long the tries in the window took.
    #[must_use]
    pub fn latency(&self) -> Latency {
        self.0.breaker.read().2
    }

    pub(super) fn force(&self, forced: Forced) {
        self.0.breaker.force(forced);
    }

    pub(super) fn reset(&self) {
        self.0.breaker.reset();
    }

    pub(super) fn status(&self) -> UpstreamStatus {
        let guards = &*self.0;
        let view = guards.breaker.view();
        let (window, total, latency) = guards.breaker.read();
        let bulkhead = guards.breaker.bulkhead();
        let pause = guards.throttle.pause(guards.clock.instant());
        UpstreamStatus {
            name: Arc::clone(&guards.name),
            state: view.state,
            forced: view.forced,
            window,
            total,
            latency,
            in_flight: bulkhead.in_flight(),
            capacity: bulkhead.capacity(),
            rate_per_second: guards.throttle.per_second(),
            retry_after: view.retry_after.max(pause),
            last_error: guards.breaker.last_error(),
            opened_at: view.opened_at,
            changed_at: view.changed_at,
        }
    }
}

impl Guards {
    async fn call<T, Fut>(
        &self,
        kind: CallKind,
        started: Instant,
        mut attempt: impl FnMut() -> Fut,
    ) -> Result<T, CallError>
    where
        Fut: Future<Output = Result<T, CallError>>,
    {
        // The bulkhead is outermost: a call keeps its place while it waits, so waiting is bounded too.
        let _slot = self.breaker.enter()?;
        let _in_flight = self.meters.in_flight();
        // An open breaker answers at once, before anything is waited for. It is asked again for each try.
        self.breaker.check()?;
        self.budget.deposit();
        // The deadline cuts no future off. It bounds every wait and every timeout below, so that a try that hangs
        // is always judged by the breaker and never just dropped.
        let deadline = started + self.options.deadline;
        let mut tries = 1;
        loop {
            let error = match self.one_try(deadline, &mut attempt).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(wait) = self.wait_before_retry(kind, tries, &error, deadline) else { return Err(error) };
            self.meters.retry();
            tokio::time::sleep(wait).await;
            tries += 1;
        }
    }

    async fn one_try<T, Fut>(&self, deadline: Instant, attempt: &mut impl FnMut() -> Fut) -> Result<T, CallError>
    where
        Fut: Future<Output = Result<T, CallError>>,
    {
        let place = self
            .throttle
            .queue(self.clock.instant(), self.longest_wait(deadline))
            .map_err(|wait| CallError::RateLimited { retry_after: Some(wait) })?;
        if !place.wait.is_zero() {
            tokio::time::sleep(place.wait).await;
        }
        place.leave();
        let left = self.clock.instant();
        let timeout = self.options.breaker.timeout.min(deadline - left);
        let result = self.breaker.attempt(attempt(), timeout).await;
        self.throttle.learn(left, self.clock.instant(), &result);
        result
    }

    /// How long to wait for another try, if there shall be one.
    fn wait_before_retry(&self, kind: CallKind, tries: u32, error: &CallError, deadline: Instant) -> Option<Duration> {
        let options = &self.options.retry;
        if kind == CallKind::Once || tries >= options.max_tries || !error.is_retryable() || self.breaker.refuses() {
            return None;
        }
        let wait = backoff(options, &self.chance, tries, error.retry_after());
        // The budget comes last, so that only retries that are made are paid for.
        (wait <= self.longest_wait(deadline) && self.budget.withdraw(self.clock.instant())).then_some(wait)
    }

    /// A try that could not run for half its time is not begun: it would only blame the upstream for our waiting.
    fn longest_wait(&self, deadline: Instant) -> Duration {
        let whole_try = self.options.breaker.timeout.min(self.options.deadline);
        deadline.saturating_duration_since(self.clock.instant()).saturating_sub(whole_try / 2)
    }
}
