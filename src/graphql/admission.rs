//! Whether an operation may run now.
//!
//! The order, and why: auth first, because nobody may learn of a limit that is not theirs; the role before the second
//! factor, because the role needs no database. Rate limits next, so that
//! whatever follows has been paid for. Cost last, as the one check that needs neither caller nor clock. Only then is
//! the response cache looked at: a cached answer is as protected as a fresh one and costs the same tokens.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_graphql::{PathSegment, ServerError, Variables, parser::types::OperationType};

use super::{
    Caller, ErrorCode, LimitState,
    error::{ApiError, Refusal},
    plan::{Demand, Plan},
};
use crate::{
    auth::SecondFactors,
    limits::{self, Decision, Limiter, Policy, Standing},
    model::{Clock, Role},
};

/// Decides who may run what.
pub(crate) struct Admission {
    pub(crate) limiter: Limiter,
    pub(crate) second_factors: SecondFactors,
    pub(crate) clock: Clock,
}

/// What admission says.
pub(crate) struct Verdict {
    pub(crate) refusal: Option<Refusal>,
    /// What is left of every limit that was drawn from.
    pub(crate) limits: Vec<LimitState>,
}

impl Admission {
    /// Decides whether the caller, who may have sent a step-up token, may run the plan with these variables.
    pub(crate) async fn admit(
        &self,
        plan: &Plan,
        variables: &Variables,
        caller: &Caller,
        step_up: Option<&str>,
    ) -> Verdict {
        let demands: Vec<&Demand> = plan.demands.iter().filter(|demand| demand.is_selected(variables)).collect();
        let refusal = match unauthorised(&demands, caller) {
            None if plan.kind == OperationType::Mutation => self.unproven(&demands, caller, step_up).await,
            refusal => refusal,
        };
        if refusal.is_some() {
            return Verdict { refusal, limits: Vec::new() };
        }
        let (refusal, limits) = draw(&self.limiter, &demands, caller).await;
        Verdict { refusal: refusal.or_else(|| plan.excess.clone()), limits }
    }

    /// What only ADMIN may change needs a second factor, asked for once however many such fields there are.
    async fn unproven(&self, demands: &[&Demand], caller: &Caller, step_up: Option<&str>) -> Option<Refusal> {
        let demand = demands.iter().find(|demand| demand.requires == Some(Role::Admin))?;
        let principal = caller.principal.as_ref()?;
        let refused = self.second_factors.demand(principal, step_up, self.clock.now()).await.err()?;
        Some(ApiError::from(refused).refusal(error_at(demand, String::new())))
    }
}

fn unauthorised(demands: &[&Demand], caller: &Caller) -> Option<Refusal> {
    let role = caller.principal.as_ref().map(|principal| principal.role);
    let refused = demands.iter().filter(|demand| demand.requires.is_some_and(|required| role < Some(required)));
    let errors: Vec<ServerError> = refused
        .map(|demand| {
            let message = match demand.requires {
                Some(required) if role.is_some() => format!("{} needs the role {required}", demand.coordinate),
                _ => format!("{} needs a token", demand.coordinate),
            };
            error_at(demand, message)
        })
        .collect();
    let code = if role.is_none() { ErrorCode::Unauthenticated } else { ErrorCode::Forbidden };
    if errors.is_empty() { None } else { Some(Refusal::many(code, errors)) }
}

async fn draw(limiter: &Limiter, demands: &[&Demand], caller: &Caller) -> (Option<Refusal>, Vec<LimitState>) {
    let mut draws: BTreeMap<&Arc<str>, (limits::Demand, &Demand)> = BTreeMap::new();
    for demand in demands {
        let Some(limit) = demand.limit else { continue };
        let entry = draws.entry(&demand.coordinate).or_insert_with(|| {
            let name = Arc::clone(&demand.coordinate);
            let policy = Policy { name, limit: limit.limit, window: limit.window };
            (limits::Demand { policy, cost: 0 }, demand)
        });
        entry.0.cost = entry.0.cost.saturating_add(1);
    }
    if draws.is_empty() {
        return (None, Vec::new());
    }
    let wanted: Vec<limits::Demand> = draws.values().map(|(demand, _)| demand.clone()).collect();
    let payer = limits::Caller::new(caller.principal.as_ref(), caller.origin.address);
    match limiter.check(&payer, &wanted).await {
        Decision::Allowed { states } => (None, states.into_iter().map(state).collect()),
        Decision::Refused { standing, states, retry_after } => {
            let refused = draws.get(&standing.name).map(|(_, demand)| *demand);
            (Some(limited(&standing, refused, retry_after)), states.into_iter().map(state).collect())
        }
    }
}

fn limited(standing: &Standing, refused: Option<&Demand>, wait: Duration) -> Refusal {
    let seconds = standing.window.as_secs();
    let message = format!("{} allows {} selections in {seconds} seconds", standing.name, standing.quota);
    let error = match refused {
        Some(demand) => error_at(demand, message),
        None => ServerError::new(message, None),
    };
    Refusal::many(ErrorCode::RateLimited, vec![error]).retry_after(wait)
}

fn error_at(demand: &Demand, message: String) -> ServerError {
    let mut error = ServerError::new(message, Some(demand.at));
    error.path = demand.path.iter().map(|key| PathSegment::Field(key.to_string())).collect();
    error
}

fn state(standing: Standing) -> LimitState {
    LimitState {
        name: standing.name,
        quota: standing.quota,
        window: standing.window,
        remaining: standing.remaining,
        reset: standing.reset,
    }
}
