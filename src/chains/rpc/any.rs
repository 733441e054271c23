//! A question that any one endpoint can answer with yes, and only all of them with no.

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tokio::time::timeout_at;

use super::{Call, Failures, Rpc, RpcError, race::Said};

impl Rpc {
    /// Whether the answer of any endpoint that keeps up satisfies. Those that fail say nothing; where all do, that is an
    /// error.
    pub(in crate::chains) async fn any(
        &self,
        call: &Call,
        satisfies: impl Fn(&Value) -> bool + Send,
    ) -> Result<bool, RpcError> {
        let order = self.order(call.method).into_iter();
        let mut running: FuturesUnordered<_> =
            order.map(|endpoint| self.spawn(endpoint, vec![0], vec![call.clone()])).collect();
        let deadline = self.0.clock.instant() + self.0.deadline;
        let (mut failures, mut said_no) = (Failures::default(), false);
        while let Ok(Some(said)) = timeout_at(deadline, running.next()).await {
            let Ok(Said { endpoint, outcome, .. }) = said else { continue };
            match outcome.map(|mut answers| answers.pop()) {
                Ok(Some(Ok(value))) if satisfies(&value) => return Ok(true),
                Ok(Some(Ok(_))) => said_no = true,
                Ok(Some(Err(refusal))) => failures.note(&endpoint.name, &refusal.message),
                Ok(None) => {}
                Err(error) => failures.add(&endpoint.name, &error),
            }
        }
        if said_no { Ok(false) } else { Err(RpcError::Failed(failures)) }
    }
}
