//! Writes: one endpoint after the other, never two at once.

use std::sync::Arc;

use serde_json::Value;

use super::{Call, Failures, Refusal, Rpc, Verdict, endpoint::Endpoint};
use crate::resilience::{CallError, CallKind};

/// What came of giving a write to one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chains) enum Handed {
    /// The endpoint has taken it.
    Taken(Value),
    /// The chain itself says no.
    Refused(Refusal),
    /// The endpoint cannot have taken it.
    NotTaken,
    /// It may have.
    Unclear,
}

/// Endpoints that a write can be given to, in the order of preference.
pub(in crate::chains) struct Takers<'a> {
    rpc: &'a Rpc,
    order: std::vec::IntoIter<Arc<Endpoint>>,
    /// Why those before could not.
    pub(in crate::chains) failures: Failures,
}

impl Rpc {
    /// Whom a write can be given to. The caller decides after each one whether the next may have it, too.
    pub(in crate::chains) fn takers(&self, method: &'static str) -> Takers<'_> {
        Takers { rpc: self, order: self.order(method).into_iter(), failures: Failures::default() }
    }
}

impl Takers<'_> {
    /// Gives the write to the next endpoint. None when there is no other. In a task of its own: whoever goes away does not
    /// break it off in the middle.
    pub(in crate::chains) async fn hand(&mut self, call: &Call) -> Option<(Arc<str>, Handed)> {
        let endpoint = self.order.next()?;
        let (name, call) = (Arc::clone(&endpoint.name), call.clone());
        let handing = self.rpc.0.tasks.spawn(async move { endpoint.call(CallKind::Once, &[call]).await });
        let handed = match handing.await {
            Ok(Ok(mut answers)) => match answers.pop() {
                Some(Ok(value)) => Handed::Taken(value),
                Some(Err(refusal)) if refusal.verdict() == Verdict::Final => Handed::Refused(refusal),
                Some(Err(refusal)) => {
                    self.failures.note(&name, &refusal.message);
                    Handed::NotTaken
                }
                None => Handed::Unclear,
            },
            Ok(Err(error)) => {
                self.failures.add(&name, &error);
                match error {
                    CallError::BreakerOpen { .. } | CallError::Saturated | CallError::RateLimited { .. } => {
                        Handed::NotTaken
                    }
                    CallError::Timeout | CallError::Upstream { .. } | CallError::Decode { .. } => Handed::Unclear,
                }
            }
            Err(_panicked) => Handed::Unclear,
        };
        Some((name, handed))
    }
}
