//! The sessions with one server, each started once however many wait for it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{NotStarted, Places, Session, SessionKey, Start, Way, attend, backoff::Backoff};
use crate::{
    mcp::{Era, process::Warden},
    model::{Chance, Clock},
    resilience::{CallError, Outbound},
};

/// What sessions are made with.
pub(crate) struct PoolParts {
    pub(crate) name: Arc<str>,
    pub(crate) way: Way,
    /// Nobody is remembered between calls.
    pub(crate) stateless: bool,
    pub(crate) max_sessions: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) start_timeout: Duration,
    pub(crate) idle: Duration,
    /// Of all servers.
    pub(crate) places: Places,
    pub(crate) warden: Warden,
    pub(crate) outbound: Outbound,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) tasks: TaskTracker,
    /// Ends all sessions.
    pub(crate) stop: CancellationToken,
}

/// The sessions with one server. Clones share everything.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

pub(super) struct Inner {
    pub(super) parts: PoolParts,
    slots: Mutex<HashMap<SessionKey, Slot>>,
    backoff: Mutex<Backoff>,
    era: Mutex<Option<Era>>,
    /// A session has ended that nobody has ended.
    died: Notify,
    /// What the last one that died has written to its standard error.
    last_words: Mutex<Vec<String>>,
}

type Started = Result<Arc<Session>, CallError>;

enum Slot {
    Starting(watch::Receiver<Option<Started>>),
    Up(Arc<Session>),
}

impl Pool {
    pub(crate) fn new(parts: PoolParts) -> Self {
        Self(Arc::new(Inner {
            parts,
            slots: Mutex::default(),
            backoff: Mutex::default(),
            era: Mutex::default(),
            died: Notify::new(),
            last_words: Mutex::default(),
        }))
    }

    /// The session in which a subject's calls are made. Until it is known of which era a server is, everybody has one of their own.
    pub(crate) fn key_for(&self, subject: &Arc<str>) -> SessionKey {
        if self.is_shared() { SessionKey::Shared } else { SessionKey::Subject(Arc::clone(subject)) }
    }

    /// The session for the catalogue and the health.
    pub(crate) fn house_key(&self) -> SessionKey {
        if self.is_shared() { SessionKey::Shared } else { SessionKey::House }
    }

    fn is_shared(&self) -> bool {
        self.0.parts.stateless || *self.0.era.lock() == Some(Era::Modern)
    }

    /// A session that can be asked, which may have to be started first.
    pub(crate) async fn get(&self, key: &SessionKey) -> Started {
        let mut starting = match self.claim(key)? {
            Claimed::Up(session) => return Ok(session),
            Claimed::Starting(starting) => starting,
        };
        let started = starting.wait_for(Option::is_some).await.ok().and_then(|started| started.clone());
        // Whoever starts it tells how that went, unless the server stops.
        started.unwrap_or_else(|| Err(stopped()))
    }

