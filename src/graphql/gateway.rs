//! The front door: one request's way from text to answer.
//!
//! document → plan → variables → admission → response cache → execution. Every transport comes through here.

use std::{sync::Arc, time::Duration};

use async_graphql::{Variables, parser::types::OperationType};
use tracing::Instrument;

use super::{
    Answer, Caller, ErrorCode, Frame, Frames, GraphqlRequest, LimitState, Outcome, Permit, RequestId,
    admission::{Admission, Verdict},
    answers::{AnswerCache, Answers, Finished},
    context::{Errand, Services},
    error::Refusal,
    execution::Executor,
    live::Live,
    meters::Meters,
    persisted::{Documents, TrustedDocumentsError},
    plan::{Plan, PlanLimits, Plans, SchemaError, SchemaIndex},
    schema,
};
use crate::{
    config::{GraphqlConfig, LimitsConfig, Secret},
    limits::Limiter,
    model::Clock,
};

const NO_STORE: &str = "no-store";

/// Answers GraphQL requests; clones share everything.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    documents: Documents,
    plans: Plans,
    admission: Admission,
    answers: Answers,
    executor: Executor,
    live: Live,
    clock: Clock,
    meters: Meters,
}

/// Why the front door cannot open.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The schema contradicts itself.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The trusted documents cannot be used.
    #[error(transparent)]
    TrustedDocuments(#[from] TrustedDocumentsError),
    /// A limit is overridden that no field has.
    #[error("{setting} = {policy}: expected a field with @rateLimit, such as {example}")]
    UnknownLimit {
        /// The setting.
        setting: &'static str,
        /// The field as given.
        policy: String,
        /// A field that has one.
        example: Arc<str>,
    },
}

/// A request that is ready to run.
struct Ready {
    plan: Arc<Plan>,
    variables: Variables,
    limits: Vec<LimitState>,
    errand: Errand,
}

impl Gateway {
    /// Opens the front door.
    ///
    /// # Errors
    /// A schema whose directives contradict themselves, trusted documents that cannot be used, or a limit that is
    /// overridden and does not exist.
    pub fn new(
        config: &GraphqlConfig,
        limits: &LimitsConfig,
        services: Services,
        limiter: Limiter,
        kept: AnswerCache,
    ) -> Result<Self, GatewayError> {
        let index = Arc::new(SchemaIndex::read(&schema::sdl())?);
        check_overrides(limits, &index)?;
        let validator = schema::validator(config.introspection);
        let clock = services.clock.clone();
        let second_factors = services.auth.second_factors.clone();
        let admission = Admission { limiter, second_factors, clock: clock.clone() };
        let executor = Executor::new(services, Duration::from_millis(config.execution_timeout_ms));
        Ok(Self(Arc::new(Inner {
            documents: Documents::new(config)?,
            plans: Plans::new(index, validator, PlanLimits::from(config), config.plan_cache_bytes),
            admission,
            answers: Answers::new(kept, clock.clone()),
            clock,
            meters: Meters::new(),
            live: Live::new(executor.clone(), config.max_live_groups),
            executor,
        })))
    }

    /// Answers a query or a mutation.
    pub async fn execute(&self, mut request: GraphqlRequest, caller: &Caller, permit: Permit) -> Answer {
        match self.0.documents.find(&mut request) {
            Ok(document) => self.perform(&document, request, caller, permit).await,
            Err(refusal) => refused(&refusal, Vec::new(), caller),
        }
    }

    /// The same for a document that need not be found: it is trusted, or of our own.
    pub(super) async fn perform(
        &self,
        document: &str,
        request: GraphqlRequest,
        caller: &Caller,
        permit: Permit,
    ) -> Answer {
        match self.ready(document, request, caller, permit).await {
            Ok(ready) if ready.plan.kind == OperationType::Subscription => {
                let message = "a subscription needs a WebSocket or an event stream";
                let refusal = Refusal::new(ErrorCode::BadUserInput, message);
                Answer { outcome: Outcome::SubscriptionNotPermitted, ..refused(&refusal, ready.limits, caller) }
            }
            Ok(ready) => self.run(ready, caller).await,
            Err(answer) => answer,
        }
    }

    /// Starts or joins a subscription. A query or mutation gives its one answer as a frame.
    ///
    /// # Errors
    /// The answer with which the operation was refused.
    pub async fn stream(&self, mut request: GraphqlRequest, caller: &Caller, permit: Permit) -> Result<Frames, Answer> {
        let found = self.0.documents.find(&mut request);
        let document = found.map_err(|refusal| refused(&refusal, Vec::new(), caller))?;
        self.follow(&document, request, caller, permit).await
    }

    /// The same for a document that need not be found.
    pub(super) async fn follow(
        &self,
        document: &str,
        request: GraphqlRequest,
        caller: &Caller,
        permit: Permit,
    ) -> Result<Frames, Answer> {
        let ready = self.ready(document, request, caller, permit).await?;
        if ready.plan.kind == OperationType::Subscription {
            let (plan, principal) = (&ready.plan, caller.principal.as_ref());
            let followed = self.0.live.follow(plan, ready.variables, principal, &caller.request_id);
            self.0.meters.followed();
            return followed.map_err(|refusal| refused(&refusal, ready.limits, caller));
        }
        let answer = self.run(ready, caller).await;
        match answer.outcome {
            Outcome::Executed => {
                let frame = Frame::Next(answer.body);
                Ok(Box::pin(futures_util::stream::once(std::future::ready(frame))))
            }
            _ => Err(answer),
        }
    }

