//! One read, and as many endpoints as it takes: the preferred one first, the next when it fails, and a second one beside it
//! when it is slower than usual.
//!
//! What is not waited for any more ends by itself, so that an endpoint that hangs is judged by its breaker.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use metrics::counter;
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep_until};

use super::{Answer, Call, Failures, Refusal, Rpc, RpcError, Verdict, endpoint::Endpoint};
use crate::{
    model::Instant,
    resilience::{CallError, CallKind},
};

/// What one endpoint said to some of the calls.
pub(super) struct Said {
    pub(super) endpoint: Arc<Endpoint>,
    /// Which calls these were.
    pub(super) places: Vec<usize>,
    pub(super) outcome: Result<Vec<Result<Value, Refusal>>, CallError>,
}

/// A read under way.
struct Race<'a> {
    rpc: &'a Rpc,
    calls: &'a [Call],
    answers: Vec<Option<Result<Answer, Refusal>>>,
    /// What was answered by whom, where that was nothing; see [`Rpc::find`].
    nothing: Vec<Option<Answer>>,
    /// The part of an answer that is null where an endpoint knows nothing, if that is not to be believed at once.
    sought: Option<&'static str>,
    failures: Failures,
    /// Who was asked and has not answered, in order.
    silent: Vec<Arc<Endpoint>>,
}

impl Rpc {
    /// Reads by calls, at most a batch. Where the part `sought` of an answer is null, the next endpoint is asked as well.
    pub(super) async fn race(&self, calls: &[Call], sought: Option<&'static str>) -> Vec<Result<Answer, RpcError>> {
        let Some(first) = calls.first() else { return Vec::new() };
        let deadline = self.0.clock.instant() + self.0.deadline;
        let mut order = self.order(first.method).into_iter();
        let (answers, nothing, failures) = (vec![None; calls.len()], vec![None; calls.len()], Failures::default());
        let mut race = Race { rpc: self, calls, answers, nothing, sought, failures, silent: Vec::new() };
        let mut running = FuturesUnordered::new();
        self.0.hedges.deposit();
        let Some(mut hedge_at) = race.ask(order.next(), &mut running) else { return race.finish(None) };
        while !running.is_empty() {
            tokio::select! {
                biased;
                Some(said) = running.next() => {
                    race.hear(said);
                    if race.is_over() {
                        break;
                    }
                    // What one endpoint could not say, the next one is asked.
                    if running.is_empty() && let Some(at) = race.ask(order.next(), &mut running) {
                        hedge_at = at;
                    }
                }
                () = sleep_until(hedge_at.min(deadline)) => {
                    if self.0.clock.instant() >= deadline {
                        return race.finish(Some(RpcError::TimedOut));
                    }
                    hedge_at = deadline;
                    if order.len() > 0 && self.0.hedges.withdraw(self.0.clock.instant()) {
                        counter!("tidegate_chain_hedges_total", "chain" => self.0.chain.to_string()).increment(1);
                        race.ask(order.next(), &mut running);
                    }
                }
            }
        }
        race.finish(None)
    }

    /// Whom to ask, in order: those that are behind or of another chain not at all, those that are in trouble last.
    pub(super) fn order(&self, method: &'static str) -> Vec<Arc<Endpoint>> {
        let best = self.best();
        let is_usable = |endpoint: &&Arc<Endpoint>| {
            endpoint.known().barred.is_none() && !best.as_ref().is_some_and(|best| self.lags(endpoint, best))
        };
        let mut order: Vec<_> = self.0.endpoints.iter().filter(is_usable).cloned().collect();
        // Stable: among equals the configured order is the preference.
        order.sort_by_cached_key(|endpoint| {
            let is_behind = best.as_ref().is_some_and(|best| endpoint.has_not_seen(best.heads.latest.number));
            (endpoint.is_open(method), endpoint.is_suspected(), is_behind)
        });
        order
    }

