//! What happens at the breakers, for whoever listens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::broadcast;

/// Events kept for a slow listener; it is told how many it missed.
const CAPACITY: usize = 256;

/// Something that happened at a breaker, named as in opossum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerEvent {
    /// A try was let through.
    Fire,
    /// A try succeeded, or failed with an error that the filter forgives.
    Success,
    /// A try failed; a timeout is followed by this too.
    Failure,
    /// A try took too long.
    Timeout,
    /// A call was refused because the breaker is open.
    Reject,
    /// A call was refused because too many were under way.
    SemaphoreLocked,
    /// A fallback answered.
    Fallback,
    /// The breaker opened.
    Open,
    /// The breaker will let a probe through.
    HalfOpen,
    /// The breaker closed.
    Close,
}

/// An event and where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamEvent {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// What happened.
    pub event: BreakerEvent,
}

/// The channel of events; clones share it. Costs one load per event while nobody listens.
#[derive(Debug, Clone)]
pub(super) struct Events(Arc<Channel>);

#[derive(Debug)]
struct Channel {
    sender: broadcast::Sender<UpstreamEvent>,
    /// A hint that spares the channel's lock; never false while somebody listens.
    listened: AtomicBool,
}

impl Events {
    pub(super) fn new() -> Self {
        Self(Arc::new(Channel { sender: broadcast::Sender::new(CAPACITY), listened: AtomicBool::new(false) }))
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<UpstreamEvent> {
        let receiver = self.0.sender.subscribe();
        self.0.listened.store(true, Ordering::SeqCst);
        receiver
    }

    pub(super) fn emit(&self, upstream: &Arc<str>, event: BreakerEvent) {
        if self.0.listened.load(Ordering::Relaxed) {
            self.send(UpstreamEvent { upstream: Arc::clone(upstream), event });
        }
    }

    #[cold]
    fn send(&self, event: UpstreamEvent) {
        if self.0.sender.send(event).is_ok() {
            return;
        }
        self.0.listened.store(false, Ordering::SeqCst);
        // Somebody may have subscribed between the failed send and the store.
        if self.0.sender.receiver_count() > 0 {
            self.0.listened.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_come_and_go() {
        let events = Events::new();
        let name: Arc<str> = "x".into();
        events.emit(&name, BreakerEvent::Fire);
        let mut first = events.subscribe();
        events.emit(&name, BreakerEvent::Open);
        assert_eq!(first.try_recv().unwrap().event, BreakerEvent::Open, "what came before is not replayed");
        drop(first);
        events.emit(&name, BreakerEvent::Close);
        assert!(!events.0.listened.load(Ordering::SeqCst));
        let mut second = events.subscribe();
        events.emit(&name, BreakerEvent::Fire);
        assert_eq!(second.try_recv().unwrap().event, BreakerEvent::Fire);
    }
}
