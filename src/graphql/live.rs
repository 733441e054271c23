//! Live groups: a subscription that many follow runs once.
//!
//! A group is a plan, its variables in one spelling, and whose eyes it is seen with. One task runs it and turns each
//! event into bytes once; every follower gets the same bytes. Followers never hold the task up: for each topic only
//! the newest event is kept, and a follower who was slow goes on from there. The last follower to leave ends the
//! task, and with it the subscription on the bus.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
};

use async_graphql::{Response, Value, Variables};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    ErrorCode, Frame, Frames, RequestId,
    error::{Refusal, complete_body, partial_body},
    execution::Executor,
    plan::Plan,
};
use crate::model::Principal;

/// Most superseded topics that a group remembers the newest event of; more than any operation can name.
const MAX_TOPICS: usize = 4_096;

/// The groups of this node.
#[derive(Clone)]
pub(crate) struct Live(Arc<Groups>);

struct Groups {
    executor: Executor,
    running: Mutex<HashMap<GroupKey, Weak<Group>>>,
    limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    document: [u8; 32],
    operation: Option<String>,
    variables: String,
    /// The subject, where the events are only theirs.
    subject: Option<Arc<str>>,
}

/// What followers hold on to; its end is the end of the task.
struct Group {
    events: Arc<Events>,
    key: GroupKey,
    groups: Weak<Groups>,
    _task: DropGuard,
}

/// The newest event of each topic, in the order they came.
struct Events {
    state: Mutex<State>,
    /// The number of the newest event; followers wait for it to grow.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    sequence: u64,
    by_topic: HashMap<Option<Arc<str>>, (u64, Bytes)>,
    ended: bool,
    error: Option<Bytes>,
}

impl Live {
    pub(crate) fn new(executor: Executor, max_groups: usize) -> Self {
        metrics::gauge!("tidegate_live_groups").set(0.0);
        Self(Arc::new(Groups { executor, running: Mutex::default(), limit: max_groups }))
    }

    /// Follows a subscription, starting it if nobody does yet.
    pub(crate) fn follow(
        &self,
        plan: &Plan,
        variables: Variables,
        principal: Option<&Principal>,
        request_id: &RequestId,
    ) -> Result<Frames, Refusal> {
        let key = GroupKey {
            document: plan.document_hash,
            operation: plan.operation_name.as_ref().map(ToString::to_string),
            variables: plan.canonical(&variables),
            subject: principal.filter(|_| plan.cache.private).map(|principal| Arc::clone(&principal.subject)),
        };
        // Declared before the lock, so that a group whose last holder this is ends after the lock is released.
        let found;
        let mut running = self.0.running.lock();
        found = running.get(&key).and_then(Weak::upgrade);
        if let Some(group) = &found
            && !group.events.state.lock().ended
        {
            return Ok(frames(Arc::clone(group)));
        }
        if running.len() >= self.0.limit {
            let message = "this node runs as many subscriptions as it may";
            return Err(Refusal::new(ErrorCode::UpstreamUnavailable, message));
        }
        let group = self.start(key.clone(), plan, variables, principal, request_id.clone());
        running.insert(key, Arc::downgrade(&group));
        metrics::gauge!("tidegate_live_groups").increment(1.0);
        Ok(frames(group))
    }

    fn start(
        &self,
        key: GroupKey,
        plan: &Plan,
        variables: Variables,
        principal: Option<&Principal>,
        request_id: RequestId,
    ) -> Arc<Group> {
        let events = Arc::new(Events { state: Mutex::default(), newest: watch::Sender::new(0) });
        let stop = CancellationToken::new();
        let source = self.0.executor.subscribe(plan, variables, principal);
        tokio::spawn(stop.clone().run_until_cancelled_owned(run(source, Arc::clone(&events), request_id)));
        Arc::new(Group { events, key, groups: Arc::downgrade(&self.0), _task: stop.drop_guard() })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(groups) = self.groups.upgrade() else { return };
        let mut running = groups.running.lock();
        metrics::gauge!("tidegate_live_groups").decrement(1.0);
        // A successor under the same key may already run.
        if running.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            running.remove(&self.key);
        }
    }
}

/// Runs the source to its end, or its panic: without a word about that the followers would wait for ever.
async fn run(source: impl Stream<Item = (Response, Option<Arc<str>>)>, events: Arc<Events>, request_id: RequestId) {
    let delivered = AssertUnwindSafe(deliver(source, &events, &request_id)).catch_unwind().await;
    // The panic hook has logged it.
    events.end(delivered.unwrap_or_else(|_panic| Some(Refusal::internal().list(&request_id))));
}

/// Passes events on until there are no more; returns the errors that ended them, if any did.
async fn deliver(
    source: impl Stream<Item = (Response, Option<Arc<str>>)>,
    events: &Events,
    request_id: &RequestId,
) -> Option<Bytes> {
    let mut source = std::pin::pin!(source);
    while let Some((response, topic)) = source.next().await {
        if response.data == Value::Null && !response.errors.is_empty() {
            // The source could not start, or its one non-null field failed: nothing further can come of it.
            let refusal = Refusal { code: ErrorCode::BadUserInput, errors: response.errors, retry_after: None };
            return Some(refusal.list(request_id));
        }
        let frame = if response.errors.is_empty() {
            complete_body(&response.data)
        } else {
            partial_body(&response.data, response.errors, request_id)
        };
        events.push(topic, frame);
    }
    None
}

impl Events {
    fn push(&self, topic: Option<Arc<str>>, frame: Bytes) {
        let mut state = self.state.lock();
        state.sequence += 1;
        let sequence = state.sequence;
        if state.by_topic.len() < MAX_TOPICS || state.by_topic.contains_key(&topic) {
            state.by_topic.insert(topic, (sequence, frame));
        }
        drop(state);
        self.newest.send_replace(sequence);
    }

    fn end(&self, error: Option<Bytes>) {
        let mut state = self.state.lock();
        state.ended = true;
        state.error = error;
        state.sequence += 1;
        let sequence = state.sequence;
        drop(state);
        self.newest.send_replace(sequence);
    }

    /// What came after an event, oldest first, the newest number, and whether more can come.
    fn since(&self, seen: u64) -> (Vec<Frame>, u64, bool) {
        let state = self.state.lock();
        let mut newer: Vec<_> = state.by_topic.values().filter(|(sequence, _)| *sequence > seen).cloned().collect();
        newer.sort_unstable_by_key(|(sequence, _)| *sequence);
        let frames = newer.into_iter().map(|(_, frame)| Frame::Next(frame));
        let last = state.error.clone().map(Frame::Error);
        (frames.chain(last).collect(), state.sequence, state.ended)
    }
}

/// The frames of a follower: first the newest event of each topic, then each as it comes.
fn frames(group: Arc<Group>) -> Frames {
    let mut newest = group.events.newest.subscribe();
    Box::pin(async_stream::stream! {
        let mut seen = 0;
        loop {
            newest.borrow_and_update();
            let (frames, upto, ended) = group.events.since(seen);
            seen = upto;
            for frame in frames {
                yield frame;
            }
            if ended || newest.changed().await.is_err() {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_source_that_panics_ends_its_group_with_an_error() {
        let events = Arc::new(Events { state: Mutex::default(), newest: watch::Sender::new(0) });
        let source = stream::poll_fn(|_| panic!("broken"));
        run(source, Arc::clone(&events), RequestId("r".into())).await;
        let (frames, _, ended) = events.since(0);
        assert!(ended);
        assert!(matches!(&frames[..], [Frame::Error(errors)] if errors.starts_with(b"[{")), "{frames:?}");
    }
}
