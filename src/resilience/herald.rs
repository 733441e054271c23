//! Tells the log, the metrics and the listeners what happens at a breaker.

use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::broadcast;

use super::{BreakerEvent, BreakerState, UpstreamEvent, events::Events, window::Tally};

pub(super) struct Herald {
    name: Arc<str>,
    events: Events,
    state: Gauge,
}

impl Herald {
    pub(super) fn new(name: Arc<str>, events: Events) -> Self {
        let state = metrics::gauge!("tidegate_breaker_state", "upstream" => Arc::clone(&name));
        state.set(level(BreakerState::Closed));
        Self { name, events, state }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<UpstreamEvent> {
        self.events.subscribe()
    }

    pub(super) fn emit(&self, event: BreakerEvent) {
        self.events.emit(&self.name, event);
    }

    pub(super) fn emit_result(&self, tally: Tally) {
        match tally {
            Tally::Success => self.emit(BreakerEvent::Success),
            Tally::Failure => self.emit(BreakerEvent::Failure),
            Tally::Timeout => {
                self.emit(BreakerEvent::Timeout);
                self.emit(BreakerEvent::Failure);
            }
        }
    }

    /// Must be called under the gate's lock, so that what is told last is true.
    pub(super) fn announce(&self, before: BreakerState, state: BreakerState) {
        self.state.set(level(state));
        match state {
            BreakerState::Closed => {
                self.emit(BreakerEvent::Close);
                tracing::info!(upstream.name = %self.name, "breaker closed");
            }
            BreakerState::HalfOpen => {
                self.emit(BreakerEvent::HalfOpen);
                tracing::debug!(upstream.name = %self.name, "breaker half-open");
            }
            BreakerState::Open => {
                self.emit(BreakerEvent::Open);
                if before == BreakerState::Closed {
                    tracing::warn!(upstream.name = %self.name, "breaker opened");
                } else {
                    // It is known to be down, and this would be told for as long as it is.
                    tracing::debug!(upstream.name = %self.name, "the probe has failed, the breaker stays open");
                }
            }
        }
    }
}

fn level(state: BreakerState) -> f64 {
    match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    }
}
