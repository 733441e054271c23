//! The operations of one socket: started, polled in turn, cancelled at once.

use std::{collections::HashMap, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{AbortHandle, Abortable, FuturesUnordered, StreamFuture, abortable},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::protocol::OperationId;
use crate::{
    config::Secret,
    graphql::{Answer, Caller, ErrorCode, Frame, GraphqlRequest, Permit},
    http::{Front, arrival::Arrival, meters::Present, refusal::Refusal},
    model::Principal,
};

/// What an operation produces.
#[derive(Debug)]
pub(super) enum Event {
    /// A result.
    Next(Bytes),
    /// The operation ended with these errors, a JSON list.
    Failed(Bytes),
    /// The operation panicked, which is our fault.
    Panicked,
}

pub(super) type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

type SignIn = Box<dyn Fn(Option<String>) -> BoxFuture<'static, Result<Option<Principal>, Refusal>> + Send>;
type Start = Box<dyn Fn(GraphqlRequest, Option<Principal>) -> Events + Send>;
type Errors = Box<dyn Fn(ErrorCode, &str) -> Bytes + Send>;

/// The gateway and the authenticator, as one socket sees them: functions, so that tests can stand in for them.
pub(super) struct Service {
    /// Who the token belongs to.
    pub(super) sign_in: SignIn,
    /// Starts an operation; it only does something when polled.
    pub(super) start: Start,
    /// Errors in the one shape they have, as a list.
    pub(super) errors: Errors,
}

impl Service {
    /// The functions that ask `front` on behalf of `arrival`.
    pub(super) fn new(front: &Arc<Front>, arrival: &Arrival) -> Self {
        let (signing, starting, refusing) = (Arc::clone(front), Arc::clone(front), Arc::clone(front));
        let (caller, request_id, address) = (arrival.clone(), arrival.request_id.clone(), arrival.origin.address);
        let shown: Arc<Mutex<Option<Secret>>> = Arc::default();
        let remembered = Arc::clone(&shown);
        Self {
            sign_in: Box::new(move |authorization| {
                let front = Arc::clone(&signing);
                *remembered.lock() = authorization.clone().map(Secret::from);
                async move { Ok(front.authenticator.authenticate_from(authorization.as_deref(), address).await?) }
                    .boxed()
            }),
            start: Box::new(move |request, principal| {
                let shown = principal.as_ref().and_then(|_| shown.lock().clone());
                run(Arc::clone(&starting), request, caller.caller(principal), shown).boxed()
            }),
            errors: Box::new(move |code, message| errors_of(&refusing.gateway.refuse(code, message, &request_id))),
        }
    }
}

/// What was shown when the socket was opened is looked at again: it may have been revoked since.
fn run(
    front: Arc<Front>,
    request: GraphqlRequest,
    caller: Caller,
    shown: Option<Secret>,
) -> impl Stream<Item = Event> + Send {
    async_stream::stream! {
        let gateway = &front.gateway;
        if let Some(shown) = shown
            && let Err(error) = front.authenticator.authenticate_from(Some(shown.expose()), caller.origin.address).await
        {
            let refusal = Refusal::from(error);
            let answer = gateway.refuse(refusal.code(), refusal.message(), &caller.request_id);
            yield Event::Failed(errors_of(&answer));
            return;
        }
        let patience = Duration::from_millis(front.config.request_timeout_ms);
        match timeout(patience, gateway.stream(request, &caller, Permit::QueriesAndMutations)).await {
            Ok(Ok(mut frames)) => {
                while let Some(frame) = frames.next().await {
                    yield match frame {
                        Frame::Next(result) => Event::Next(result),
                        Frame::Error(errors) => Event::Failed(errors),
                    };
                }
            }
            Ok(Err(answer)) => yield Event::Failed(errors_of(&answer)),
            Err(_) => {
                let answer = gateway.refuse(ErrorCode::Timeout, "the operation took too long", &caller.request_id);
                yield Event::Failed(errors_of(&answer));
            }
        }
    }
}

/// The list inside of `{"errors": […]}`.
fn errors_of(answer: &Answer) -> Bytes {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        errors: &'a RawValue,
    }
    let body: Body<'_> = serde_json::from_slice(&answer.body).expect("refusals have a list of errors");
    Bytes::copy_from_slice(body.errors.get().as_bytes())
}

/// A running operation, outside of the set while its last result waits in the queue.
pub(super) struct Operation {
    pub(super) id: OperationId,
    /// Tells it from an earlier one with the same id.
    serial: u64,
    events: Abortable<Events>,
    _present: Present,
}

/// The operations of a socket. Each is polled only when something woke it, in the order of waking, and not again before
/// its last result was taken: a busy one cannot starve the others.
#[derive(Default)]
pub(super) struct Operations {
    polled: FuturesUnordered<StreamFuture<Operation>>,
    active: HashMap<OperationId, Active>,
    serials: u64,
}

struct Active {
    serial: u64,
    abort: AbortHandle,
}

impl Operations {
    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    pub(super) fn contains(&self, id: &OperationId) -> bool {
        self.active.contains_key(id)
    }

    pub(super) fn start(&mut self, id: OperationId, events: Events) {
        self.serials += 1;
        // A panic ends the operation and is told; without this it would end the whole socket without a word.
        let caught = AssertUnwindSafe(events).catch_unwind().map(|event| event.unwrap_or(Event::Panicked));
        let (events, abort) = abortable(caught.boxed());
        self.active.insert(id.clone(), Active { serial: self.serials, abort });
        self.resume(Operation { id, serial: self.serials, events, _present: Present::operation() });
    }

    /// Lets an operation go on after its result was taken, unless it was cancelled meanwhile.
    pub(super) fn resume(&mut self, operation: Operation) {
        if self.is_current(&operation) {
            self.polled.push(operation.into_future());
        }
    }

    /// Ends an operation; its stream is dropped on the next turn of the loop. False if there is none of that id.
    pub(super) fn cancel(&mut self, id: &OperationId) -> bool {
        let active = self.active.remove(id);
        active.map(|active| active.abort.abort()).is_some()
    }

    /// Ends all operations and gives their ids.
    pub(super) fn cancel_all(&mut self) -> Vec<OperationId> {
        self.polled.clear();
        self.active.drain().map(|(id, _)| id).collect()
    }

    /// What happens next in any operation: an event, or `None` when it has ended. Never resolves while there is
    /// nothing to poll.
    pub(super) async fn next(&mut self) -> (Option<Event>, Operation) {
        loop {
            match self.polled.next().await {
                // Results of cancelled operations, and the end that cancelling makes, are nobody's business.
                Some((_, operation)) if !self.is_current(&operation) => {}
                Some(event) => return event,
                None => std::future::pending().await,
            }
        }
    }

    fn is_current(&self, operation: &Operation) -> bool {
        self.active.get(&operation.id).is_some_and(|active| active.serial == operation.serial)
    }
}

impl Stream for Operation {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Event>> {
        self.events.poll_next_unpin(cx)
    }
}
