//! Sessions with servers: one for each server and key, started once however many wait for it, and ended for sure.
//!
//! Owns the way from a configuration to a connection, the caps, the idle end, and the notice of a death. It must never share a
//! session between subjects where the server may remember them, and never leave a process behind.

mod attend;
mod backoff;
mod places;
mod pool;
mod way;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

pub(super) use self::{
    places::Places,
    pool::{Pool, PoolParts},
    way::Way,
};
use super::{
    Era, Offer, ToolResult,
    process::{Bounded, ServerProcess, Warden},
    sdk::{Link, LinkError, PeerFacts, Progress, Wire},
};
use crate::{
    model::{Clock, Instant, Redactor},
    resilience::{CallError, Outbound},
};

/// How long a process may take to end by itself, and again when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum SessionKey {
    /// Everybody's: the server remembers nobody.
    Shared,
    /// Ours, for its catalogue and its health.
    House,
    /// A subject's.
    Subject(Arc<str>),
}

/// A no of the server to a request that it has understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of JSON-RPC.
    pub(super) code: i32,
    /// In its words.
    pub(super) message: Arc<str>,
}

/// A connection to a server, and the process behind it if we run one.
pub(super) struct Session {
    link: Link,
    process: Option<ServerProcess>,
    secrets: Redactor,
    /// Says that one process more may run when it goes.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// A message was too large, which has ended it.
    exceeded: Arc<AtomicBool>,
    began: Instant,
    ended_by_us: AtomicBool,
    in_flight: AtomicUsize,
    used: Mutex<Instant>,
    clock: Clock,
}

/// What a session is started with.
pub(super) struct Start<'a> {
    pub(super) way: &'a Way,
    pub(super) warden: &'a Warden,
    pub(super) known: Option<Era>,
    pub(super) most_bytes: usize,
    pub(super) deadline: Duration,
    pub(super) outbound: &'a Outbound,
    pub(super) clock: &'a Clock,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Ends the start, too.
    pub(super) stop: &'a CancellationToken,
}

/// Why there is no session.
pub(super) struct NotStarted {
    pub(super) error: CallError,
    /// What the process has written to its standard error, the last lines.
    pub(super) last_words: Vec<String>,
}

impl From<CallError> for NotStarted {
    fn from(error: CallError) -> Self {
        Self { error, last_words: Vec::new() }
    }
}

impl Session {
    /// Starts the process if there is one, and connects.
    pub(super) async fn start(start: Start<'_>) -> Result<Self, NotStarted> {
        let (exceeded, secrets) = (Arc::<AtomicBool>::default(), start.way.secrets());
        let (wire, process) = match start.way {
            Way::Child(plan) => {
                let started = ServerProcess::start(plan, start.warden);
                let (process, pipes) = started.map_err(|error| down(format!("cannot be started: {error}")))?;
                let output = Bounded::new(pipes.output, start.most_bytes, Arc::clone(&exceeded));
                (Wire::Pipes(Box::new(output), Box::new(pipes.input)), Some(process))
            }
            Way::Http { url, headers, bearer } => {
                start.outbound.permits(url)?;
                let (outbound, bearer) = (start.outbound.clone(), bearer.as_ref().map(|it| it.expose().to_owned()));
                (Wire::Http { outbound, url: url.to_string(), headers: headers.clone(), bearer }, None)
            }
        };
        let began = start.clock.instant();
        let connecting = Link::connect(wire, start.known, start.most_bytes, start.deadline);
        let linked = start.stop.run_until_cancelled(connecting).await.unwrap_or(Err(LinkError::Closed));
        match linked {
            Ok(link) => Ok(Self {
                link,
                process,
                secrets,
                permit: Mutex::new(start.permit),
                exceeded,
                began,
                ended_by_us: AtomicBool::new(false),
                in_flight: AtomicUsize::new(0),
                used: Mutex::new(began),
                clock: start.clock.clone(),
            }),
            Err(error) => {
                if let Some(process) = &process {
                    process.end(GRACE / 4).await;
                }
                let last_words = process.as_ref().map(|process| process.stderr().lines()).unwrap_or_default();
                Err(NotStarted { error: failure(error, process.as_ref(), &exceeded, &secrets), last_words })
            }
        }
    }

    pub(super) fn facts(&self) -> &PeerFacts {
        self.link.facts()
    }

    /// Whether nothing more can be asked of it.
    pub(super) fn is_over(&self) -> bool {
        self.link.is_closed() || self.process.as_ref().is_some_and(|process| process.end_reason().is_some())
    }

    /// Nobody waits for it.
    pub(super) fn is_unused(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    fn idle_since(&self) -> Instant {
        *self.used.lock()
    }

    /// The last lines that its process has written to its standard error.
    pub(super) fn stderr(&self) -> Vec<String> {
        self.process.as_ref().map(|process| process.stderr().lines()).unwrap_or_default()
    }

    /// Told whenever what the server offers may have changed.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.link.changed()
    }

