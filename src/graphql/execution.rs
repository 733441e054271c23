//! Running a planned operation.

use std::{panic::AssertUnwindSafe, time::Duration};

use async_graphql::{Request, Response, ServerError, Value, Variables, parser::types::OperationType};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::sleep_until;

use super::{
    ErrorCode, RequestId,
    context::{Errand, Scope, Services, Standing},
    error::{Refusal, complete_body, partial_body},
    loaders::Loaders,
    plan::{CachePolicy, Plan},
    schema::{self, Executable},
};
use crate::{cache::Tag, model::Principal};

/// Runs operations that were planned and admitted.
#[derive(Clone)]
pub(crate) struct Executor {
    schema: Executable,
    services: Services,
    timeout: Duration,
}

/// What came of an execution.
#[derive(Debug, Clone)]
pub(crate) struct Executed {
    payload: Payload,
    pub(crate) policy: CachePolicy,
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Clone)]
enum Payload {
    /// No errors: the same bytes for everybody, made once.
    Complete(Bytes),
    /// The errors name the request that they are told to.
    Partial { data: Value, errors: Vec<ServerError> },
}

impl Executed {
    pub(crate) fn body(&self, request_id: &RequestId) -> Bytes {
        match &self.payload {
            Payload::Complete(body) => body.clone(),
            Payload::Partial { data, errors } => partial_body(data, errors.clone(), request_id),
        }
    }

    /// Bytes that the answer takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        match &self.payload {
            Payload::Complete(body) => body.len(),
            // Not kept, so never weighed for long.
            Payload::Partial { errors, .. } => 1_024 * errors.len(),
        }
    }
}

impl Executor {
    pub(crate) fn new(services: Services, timeout: Duration) -> Self {
        Self { schema: schema::executable(services.clone()), services, timeout }
    }

    /// Runs a query or mutation to its end, its deadline or its panic.
    pub(crate) async fn execute(
        &self,
        plan: &Plan,
        variables: Variables,
        principal: Option<&Principal>,
        errand: Option<Errand>,
    ) -> Result<Executed, Refusal> {
        let scope = self.scope(plan, principal, errand);
        let run = self.schema.execute(request(plan, variables, &scope));
        let driven = AssertUnwindSafe(scope.loaders().turns().drive(run)).catch_unwind();
        tokio::select! {
            biased;
            done = driven => match done {
                Ok(response) => Ok(executed(plan, response, &scope)),
                // The panic hook has logged it.
                Err(_panic) => Err(Refusal::internal()),
            },
            () = self.patience(&scope) => Err(Refusal::new(ErrorCode::Timeout, "the operation took too long")),
        }
    }

    /// Ends when an operation that begins now has had its time, and what it was granted besides.
    async fn patience(&self, scope: &Scope) {
        let began = self.services.clock.instant();
        let mut allowed = Duration::ZERO;
        while allowed < self.timeout + scope.granted() {
            allowed = self.timeout + scope.granted();
            sleep_until(began + allowed).await;
        }
    }

    /// Starts a subscription. Each item is one event's response, and what it is to slow readers.
    pub(crate) fn subscribe(
        &self,
        plan: &Plan,
        variables: Variables,
        principal: Option<&Principal>,
    ) -> impl Stream<Item = (Response, Standing)> + Send + use<> {
        let scope = self.scope(plan, principal, None);
        let mut events = self.schema.execute_stream(request(plan, variables, &scope));
        async_stream::stream! {
            while let Some(response) = scope.loaders().turns().drive(events.next()).await {
                yield (response, scope.take_standing());
            }
        }
    }

    /// The caller is passed on only where the answer is not shared.
    fn scope(&self, plan: &Plan, principal: Option<&Principal>, errand: Option<Errand>) -> Scope {
        let is_shared = plan.kind != OperationType::Mutation && !plan.cache.private;
        let visible = principal.filter(|_| !is_shared).cloned();
        Scope::new(Loaders::new(self.services.prices.clone(), self.services.chains.clone()), visible, errand)
    }
}

fn request(plan: &Plan, variables: Variables, scope: &Scope) -> Request {
    let document = plan.executable(&variables);
    let mut request = Request::new("").variables(variables).data(scope.clone());
    request.set_parsed_query(document);
    request
}

fn executed(plan: &Plan, response: Response, scope: &Scope) -> Executed {
    let mut policy = plan.cache;
    policy.restrict(scope.max_age().min(policy.max_age()), false);
    let payload = if response.errors.is_empty() {
        Payload::Complete(complete_body(&response.data))
    } else {
        policy.restrict(0, false);
        Payload::Partial { data: response.data, errors: response.errors }
    };
    Executed { payload, policy, tags: scope.take_tags() }
}
