//! One read that several endpoints must agree on.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tokio::time::timeout_at;

use super::{Answer, Call, Failures, Refusal, Rpc, RpcError, race::Said};

/// How many endpoints said the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chains) struct Agreement {
    /// Endpoints that were asked.
    pub(in crate::chains) asked: usize,
    /// Endpoints that gave this answer.
    pub(in crate::chains) agreed: usize,
}

impl Agreement {
    /// Of one endpoint, which was believed.
    pub(in crate::chains) const ALONE: Self = Self { asked: 1, agreed: 1 };
}

/// An answer and who else gave it.
type Opinion = (Result<Value, Refusal>, Vec<Arc<str>>);

impl Rpc {
    /// Reads by calls of one method, at most a batch. Each answer is one that more than half of the chain's endpoints
    /// gave, and at least two, as far as the part that `judged` points to is concerned.
    pub(super) async fn poll_all(
        &self,
        calls: &[Call],
        judged: &'static str,
    ) -> Vec<Result<(Answer, Agreement), RpcError>> {
        let Some(first) = calls.first() else { return Vec::new() };
        let order = self.order(first.method);
        let (asked, needed) = (order.len(), (self.0.endpoints.len() / 2 + 1).max(2));
        if asked < needed {
            return vec![Err(RpcError::TooFew { needed, usable: asked }); calls.len()];
        }
        let places: Vec<usize> = (0..calls.len()).collect();
        let mut running: FuturesUnordered<_> =
            order.into_iter().map(|endpoint| self.spawn(endpoint, places.clone(), calls.to_vec())).collect();
        let deadline = self.0.clock.instant() + self.0.deadline;
        let (mut opinions, mut failures) = (vec![Vec::<Opinion>::new(); calls.len()], Failures::default());
        while let Ok(Some(said)) = timeout_at(deadline, running.next()).await {
            let Ok(Said { endpoint, outcome, .. }) = said else { continue };
            match outcome {
                Ok(answers) => {
                    for (opinions, answer) in opinions.iter_mut().zip(answers) {
                        take(opinions, answer, &endpoint.name, judged);
                    }
                }
                Err(error) => failures.add(&endpoint.name, &error),
            }
            if opinions.iter().all(|opinions| winner(opinions, needed).is_some()) {
                break;
            }
        }
        opinions.iter().map(|opinions| settle(opinions, asked, needed, &failures)).collect()
    }
}

fn take(opinions: &mut Vec<Opinion>, answer: Result<Value, Refusal>, endpoint: &Arc<str>, judged: &str) {
    let same = |opinion: &&mut Opinion| match (&opinion.0, &answer) {
        (Ok(known), Ok(value)) => known.pointer(judged) == value.pointer(judged),
        // Nodes word the same refusal differently.
        (Err(known), Err(refusal)) => known.code == refusal.code,
        _ => false,
    };
    match opinions.iter_mut().find(same) {
        Some((_, names)) => names.push(Arc::clone(endpoint)),
        None => opinions.push((answer, vec![Arc::clone(endpoint)])),
    }
}

fn winner(opinions: &[Opinion], needed: usize) -> Option<&Opinion> {
    opinions.iter().find(|(_, names)| names.len() >= needed)
}

fn settle(
    opinions: &[Opinion],
    asked: usize,
    needed: usize,
    failures: &Failures,
) -> Result<(Answer, Agreement), RpcError> {
    match winner(opinions, needed) {
        Some((Ok(value), names)) => {
            let answer = Answer { value: value.clone(), endpoint: Arc::clone(&names[0]) };
            Ok((answer, Agreement { asked, agreed: names.len() }))
        }
        Some((Err(refusal), _)) => Err(RpcError::Refused(refusal.clone())),
        None if opinions.len() > 1 => {
            let agreed = opinions.iter().map(|(_, names)| names.len()).max().unwrap_or_default();
            Err(RpcError::Disagreement(Agreement { asked, agreed }))
        }
        None => Err(RpcError::Failed(failures.clone())),
    }
}
