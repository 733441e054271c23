//! A line: the task that keeps one connection for subscriptions, and everything that is wanted subscribed on it.

use std::{sync::Arc, time::Duration};

use redis::{ServerErrorKind, Value};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval_at, sleep},
};

use super::{
    super::link::LinkState,
    Lines,
    board::Board,
    dialler::{Call, Dialler, Losses},
    loss::Loss,
    meters::Meters,
    probe::Probe,
};
use crate::model::{Chance, Clock, Instant};

/// Channels asked for in one go.
const PORTION: usize = 512;
/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between two looks whether the line hears.
const PROBE_EVERY: u32 = 2;
/// Beats until channels that the server does not permit are asked for again.
const FORGIVE_EVERY: u32 = 5;
/// Beats until a line that nobody reads closes.
const IDLE_BEATS: u32 = 3;
/// Pauses between two attempts to connect.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Line {
    pub(super) slot: u16,
    pub(super) board: Arc<Board>,
    pub(super) dialler: Dialler,
    pub(super) probe: Probe,
    pub(super) lines: Lines,
    pub(super) link: watch::Receiver<LinkState>,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
}

/// How a connection ended.
enum End {
    /// Nobody reads it.
    Idle,
    Lost(Loss),
}

/// The time without a connection, as the log and the next attempt need it.
struct Outage {
    since: Instant,
    told: bool,
    pause: Duration,
}

impl Line {
    /// Keeps the line until nobody has read it for a while.
    pub(super) async fn keep(mut self) {
        let mut outage = Outage { since: self.clock.instant(), told: false, pause: SHORTEST_PAUSE };
        loop {
            let end = match self.dialler.dial(&self.board).await {
                Ok((call, losses)) => {
                    self.tell_recovery(&mut outage);
                    self.serve(call, losses, &mut outage.pause).await
                }
                Err(loss) => End::Lost(loss),
            };
            self.board.lose();
            if self.retire() {
                return;
            }
            if let End::Lost(loss) = end {
                self.tell_loss(&loss, &mut outage);
                self.rest(&mut outage.pause).await;
            }
        }
    }

    /// Serves readers over one connection for as long as it can be trusted.
    async fn serve(&mut self, mut call: Call, mut losses: Losses, pause: &mut Duration) -> End {
        self.probe.begin();
        let mut beats = interval_at(self.clock.instant() + BEAT, BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::select! {
            biased;
            loss = losses.next() => End::Lost(loss),
            end = self.attend(&mut call, &mut beats, pause) => end.unwrap_or_else(End::Lost),
        }
    }

    async fn attend(&mut self, call: &mut Call, beats: &mut Interval, pause: &mut Duration) -> Result<End, Loss> {
        let (mut beat, mut idle) = (0_u32, 0);
        loop {
            self.settle(call).await?;
            tokio::select! {
                () = self.board.changed() => continue,
                _ = beats.tick() => beat = beat.wrapping_add(1),
            }
            call.ping().await?;
            // It has lived for a beat, so the next fault is another one.
            *pause = SHORTEST_PAUSE;
            if beat.is_multiple_of(PROBE_EVERY) {
                self.probe.look(&self.board).await?;
            }
            if beat.is_multiple_of(FORGIVE_EVERY) {
                self.board.forgive();
            }
            idle = if self.board.is_empty() { idle + 1 } else { 0 };
            if idle == IDLE_BEATS {
                return Ok(End::Idle);
            }
        }
    }

    /// Asks the server for what is wanted and not there, and for the end of what is there and not wanted.
    async fn settle(&mut self, call: &mut Call) -> Result<(), Loss> {
        loop {
            let difference = self.board.difference(PORTION);
            if difference.is_empty() {
                return Ok(());
            }
            call.leave(&difference.leave).await?.into_iter().try_for_each(|(_, answer)| accept(answer))?;
            for (channel, answer) in call.join(&difference.join).await? {
                if is_forbidden(&answer) {
                    if self.board.refuse(channel) {
                        tracing::error!(channel, "redis does not permit this user to subscribe");
                    }
                } else {
                    accept(answer)?;
                }
            }
        }
    }

    /// Takes the line off the list if nobody reads it. Whoever comes later starts another.
    fn retire(&self) -> bool {
        let mut lines = self.lines.lock();
        let unread = self.board.is_empty();
        if unread {
            lines.remove(&self.slot);
        }
        unread
    }

    /// Waits before the next attempt: longer every time, and no longer than until the link has come back.
    async fn rest(&mut self, pause: &mut Duration) {
        let wait = self.chance.spread(*pause, 0.5);
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = sleep(wait) => {}
            () = comes_up(&mut self.link) => {}
        }
    }

    fn tell_loss(&self, loss: &Loss, outage: &mut Outage) {
        if !std::mem::replace(&mut outage.told, true) {
            outage.since = self.clock.instant();
            Meters::loss(loss);
            tracing::warn!(reason = %loss, slot = self.slot, channels = self.board.len(), "redis subscriptions are lost");
        }
    }

    fn tell_recovery(&self, outage: &mut Outage) {
        if std::mem::take(&mut outage.told) {
            let duration = self.clock.instant().saturating_duration_since(outage.since);
            let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(slot = self.slot, channels = self.board.len(), duration_ms, "redis subscriptions are back");
        }
    }
}

/// Waits until the link, whatever it is now, comes up.
async fn comes_up(link: &mut watch::Receiver<LinkState>) {
    link.mark_unchanged();
    while link.changed().await.is_ok() {
        if *link.borrow_and_update() == LinkState::Up {
            return;
        }
    }
    std::future::pending::<()>().await;
}

fn is_forbidden(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoPerm))
}

/// Whether the server did what it was asked for. Who is told has been told on the way.
fn accept(answer: Value) -> Result<(), Loss> {
    match answer {
        Value::ServerError(error) => {
            let error = redis::RedisError::from(error);
            Err(if error.redirect_node().is_some() { Loss::Moved } else { error.into() })
        }
        _ => Ok(()),
    }
}