    /// Calls an endpoint in a task of its own.
    pub(super) fn spawn(&self, endpoint: Arc<Endpoint>, places: Vec<usize>, calls: Vec<Call>) -> JoinHandle<Said> {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move {
            let outcome = stop.run_until_cancelled(endpoint.call(CallKind::Idempotent, &calls)).await;
            let stopped = || Err(CallError::Upstream { status: None, detail: "the server is stopping".into() });
            Said { outcome: outcome.unwrap_or_else(stopped), endpoint, places }
        })
    }
}

impl Race<'_> {
    /// Asks an endpoint for what is still unanswered; returns when it will be slower than usual.
    fn ask(
        &mut self,
        endpoint: Option<Arc<Endpoint>>,
        running: &mut FuturesUnordered<JoinHandle<Said>>,
    ) -> Option<Instant> {
        let endpoint = endpoint?;
        let places: Vec<usize> = (0..self.calls.len()).filter(|place| self.answers[*place].is_none()).collect();
        let calls: Vec<Call> = places.iter().map(|place| self.calls[*place].clone()).collect();
        let patience = self.rpc.patience(self.calls[0].method);
        self.silent.push(Arc::clone(&endpoint));
        running.push(self.rpc.spawn(endpoint, places, calls));
        Some(self.rpc.0.clock.instant() + patience)
    }

    fn hear(&mut self, said: Result<Said, tokio::task::JoinError>) {
        // A task that panicked has said nothing.
        let Ok(Said { endpoint, places, outcome }) = said else { return };
        let place = self.silent.iter().position(|silent| Arc::ptr_eq(silent, &endpoint)).unwrap_or_default();
        match outcome {
            Ok(answers) => {
                // Whoever was asked earlier and is silent still may hang.
                self.silent
                    .drain(..=place)
                    .filter(|other| !Arc::ptr_eq(other, &endpoint))
                    .for_each(|other| other.suspect());
                endpoint.trust();
                for (place, answer) in places.into_iter().zip(answers) {
                    self.take(place, answer, &endpoint);
                }
            }
            Err(error) => {
                self.silent.remove(place);
                self.failures.add(&endpoint.name, &error);
            }
        }
    }

    fn take(&mut self, place: usize, answer: Result<Value, Refusal>, endpoint: &Endpoint) {
        match answer {
            Ok(value) => {
                let is_nothing = self.sought.is_some_and(|part| value.pointer(part).is_none_or(Value::is_null));
                let answer = Answer { value, endpoint: Arc::clone(&endpoint.name) };
                if !is_nothing {
                    self.answers[place].get_or_insert(Ok(answer));
                } else if self.rpc.best().is_some_and(|best| endpoint.has_not_seen(best.heads.latest.number)) {
                    self.failures.note(&endpoint.name, &"it is behind, and knows nothing of this".into());
                } else {
                    self.nothing[place].get_or_insert(answer);
                }
            }
            Err(refusal) if refusal.verdict() == Verdict::Final => {
                self.answers[place].get_or_insert(Err(refusal));
            }
            Err(refusal) => self.failures.note(&endpoint.name, &refusal.message),
        }
    }

    fn is_over(&self) -> bool {
        self.answers.iter().all(Option::is_some)
    }

    /// The answers; what has none failed as `because` says, or as the endpoints did. What nobody knew is nothing, once
    /// everybody was asked.
    fn finish(self, because: Option<RpcError>) -> Vec<Result<Answer, RpcError>> {
        let is_complete = because.is_none();
        let because = because.unwrap_or(RpcError::Failed(self.failures));
        let answers = self.answers.into_iter().zip(self.nothing);
        answers
            .map(|(answer, nothing)| match (answer, nothing) {
                (Some(answer), _) => answer.map_err(RpcError::Refused),
                (None, Some(nothing)) if is_complete => Ok(nothing),
                (None, _) => Err(because.clone()),
            })
            .collect()
    }
}
