//! Who may pass: the breaker's states, kept by `failsafe`'s state machine behind a gate that admits one probe.
//!
//! Bare `failsafe` lets everyone through in half-open, takes late results for fresh ones and tells the time by a
//! clock of its own. Here its machine is only touched under the gate's lock, only by results of the current epoch,
//! and only after the gate's own clock said that the wait is over.

use std::{mem, sync::Arc, time::Duration};

use failsafe::StateMachine;
use parking_lot::{Mutex, MutexGuard};

use super::{
    BreakerOptions, BreakerState, Forced,
    herald::Herald,
    ledger::{Epoch, Finish, Ledger, RollingFailures},
    window::Tally,
};
use crate::model::{Clock, Instant, Timestamp};

/// A probe that nobody has polled for this many timeouts is given up, and the next caller probes instead.
const PROBE_LEASE_TIMEOUTS: u32 = 2;

/// How long to wait when there is no better answer.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

pub(super) struct Gate {
    options: BreakerOptions,
    clock: Clock,
    ledger: Arc<Ledger>,
    door: Mutex<Door>,
    herald: Herald,
}

struct Door {
    machine: StateMachine<RollingFailures, ()>,
    forced: Option<Forced>,
    open_until: Instant,
    /// The last state announced; half-open begins by the clock, so it is noticed rather than entered.
    announced: BreakerState,
    /// While a probe is under way: when it is given up.
    probe_lease: Option<Instant>,
    opened_at: Option<Timestamp>,
    changed_at: Timestamp,
}

/// The leave to make one try. Its result must come back through [`Gate::settle`] or [`Gate::abandon`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    epoch: Epoch,
}

/// What is to be seen of a gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) state: BreakerState,
    pub(super) forced: Option<Forced>,
    pub(super) retry_after: Option<Duration>,
    pub(super) opened_at: Option<Timestamp>,
    pub(super) changed_at: Timestamp,
}

