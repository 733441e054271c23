//! What is told of tools while a request stays open: that their list has changed, and how far a call has come. Both are
//! subscriptions of the contract.

use std::future::ready;

use futures_util::{Stream, StreamExt};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, json};
use uuid::Uuid;

use super::{
    ToolError,
    outcome::{Envelope, first_error},
};
use crate::graphql::{Caller, Frame, Frames, Gateway, GraphqlRequest, Permit};

const EVENTS: &str = "subscription { mcpServerEvents { kind } }";

const PROGRESS: &str = "subscription ($run: ID!) { mcpToolProgress(runId: $run) { progress total message finished } }";

/// How far a call has come.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ToolProgress {
    /// By the server's word; grows.
    pub progress: f64,
    /// How far it will come, where the server knows.
    pub total: Option<f64>,
    /// What the server is doing.
    pub message: Option<String>,
    /// The call is over.
    finished: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Happened {
    mcp_server_events: Event,
}

#[derive(Deserialize)]
struct Event {
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    mcp_tool_progress: ToolProgress,
}

/// Something for each time that the list of servers' tools may have changed. Who must not know of them is refused.
pub(super) async fn changes(
    gateway: &Gateway,
    caller: &Caller,
) -> Result<impl Stream<Item = ()> + Send + use<>, ToolError> {
    let frames = gateway.follow(EVENTS, GraphqlRequest::default(), caller, Permit::Queries).await;
    let frames = frames.map_err(|answer| {
        let (code, message) = first_error(&answer);
        ToolError::Unheard { code, message }
    })?;
    // Tools of a server that is down stay listed.
    let changed =
        |Happened { mcp_server_events: Event { kind } }| ready((kind != "UP" && kind != "DOWN").then_some(()));
    Ok(events(frames).filter_map(changed))
}

/// How a call comes along that is about to be made. Nothing where that cannot be followed: the call is made all the same.
pub(super) async fn progress(
    gateway: &Gateway,
    caller: &Caller,
    run: Uuid,
) -> Option<impl Stream<Item = ToolProgress> + Send + use<>> {
    let variables = Map::from_iter([("run".to_owned(), json!(run))]);
    let request = GraphqlRequest { variables, ..GraphqlRequest::default() };
    let frames = gateway.follow(PROGRESS, request, caller, Permit::Queries).await.ok()?;
    let going_on = |Told { mcp_tool_progress: told }| ready((!told.finished).then_some(told));
    Some(events(frames).filter_map(going_on))
}

fn events<T: DeserializeOwned + Send>(frames: Frames) -> impl Stream<Item = T> + Send {
    frames.filter_map(|frame| {
        let body = match &frame {
            Frame::Next(body) => body,
            // Whoever follows asks again when it ends.
            Frame::Error(_) => return ready(None),
        };
        ready(serde_json::from_slice::<Envelope<T>>(body).ok().and_then(|read| read.data))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::GraphqlConfig, graphql::FrontHalf};

    #[tokio::test]
    async fn the_documents_fit_the_schema() {
        let front = FrontHalf::new(&GraphqlConfig::defaults());
        for (document, variables) in [(EVENTS, json!({})), (PROGRESS, json!({"run": Uuid::nil()}))] {
            let variables = variables.as_object().unwrap().clone();
            assert_eq!(front.run(document, variables).await, Ok(()), "{document}");
        }
    }
}
