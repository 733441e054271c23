//! One socket's conversation, from the upgrade to the close frame, in one task.
//!
//! A result leaves its operation only when the one before it was taken by the socket. So a slow reader holds at most
//! one frame per operation here, and what happens meanwhile is decided where the frames come from: price topics keep
//! the newest tick of each coin, other topics keep a bounded run of events and then end the operation with an error.
//! Dropping frames in this file instead would be wrong: one operation carries ticks of several coins, and the newest
//! frame of the operation says nothing about the others.

use std::time::Duration;

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use metrics::Counter;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    close::Ending,
    operations::{Event, Operation, Operations, Service},
    protocol::{self, ClientMessage, OperationId},
    queue::{Overflow, Queue},
    socket::{Socket, Traffic, Turns, farewell},
};
use crate::{
    config::WebSocketConfig,
    graphql::{ErrorCode, GraphqlRequest},
    http::{meters, refusal::Refusal},
    model::{Clock, Principal},
};

/// Further off than any timer can be; nothing waits that long.
const NEVER: Duration = Duration::from_hours(30 * 24);

/// What a conversation needs.
pub(super) struct Session {
    pub(super) service: Service,
    /// The `Authorization` header of the upgrade; a token in `connection_init` wins over it.
    pub(super) authorization: Option<String>,
    pub(super) limits: WebSocketConfig,
    pub(super) clock: Clock,
    pub(super) shutdown: CancellationToken,
}

impl Session {
    /// Talks until one of the sides ends it.
    pub(super) async fn converse(self, mut socket: impl Socket) {
        let mut conversation = Conversation::new(self);
        let ending = conversation.run(&mut socket).await;
        conversation.operations.cancel_all();
        let shutdown = &conversation.session.shutdown;
        farewell(&mut socket, &mut conversation.queue, &ending, shutdown).await;
    }

    /// Closes a socket that speaks another sub-protocol.
    pub(super) async fn decline(self, mut socket: impl Socket) {
        farewell(&mut socket, &mut Queue::new(0), &Ending::WrongProtocol, &self.shutdown).await;
    }
}

struct Conversation {
    session: Session,
    phase: Phase,
    operations: Operations,
    queue: Queue<Operation>,
    turns: Turns,
    timers: Timers,
    sent: Counter,
}

enum Phase {
    /// No `connection_init` yet.
    Silent,
    /// The token is being checked; nothing is read meanwhile.
    SigningIn(BoxFuture<'static, Result<Option<Principal>, Refusal>>),
    /// Acknowledged.
    Open { principal: Option<Principal> },
    /// Acknowledged, and the token has ended since.
    Expired,
}

struct Timers {
    init_by: Option<Instant>,
    ping_at: Instant,
    pong_by: Option<Instant>,
    expires_at: Option<Instant>,
}

impl Conversation {
    fn new(session: Session) -> Self {
        let now = session.clock.instant();
        let timers = Timers {
            init_by: Some(now + Duration::from_millis(session.limits.init_timeout_ms)),
            ping_at: now + Duration::from_millis(session.limits.ping_interval_ms),
            pong_by: None,
            expires_at: None,
        };
        Self {
            phase: Phase::Silent,
            operations: Operations::default(),
            queue: Queue::new(session.limits.max_queue_bytes),
            turns: Turns::default(),
            timers,
            sent: meters::socket_messages(),
            session,
        }
    }

    async fn run(&mut self, socket: &mut impl Socket) -> Ending {
        let shutdown = self.session.shutdown.clone();
        let mut timer = std::pin::pin!(sleep_until(self.timers.next()));
        loop {
            if timer.deadline() != self.timers.next() {
                timer.as_mut().reset(self.timers.next());
            }
            // What comes behind `connection_init` waits for its end, so that it means the same however fast that is.
            let listening = !matches!(self.phase, Phase::SigningIn(_));
            let step = tokio::select! {
                traffic = self.turns.next(socket, &mut self.queue, listening) => match traffic {
                    Traffic::Heard(Some(Ok(message))) => self.receive(message),
                    Traffic::Heard(Some(Err(error))) => Err(error.into()),
                    Traffic::Heard(None) => Err(Ending::Peer),
                    Traffic::Taken(taken) => self.taken(taken),
                },
                (event, operation) = self.operations.next() => self.produce(event, operation),
                outcome = signed_in(&mut self.phase) => self.greet(outcome),
                () = timer.as_mut() => self.ring(),
                () = shutdown.cancelled() => self.leave(),
            };
            if let Err(ending) = step {
                return ending;
            }
        }
    }

    fn receive(&mut self, message: Message) -> Result<(), Ending> {
        // Whatever arrives proves that the peer lives.
        self.timers.pong_by = None;
        self.ping_after(Duration::from_millis(self.session.limits.ping_interval_ms));
        match message {
            Message::Text(text) => self.obey(protocol::parse(&text)?),
            Message::Binary(_) => Err(Ending::BadMessage("messages must be text".into())),
            // The library answers pings of this layer by itself.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(Ending::Peer),
        }
    }

    fn ping_after(&mut self, wait: Duration) {
        self.timers.ping_at = self.session.clock.instant() + wait;
    }

    fn obey(&mut self, message: ClientMessage) -> Result<(), Ending> {
        match message {
            ClientMessage::Init { authorization } => self.sign_in(authorization),
            ClientMessage::Ping { payload } => self.push(protocol::pong(payload)),
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, request } => self.subscribe(id, *request),
            ClientMessage::Complete { id } => {
                self.cancel(&id);
                Ok(())
            }
        }
    }