impl Gate {
    pub(super) fn new(options: BreakerOptions, clock: Clock, herald: Herald) -> Self {
        let now = clock.instant();
        let ledger = Arc::new(Ledger::new(&options, now));
        let door = Door {
            machine: StateMachine::new(RollingFailures(Arc::clone(&ledger)), ()),
            forced: None,
            open_until: now,
            announced: BreakerState::Closed,
            probe_lease: None,
            opened_at: None,
            changed_at: clock.now(),
        };
        Self { options, clock, ledger, door: Mutex::new(door), herald }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn herald(&self) -> &Herald {
        &self.herald
    }

    /// Leave to make a try, or how long to wait before asking again.
    pub(super) fn admit(&self, now: Instant) -> Result<Pass, Duration> {
        let epoch = self.ledger.epoch();
        if epoch.is_passing() { Ok(Pass { epoch }) } else { self.admit_probe(now) }
    }

    /// How long to wait before asking again, if [`Gate::admit`] would refuse now. Takes no probe's place.
    pub(super) fn refusal(&self, now: Instant) -> Option<Duration> {
        if self.ledger.epoch().is_passing() { None } else { self.refusal_at(&self.door(now), now) }
    }

    /// Judges a finished try. `retry_after` is what the upstream asked for, if it did.
    ///
    /// Returns when half-open begins, if this result opened the gate.
    pub(super) fn settle(&self, pass: Pass, finish: Finish, retry_after: Option<Duration>) -> Option<Instant> {
        if finish.tally == Tally::Success && pass.epoch.is_passing() {
            self.ledger.record_success(pass.epoch, finish);
            return None;
        }
        let mut door = self.door.lock();
        if self.ledger.epoch() != pass.epoch {
            self.ledger.record_late(finish);
            return None;
        }
        self.ledger.report(finish);
        if finish.tally == Tally::Success {
            door.machine.on_success();
        } else {
            door.machine.on_error();
        }
        if self.ledger.epoch() == pass.epoch {
            return None;
        }
        door.probe_lease = None;
        if finish.tally == Tally::Success {
            self.change(&mut door, BreakerState::Closed);
            return None;
        }
        let asked = retry_after.unwrap_or_default().min(self.options.retry_after_limit);
        door.open_until = finish.at + self.options.reset_timeout.max(asked);
        door.opened_at = Some(self.clock.now());
        self.change(&mut door, BreakerState::Open);
        Some(door.open_until)
    }

    /// Takes back a pass whose try gave no verdict: cancelled, panicked, or refused before it was sent.
    pub(super) fn abandon(&self, pass: Pass) {
        if pass.epoch.is_passing() {
            return;
        }
        let mut door = self.door.lock();
        if self.ledger.epoch() == pass.epoch {
            door.probe_lease = None;
        }
    }

    /// Notices what the clock alone has changed.
    pub(super) fn observe(&self) {
        drop(self.door(self.clock.instant()));
    }

    pub(super) fn view(&self) -> View {
        let now = self.clock.instant();
        let door = self.door(now);
        View {
            state: self.state_at(&door, now),
            forced: door.forced,
            // What an operator forced lasts until it is reset, which nobody can foresee.
            retry_after: if door.forced.is_some() { None } else { self.refusal_at(&door, now) },
            opened_at: door.opened_at,
            changed_at: door.changed_at,
        }
    }

    pub(super) fn force(&self, forced: Forced) {
        let mut door = self.door.lock();
        door.forced = Some(forced);
        door.probe_lease = None;
        match forced {
            Forced::Open => {
                self.ledger.start_epoch(false);
                door.opened_at = Some(self.clock.now());
                self.change(&mut door, BreakerState::Open);
            }
            Forced::Closed => {
                self.ledger.set_may_trip(false);
                self.close(&mut door);
            }
        }
    }

    /// Ends what was forced and closes, with an empty window.
    pub(super) fn reset(&self) {
        let mut door = self.door.lock();
        door.forced = None;
        self.ledger.set_may_trip(self.options.enabled);
        self.close(&mut door);
    }

    fn close(&self, door: &mut Door) {
        door.probe_lease = None;
        door.machine.reset();
        // The machine says nothing when it was closed already, as under a forced opening.
        self.ledger.start_afresh();
        self.change(door, BreakerState::Closed);
    }

    #[cold]
    fn admit_probe(&self, now: Instant) -> Result<Pass, Duration> {
        let mut door = self.door(now);
        if let Some(wait) = self.refusal_at(&door, now) {
            return Err(wait);
        }
        if self.ledger.epoch().is_passing() {
            return Ok(Pass { epoch: self.ledger.epoch() });
        }
        // The machine opened "for no time", but wants its own clock to be strictly later: in the very nanosecond of
        // the trip it still refuses. The probe's place stays free and the caller may come again.
        if !door.machine.is_call_permitted() {
            return Err(SHORTEST_WAIT);
        }
        // A probe whose lease ran out loses its say with its epoch.
        if door.probe_lease.is_some() {
            self.ledger.start_epoch(false);
        }
        door.probe_lease = Some(now + self.options.timeout * PROBE_LEASE_TIMEOUTS);
        Ok(Pass { epoch: self.ledger.epoch() })
    }

    /// The door, after half-open has been announced if its time has come.
    fn door(&self, now: Instant) -> MutexGuard<'_, Door> {
        let mut door = self.door.lock();
        let state = self.state_at(&door, now);
        if state == BreakerState::HalfOpen && door.announced == BreakerState::Open {
            self.change(&mut door, state);
        }
        door
    }

    fn state_at(&self, door: &Door, now: Instant) -> BreakerState {
        if self.ledger.epoch().is_passing() {
            BreakerState::Closed
        } else if door.forced == Some(Forced::Open) || now < door.open_until {
            BreakerState::Open
        } else {
            BreakerState::HalfOpen
        }
    }

    fn refusal_at(&self, door: &Door, now: Instant) -> Option<Duration> {
        match self.state_at(door, now) {
            BreakerState::Closed => None,
            BreakerState::Open if door.forced.is_some() => Some(self.options.reset_timeout),
            BreakerState::Open => Some(door.open_until - now),
            BreakerState::HalfOpen => {
                let lease = door.probe_lease.filter(|&lease| now < lease)?;
                Some((lease - now).max(SHORTEST_WAIT))
            }
        }
    }

    fn change(&self, door: &mut Door, state: BreakerState) {
        if door.announced != state {
            let before = mem::replace(&mut door.announced, state);
            door.changed_at = self.clock.now();
            self.herald.announce(before, state);
        }
    }
}
