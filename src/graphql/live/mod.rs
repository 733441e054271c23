//! Live groups: a subscription that many follow runs once.
//!
//! A group is a plan, its variables in one spelling, and whose eyes it is seen with. One task runs it and turns each
//! event into bytes once; every follower gets the same bytes. Of events that supersede each other (ticks of a coin) a
//! slow follower gets the newest; all others come in order and each once, or the follower is ended and told to resume
//! (`events.rs`). The last follower to leave ends the task, and with it the subscription on the bus.
//!
//! A group that goes on from a cursor is joined only while it still has everything since that cursor; afterwards the
//! same cursor starts another one.

mod events;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
};

use async_graphql::{Response, Value, Variables};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use metrics::counter;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::events::{Events, Follower, Taken};
use super::{
    ErrorCode, Frame, Frames, RequestId,
    context::Standing,
    error::{Refusal, complete_body, partial_body},
    execution::Executor,
    plan::Plan,
};
use crate::model::Principal;

/// The groups of this node.
#[derive(Clone)]
pub(crate) struct Live(Arc<Groups>);

struct Groups {
    executor: Executor,
    running: Mutex<Running>,
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

/// What runs now.
#[derive(Default)]
struct Running {
    by_key: HashMap<GroupKey, Weak<Group>>,
    /// Groups that still have followers, also those that others under the same key have replaced.
    groups: usize,
}

impl Live {
    pub(crate) fn new(executor: Executor, max_groups: usize) -> Self {
        // Shown from the start; not set, as other servers of the process count into it too.
        metrics::gauge!("tidegate_live_groups").increment(0.0);
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
        found = running.by_key.get(&key).and_then(Weak::upgrade);
        if let Some(group) = &found
            && let Some(follower) = group.events.join()
        {
            return Ok(frames(Arc::clone(group), follower, request_id.clone()));
        }
        if running.groups >= self.0.limit {
            let message = "this node runs as many subscriptions as it may";
            return Err(Refusal::new(ErrorCode::UpstreamUnavailable, message));
        }
        let events = Arc::new(Events::new());
        let follower = events.join().expect("a group that has just begun has everything");
        let group = self.start(key.clone(), events, plan, variables, principal, request_id.clone());
        running.by_key.insert(key, Arc::downgrade(&group));
        running.groups += 1;
        metrics::gauge!("tidegate_live_groups").increment(1.0);
        Ok(frames(group, follower, request_id.clone()))
    }

    fn start(
        &self,
        key: GroupKey,
        events: Arc<Events>,
        plan: &Plan,
        variables: Variables,
        principal: Option<&Principal>,
        request_id: RequestId,
    ) -> Arc<Group> {
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
        running.groups -= 1;
        // A successor under the same key may already run.
        if running.by_key.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            running.by_key.remove(&self.key);
        }
    }
}

/// Runs the source to its end, or its panic: without a word about that the followers would wait for ever.
async fn run(source: impl Stream<Item = (Response, Standing)>, events: Arc<Events>, request_id: RequestId) {
    let delivered = AssertUnwindSafe(deliver(source, &events, &request_id)).catch_unwind().await;
    // The panic hook has logged it.
    events.end(delivered.unwrap_or_else(|_panic| Some(Refusal::internal().list(&request_id))));
}

/// Passes events on until there are no more; returns the errors that ended them, if any did.
async fn deliver(
    source: impl Stream<Item = (Response, Standing)>,
    events: &Events,
    request_id: &RequestId,
) -> Option<Bytes> {
    let mut source = std::pin::pin!(source);
    while let Some((response, standing)) = source.next().await {
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
        events.push(standing, frame).await;
    }
    None
}

/// The frames of a follower: first what there is for a newcomer, then each as it comes.
fn frames(group: Arc<Group>, mut follower: Follower, request_id: RequestId) -> Frames {
    Box::pin(async_stream::stream! {
        // Held for as long as somebody follows.
        let _group = group;
        loop {
            let Taken::Frames(frames, more) = follower.take() else {
                yield Frame::Error(left_behind(&request_id));
                return;
            };
            for frame in frames {
                yield frame;
            }
            if !more {
                return;
            }
            follower.changed().await;
        }
    })
}

/// Ends a follower that did not read in time: better told than served with a hole.
fn left_behind(request_id: &RequestId) -> Bytes {
    counter!("tidegate_live_left_behind_total").increment(1);
    let message = "events were not read in time: subscribe again with `after` set to the last cursor that came";
    Refusal::new(ErrorCode::Timeout, message).list(request_id)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_source_that_panics_ends_its_group_with_an_error() {
        let events = Arc::new(Events::new());
        let mut follower = events.join().unwrap();
        let source = stream::poll_fn(|_| panic!("broken"));
        run(source, Arc::clone(&events), RequestId("r".into())).await;
        let Taken::Frames(frames, more) = follower.take() else { panic!("behind") };
        assert!(!more);
        assert!(matches!(&frames[..], [Frame::Error(errors)] if errors.starts_with(b"[{")), "{frames:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_who_does_not_read_in_time_is_told_to_come_back() {
        let events = Arc::new(Events::new());
        let key = GroupKey { document: [0; 32], operation: None, variables: String::new(), subject: None };
        let task = CancellationToken::new().drop_guard();
        let group = Arc::new(Group { events: Arc::clone(&events), key, groups: Weak::new(), _task: task });
        let mut idle = frames(Arc::clone(&group), events.join().unwrap(), RequestId("r".into()));
        for _ in 0..2_000 {
            events.push(Standing::default(), Bytes::from_static(b"{}")).await;
        }
        let Some(Frame::Error(errors)) = idle.next().await else { panic!("nothing is wrong") };
        let errors: serde_json::Value = serde_json::from_slice(&errors).unwrap();
        assert_eq!(errors[0]["extensions"]["code"], "TIMEOUT");
        assert!(errors[0]["message"].as_str().unwrap().contains("`after`"), "{errors}");
        assert!(idle.next().await.is_none());
    }
}