    /// One that is up already.
    pub(crate) fn peek(&self, key: &SessionKey) -> Option<Arc<Session>> {
        match self.0.slots.lock().get(key) {
            Some(Slot::Up(session)) if !session.is_over() => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// Waits until a session has ended that nobody has ended.
    pub(crate) async fn died(&self) {
        self.0.died.notified().await;
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.0.slots.lock().len()
    }

    /// The last lines of a process, of the one that runs or else of the one that died last.
    pub(crate) fn stderr(&self) -> Vec<String> {
        let running = self.peek(&self.house_key()).map(|session| session.stderr());
        running.filter(|lines| !lines.is_empty()).unwrap_or_else(|| self.0.last_words.lock().clone())
    }

    fn claim(&self, key: &SessionKey) -> Result<Claimed, CallError> {
        let inner = &self.0;
        let mut slots = inner.slots.lock();
        match slots.get(key) {
            Some(Slot::Up(session)) if !session.is_over() => return Ok(Claimed::Up(Arc::clone(session))),
            Some(Slot::Starting(starting)) => return Ok(Claimed::Starting(starting.clone())),
            _ => {}
        }
        if inner.parts.stop.is_cancelled() {
            return Err(stopped());
        }
        if let Some(error) = inner.backoff.lock().refuses(inner.parts.clock.instant()) {
            return Err(error);
        }
        if !slots.contains_key(key) && slots.len() >= inner.parts.max_sessions && !give_way(&mut slots) {
            return Err(CallError::Saturated);
        }
        let (tell, starting) = watch::channel(None);
        slots.insert(key.clone(), Slot::Starting(starting.clone()));
        // It goes on when whoever waits for it goes away: others may wait, too.
        inner.parts.tasks.spawn(Arc::clone(inner).start(key.clone(), tell));
        Ok(Claimed::Starting(starting))
    }
}

enum Claimed {
    Up(Arc<Session>),
    Starting(watch::Receiver<Option<Started>>),
}

/// Takes out the subject's session that was not used for longest, if nobody waits for it. Whoever attends it ends it.
fn give_way(slots: &mut HashMap<SessionKey, Slot>) -> bool {
    let unused = slots.iter().filter_map(|(key, slot)| match (key, slot) {
        (SessionKey::Subject(_), Slot::Up(session)) if session.is_unused() => Some((session.idle_since(), key.clone())),
        _ => None,
    });
    let oldest = unused.min_by_key(|(since, _)| *since);
    oldest.is_some_and(|(_, key)| slots.remove(&key).is_some())
}

impl Inner {
    async fn start(self: Arc<Self>, key: SessionKey, tell: watch::Sender<Option<Started>>) {
        let permit = match self.place().await {
            Ok(permit) => permit,
            Err(error) => {
                // That says nothing of the server.
                self.slots.lock().remove(&key);
                tell.send_replace(Some(Err(error)));
                return;
            }
        };
        let PoolParts { way, warden, start_timeout, max_message_bytes, outbound, clock, stop, .. } = &self.parts;
        let known = *self.era.lock();
        let (most_bytes, deadline) = (*max_message_bytes, *start_timeout);
        let start = Start { way, warden, known, most_bytes, deadline, outbound, clock, permit, stop };
        let started = match Session::start(start).await.map(Arc::new) {
            Ok(session) => {
                self.is_up(key, &session);
                Ok(session)
            }
            Err(NotStarted { error, last_words }) => {
                *self.last_words.lock() = last_words;
                self.is_down(&key, &error);
                Err(error)
            }
        };
        tell.send_replace(Some(started));
    }

    /// A place for its process, where it is one.
    async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, CallError> {
        match self.parts.way {
            Way::Child(_) => self.parts.places.take().await.map(Some).ok_or(CallError::Saturated),
            Way::Http { .. } => Ok(None),
        }
    }

    fn is_up(self: &Arc<Self>, key: SessionKey, session: &Arc<Session>) {
        *self.era.lock() = Some(session.facts().era);
        self.backoff.lock().lives();
        self.slots.lock().insert(key.clone(), Slot::Up(Arc::clone(session)));
        self.parts.tasks.spawn(attend::attend(Arc::clone(self), key, Arc::clone(session)));
    }

    fn is_down(&self, key: &SessionKey, error: &CallError) {
        // The next one is asked anew of which era it is: it may be another program by now.
        *self.era.lock() = None;
        let now = self.parts.clock.instant();
        self.backoff.lock().failed(now, error.clone(), &self.parts.chance);
        self.slots.lock().remove(key);
        tracing::info!(server = &*self.parts.name, %error, "a session with an mcp server was not started");
    }

    /// Whether this session stays though nobody calls through it: ours, as long as others have one, and any of which no
    /// process is spared.
    pub(super) fn keeps(&self, key: &SessionKey) -> bool {
        let costs_nothing = matches!(self.parts.way, Way::Http { .. });
        match key {
            SessionKey::Subject(_) => false,
            SessionKey::Shared => costs_nothing,
            SessionKey::House => costs_nothing || self.slots.lock().len() > 1,
        }
    }

    /// Whether a session is still the one of its key.
    pub(super) fn holds(&self, key: &SessionKey, session: &Arc<Session>) -> bool {
        matches!(self.slots.lock().get(key), Some(Slot::Up(held)) if Arc::ptr_eq(held, session))
    }

    /// Gives a session up, so that the next call gets another one.
    pub(super) fn give_up(&self, key: &SessionKey, session: &Arc<Session>) {
        if let Entry::Occupied(slot) = self.slots.lock().entry(key.clone())
            && matches!(slot.get(), Slot::Up(held) if Arc::ptr_eq(held, session))
        {
            slot.remove();
        }
    }

    /// A session has ended that nobody has ended.
    pub(super) fn has_died(&self, session: &Session, why: &Arc<str>) {
        let now = self.parts.clock.instant();
        let error = CallError::Upstream { status: None, detail: Arc::clone(why) };
        self.backoff.lock().died(now, now - session.began, error, &self.parts.chance);
        *self.last_words.lock() = session.stderr();
        tracing::info!(server = &*self.parts.name, why = &**why, "a session with an mcp server has ended");
        self.died.notify_one();
    }
}

fn stopped() -> CallError {
    CallError::Upstream { status: None, detail: "the session was stopped".into() }
}