    /// We have ended it, as nobody used it.
    pub(super) fn was_ended(&self) -> bool {
        self.ended_by_us.load(Ordering::Acquire)
    }

    /// Calls a tool; a no of the server is no failure of the session.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Option<Map<String, Value>>,
        deadline: Duration,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Result<ToolResult, Refusal>, CallError> {
        let _use = self.in_use();
        match Box::pin(self.link.call(tool, arguments, deadline, progress)).await {
            Ok(result) => Ok(Ok(result)),
            Err(LinkError::Refused { code, message }) => {
                Ok(Err(Refusal { code, message: self.secrets.hide(&message).into() }))
            }
            Err(error) => Err(self.failure(error).await),
        }
    }

    /// Whether the server answers.
    pub(super) async fn probe(&self, deadline: Duration) -> Result<(), CallError> {
        match Box::pin(self.link.probe(deadline)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failure(error).await),
        }
    }

    /// Everything that the server offers.
    pub(super) async fn offer(&self, deadline: Duration) -> Result<Offer, CallError> {
        let offers = self.facts().offers;
        let offer = async {
            let tools = if offers.tools { self.link.tools(deadline).await? } else { Vec::new() };
            let prompts = if offers.prompts { self.link.prompts(deadline).await? } else { Vec::new() };
            let resources = if offers.resources { self.link.resources(deadline).await? } else { Vec::new() };
            Ok(Offer { tools, prompts, resources })
        };
        match Box::pin(offer).await {
            Ok(offer) => Ok(offer),
            Err(error) => Err(self.failure(error).await),
        }
    }

    fn in_use(&self) -> InUse<'_> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InUse(self)
    }

    /// What an error of the connection is to whoever called: with the reason of its end, if it has ended.
    async fn failure(&self, error: LinkError) -> CallError {
        if error == LinkError::Closed
            && let Some(process) = &self.process
        {
            // Why it has ended is known a moment after that it has.
            let _ = tokio::time::timeout(GRACE / 4, process.ended()).await;
        }
        failure(error, self.process.as_ref(), &self.exceeded, &self.secrets)
    }

    /// Why it is over, in words; nothing while it is not.
    pub(super) fn why_over(&self) -> Option<Arc<str>> {
        self.is_over().then(|| why_closed(self.process.as_ref(), &self.exceeded).into())
    }

    /// Closes the connection and ends the process with everything that it has started.
    async fn end(&self) {
        self.link.close(GRACE).await;
        if let Some(process) = &self.process {
            process.end(GRACE).await;
        }
        // Only now another process may take its place.
        self.permit.lock().take();
    }
}

struct InUse<'a>(&'a Session);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        *self.0.used.lock() = self.0.clock.instant();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

fn failure(error: LinkError, process: Option<&ServerProcess>, exceeded: &AtomicBool, secrets: &Redactor) -> CallError {
    match error {
        LinkError::TimedOut(_) => CallError::Timeout,
        LinkError::Closed => down(why_closed(process, exceeded)),
        LinkError::Status(429) => CallError::RateLimited { retry_after: None },
        LinkError::Status(status) => CallError::Upstream { status: Some(status), detail: "the server's HTTP".into() },
        LinkError::Refused { .. } => down(secrets.hide(&error.to_string())),
        LinkError::Broken(detail) if exceeded.load(Ordering::Relaxed) => {
            down(format!("{TOO_LARGE}: {}", secrets.hide(&detail)))
        }
        LinkError::Broken(detail) => CallError::Decode { detail: secrets.hide(&detail).into() },
    }
}

const TOO_LARGE: &str = "it has sent a message that is larger than mcp.max_message_bytes";

fn why_closed(process: Option<&ServerProcess>, exceeded: &AtomicBool) -> String {
    if exceeded.load(Ordering::Relaxed) {
        return TOO_LARGE.to_owned();
    }
    let Some(process) = process else { return "it has closed the connection".to_owned() };
    let how = process.end_reason().unwrap_or_else(|| "has closed its output".into());
    match telling(&process.stderr().lines()) {
        Some(line) => format!("its process {how}, and said: {line}"),
        None => format!("its process {how}"),
    }
}

/// Of the last lines of a process the one that is most likely to say what was wrong.
fn telling(lines: &[String]) -> Option<&String> {
    let names_an_error = |line: &&String| line.contains("Error") || line.contains("error");
    let says_something = |line: &&String| !line.trim().is_empty();
    lines.iter().rfind(names_an_error).or_else(|| lines.iter().rfind(says_something))
}

fn down(detail: String) -> CallError {
    CallError::Upstream { status: None, detail: detail.into() }
}