    fn sign_in(&mut self, authorization: Option<String>) -> Result<(), Ending> {
        if !matches!(self.phase, Phase::Silent) {
            return Err(Ending::SecondInit);
        }
        self.timers.init_by = None;
        // Nobody would hear the answer before `greet`; the authenticator has deadlines of its own.
        self.ping_after(NEVER);
        let authorization = authorization.or_else(|| self.session.authorization.take());
        self.phase = Phase::SigningIn((self.session.service.sign_in)(authorization));
        Ok(())
    }

    fn greet(&mut self, outcome: Result<Option<Principal>, Refusal>) -> Result<(), Ending> {
        let principal = match outcome {
            Ok(principal) => principal,
            // The keys are out of reach: coming back later helps, while a 4403 tells clients to give up.
            Err(refusal) if refusal.code() == ErrorCode::UpstreamUnavailable => return Err(Ending::Internal),
            Err(refusal) => return Err(Ending::Forbidden(refusal.message().to_owned())),
        };
        self.timers.expires_at = principal.as_ref().and_then(|principal| principal.expires_at).map(|end| {
            let left = end.signed_duration_since(self.session.clock.now()).to_std().unwrap_or_default();
            self.session.clock.instant() + left.min(NEVER)
        });
        self.phase = Phase::Open { principal };
        self.ping_after(Duration::from_millis(self.session.limits.ping_interval_ms));
        self.push(protocol::ack())
    }

    fn subscribe(&mut self, id: OperationId, request: GraphqlRequest) -> Result<(), Ending> {
        let principal = match &self.phase {
            Phase::Silent | Phase::SigningIn(_) => return Err(Ending::NotAcknowledged),
            Phase::Open { principal } => principal.clone(),
            Phase::Expired => return self.refuse(&id, ErrorCode::Unauthenticated, EXPIRED),
        };
        if self.operations.contains(&id) {
            return Err(Ending::DuplicateId(id.as_str().to_owned()));
        }
        let most = self.session.limits.max_subscriptions_per_connection;
        if self.operations.len() >= most {
            let message = format!("a connection may run {most} operations at once");
            return self.refuse(&id, ErrorCode::OperationTooComplex, &message);
        }
        let events = (self.session.service.start)(request, principal);
        self.operations.start(id, events);
        Ok(())
    }

    /// Passes on what an operation produced.
    fn produce(&mut self, event: Option<Event>, operation: Operation) -> Result<(), Ending> {
        match event {
            Some(Event::Next(result)) => {
                let message = protocol::next(&operation.id, &result)?;
                Ok(self.queue.push(message, Some(operation))?)
            }
            Some(Event::Failed(errors)) => self.fail(&operation.id, &errors),
            Some(Event::Panicked) => Err(Ending::Internal),
            None => {
                self.operations.cancel(&operation.id);
                self.push(protocol::complete(&operation.id))
            }
        }
    }

    fn taken(&mut self, taken: Result<Option<Operation>, axum::Error>) -> Result<(), Ending> {
        // A socket that cannot be written to has no use for a close frame either.
        let waiting = taken.map_err(|_| Ending::Peer)?;
        self.sent.increment(1);
        if let Some(operation) = waiting {
            self.operations.resume(operation);
        }
        Ok(())
    }

    /// Something is due.
    fn ring(&mut self) -> Result<(), Ending> {
        let now = self.session.clock.instant();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.timers.init_by) {
            return Err(Ending::NoInit);
        }
        if is_due(self.timers.pong_by) {
            return Err(Ending::NoPong);
        }
        if is_due(self.timers.expires_at) {
            self.timers.expires_at = None;
            self.phase = Phase::Expired;
            let errors = (self.session.service.errors)(ErrorCode::Unauthenticated, EXPIRED);
            for id in self.operations.cancel_all() {
                self.fail(&id, &errors)?;
            }
        }
        if is_due(Some(self.timers.ping_at)) {
            self.queue.push_front(Message::Ping(Bytes::new()));
            self.timers.ping_at = now + Duration::from_millis(self.session.limits.ping_interval_ms);
            let pong_by = now + Duration::from_millis(self.session.limits.pong_timeout_ms);
            self.timers.pong_by.get_or_insert(pong_by);
        }
        Ok(())
    }

    /// Completes everything and goes, because the server does.
    fn leave(&mut self) -> Result<(), Ending> {
        self.queue.forget(|_| true);
        for id in self.operations.cancel_all() {
            self.push(protocol::complete(&id))?;
        }
        Err(Ending::GoingAway)
    }

    fn refuse(&mut self, id: &OperationId, code: ErrorCode, message: &str) -> Result<(), Ending> {
        let errors = (self.session.service.errors)(code, message);
        self.push(protocol::error(id, &errors)?)
    }

    fn fail(&mut self, id: &OperationId, errors: &Bytes) -> Result<(), Ending> {
        self.cancel(id);
        self.push(protocol::error(id, errors)?)
    }

    fn cancel(&mut self, id: &OperationId) {
        self.operations.cancel(id);
        self.queue.forget(|operation| operation.id == *id);
    }

    fn push(&mut self, message: Message) -> Result<(), Ending> {
        Ok(self.queue.push(message, None)?)
    }
}

const EXPIRED: &str = "the token has expired; connect again with a new one";

impl From<Overflow> for Ending {
    fn from(_: Overflow) -> Self {
        Self::SlowReader
    }
}

impl Timers {
    /// When to wake up next.
    fn next(&self) -> Instant {
        let others = [self.init_by, self.pong_by, self.expires_at];
        others.into_iter().flatten().fold(self.ping_at, Instant::min)
    }
}

/// The result of signing in, once there is one to wait for.
async fn signed_in(phase: &mut Phase) -> Result<Option<Principal>, Refusal> {
    match phase {
        Phase::SigningIn(check) => check.await,
        _ => std::future::pending().await,
    }
}