    /// The answer to a request that a transport cannot take in.
    #[must_use]
    pub fn refuse(&self, code: ErrorCode, message: &str, request_id: &RequestId) -> Answer {
        refusal_answer(&Refusal::new(code, message), Vec::new(), request_id)
    }

    /// The documents of the list of trusted ones, in no order.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.documents.trusted()
    }

    /// The plan of a document with one operation.
    pub(super) async fn plan(&self, document: &str) -> Result<Arc<Plan>, Arc<Refusal>> {
        self.0.plans.plan(document, None).await
    }

    /// Everything before execution: which plan, whether permitted, whether admitted.
    async fn ready(
        &self,
        document: &str,
        request: GraphqlRequest,
        caller: &Caller,
        permit: Permit,
    ) -> Result<Ready, Answer> {
        let refuse = |refusal: &Refusal| refused(refusal, Vec::new(), caller);
        let planned = self.0.plans.plan(document, request.operation_name.as_deref()).await;
        let plan = planned.map_err(|refusal| refuse(&refusal))?;
        if plan.kind == OperationType::Mutation && permit == Permit::Queries {
            let refusal = Refusal::new(ErrorCode::BadUserInput, "a mutation needs POST");
            return Err(Answer { outcome: Outcome::MutationNotPermitted, ..refuse(&refusal) });
        }
        let variables = plan.variables(request.variables).map_err(|refusal| refuse(&refusal))?;
        let errand = errand(request.idempotency_key, request.step_up, caller).map_err(|refusal| refuse(&refusal))?;
        let step_up = errand.step_up.as_ref().map(Secret::expose);
        match self.0.admission.admit(&plan, &variables, caller, step_up).await {
            Verdict { refusal: None, limits } => Ok(Ready { plan, variables, limits, errand }),
            Verdict { refusal: Some(refusal), limits } => Err(refused(&refusal, limits, caller)),
        }
    }

    async fn run(&self, ready: Ready, caller: &Caller) -> Answer {
        // At the level of errors, so that an internal error has its request's id whatever else is logged.
        let span = tracing::error_span!("operation", request_id = %caller.request_id);
        self.finish(ready, caller).instrument(span).await
    }

    async fn finish(&self, ready: Ready, caller: &Caller) -> Answer {
        let Ready { plan, variables, limits, errand } = ready;
        let (principal, start) = (caller.principal.as_ref(), self.0.clock.instant());
        let Finished { executed, age } =
            match self.0.answers.answer(&self.0.executor, &plan, variables, principal, errand).await {
                Ok(finished) => finished,
                Err(refusal) => return refused(&refusal, limits, caller),
            };
        self.0.meters.answered(plan.kind, age.is_some(), self.0.clock.instant() - start);
        Answer {
            outcome: Outcome::Executed,
            body: executed.body(&caller.request_id),
            cache_control: executed.policy.header(),
            age,
            limits,
            retry_after: None,
        }
    }
}

/// What a change is told of its request.
fn errand(idempotency_key: Option<String>, step_up: Option<Secret>, caller: &Caller) -> Result<Errand, Refusal> {
    let visible = |key: &String| (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !idempotency_key.as_ref().is_none_or(visible) {
        let message = "an idempotency key must have 1 to 255 visible ASCII characters";
        return Err(Refusal::new(ErrorCode::BadUserInput, message));
    }
    Ok(Errand { origin: caller.origin.clone(), request_id: caller.request_id.clone(), idempotency_key, step_up })
}

/// An override that meets no field would leave the limit as it is, and nobody would notice.
fn check_overrides(limits: &LimitsConfig, index: &SchemaIndex) -> Result<(), GatewayError> {
    let limited = index.limited();
    let replaced = limits.overrides.iter().map(|to| ("limits.overrides", &to.policy));
    let excepted = limits.on_outage_overrides.iter().map(|to| ("limits.on_outage_overrides", &to.policy));
    for (setting, policy) in replaced.chain(excepted) {
        if !limited.iter().any(|coordinate| **coordinate == **policy) {
            let example = limited.into_iter().next().unwrap_or_default();
            return Err(GatewayError::UnknownLimit { setting, policy: policy.clone(), example });
        }
    }
    Ok(())
}

fn refused(refusal: &Refusal, limits: Vec<LimitState>, caller: &Caller) -> Answer {
    refusal_answer(refusal, limits, &caller.request_id)
}

fn refusal_answer(refusal: &Refusal, limits: Vec<LimitState>, request_id: &RequestId) -> Answer {
    Meters::refused(refusal.code);
    Answer {
        outcome: Outcome::Refused(refusal.code),
        body: refusal.body(request_id),
        cache_control: NO_STORE.to_owned(),
        age: None,
        limits,
        retry_after: refusal.retry_after,
    }
}
