//! Who feeds: this node alone, or whichever of several holds the lease.
//!
//! Every second, and at once when a coin is newly wanted, a node takes its turn: it says what is wanted here and hears
//! whether it leads. A leader that cannot renew stops by itself before its lease is over, so two nodes that reach Redis
//! never both feed. A node that has not reached Redis for as long as a lease lasts feeds its own subscribers, until it
//! reaches it again. `feed.rs` only looks at the [`Standing`]. Proven by the tests below and `tests/it/market_cluster.rs`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::StreamExt;
use metrics::{counter, gauge};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    demand::Demand,
    lease::{Claim, LEASE, Lease, Turn},
};
use crate::{
    bus::{Bus, Delivered, Delivery, Subscription, Topic},
    model::{AssetId, Clock, Instant},
    store::{Redis, RedisError},
};

/// Time between two turns.
const PERIOD: Duration = Duration::from_secs(1);
/// Time to the next turn after one that failed.
const RETRY: Duration = Duration::from_millis(250);
/// Least time between two turns, however many reasons there are: what happens meanwhile shares the next one.
const BREATH: Duration = Duration::from_millis(20);
/// How long before the end of its lease a leader stops: longer than a tick takes to be published.
const MARGIN: Duration = Duration::from_millis(500);
// A single failed turn must not cost a leader its lease.
const _: () = assert!(2 * PERIOD.as_millis() + MARGIN.as_millis() <= LEASE.as_millis());
/// Pokes that wait for a node. More say nothing new.
const MAX_POKES: usize = 64;

/// How it is decided which node feeds.
pub enum Leadership {
    /// There are no other nodes.
    Alone,
    /// Nodes that share a Redis take turns.
    Shared(Lease),
}

/// Whether this node feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does: there are no other nodes.
    Alone,
    /// Another node does, or nobody needs to.
    Following,
    /// It does, for all nodes.
    Leading {
        /// Grows with every change of the leader.
        term: u64,
        /// When it stops unless it has renewed its lease.
        until: Instant,
    },
    /// It does, for itself: the others cannot be reached.
    Isolated,
}

/// Tells the other nodes to take their turn at once. Losing one costs up to a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Poke {
    from: u64,
    news: News,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum News {
    /// Something is newly wanted, which concerns the leader.
    Wanted,
    /// Nobody leads, which concerns everybody else.
    Released,
}

fn pokes() -> Topic<Poke> {
    Topic::new("feed:turns", Delivery::Buffer(MAX_POKES))
}

impl Leadership {
    /// Nodes that share this Redis take turns.
    #[must_use]
    pub fn shared(redis: &Redis) -> Self {
        Self::Shared(Lease::new(redis))
    }

    /// Starts taking turns, if there are any to take.
    pub(super) fn start(
        self,
        demand: Arc<Demand>,
        bus: Bus,
        clock: Clock,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> watch::Receiver<Standing> {
        match self {
            Self::Alone => {
                report(Standing::Alone);
                watch::Sender::new(Standing::Alone).subscribe()
            }
            Self::Shared(lease) => {
                report(Standing::Following);
                let (standing, seen) = watch::channel(Standing::Following);
                let turns = Turns { lease, demand, bus, clock, standing, told: HashSet::new(), failing: None };
                tasks.spawn(turns.run(stop));
                seen
            }
        }
    }
}

impl Standing {
    /// Whether this node feeds now.
    pub(super) fn feeds(self, now: Instant) -> bool {
        match self {
            Self::Alone | Self::Isolated => true,
            Self::Following => false,
            Self::Leading { until, .. } => now < until,
        }
    }

    /// The term in which it feeds, unless it does so beside a leader whom it cannot hear; 0 where nobody else could.
    pub(super) fn term(self) -> Option<u64> {
        match self {
            Self::Alone => Some(0),
            Self::Leading { term, .. } => Some(term),
            Self::Following | Self::Isolated => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Following => "following",
            Self::Leading { .. } => "leading",
            Self::Isolated => "isolated",
        }
    }

    /// Where a failed turn leaves a node that has failed since `failing`.
    fn after_failure(self, failing: Instant, now: Instant) -> Self {
        let expired = now.duration_since(failing) >= LEASE;
        if expired && !self.feeds(now) { Self::Isolated } else { self }
    }
}

/// One node's turns.
struct Turns {
    lease: Lease,
    demand: Arc<Demand>,
    bus: Bus,
    clock: Clock,
    standing: watch::Sender<Standing>,
    /// The coins that Redis was told are wanted here.
    told: HashSet<AssetId>,
    /// Since when no turn has succeeded, if the last one has not.
    failing: Option<Instant>,
}

impl Turns {
    async fn run(mut self, stop: CancellationToken) {
        let mut heard = self.bus.subscribe(&pokes());
        loop {
            let began = self.clock.instant();
            self.turn(began).await;
            let pause = if self.failing.is_some() { RETRY } else { PERIOD };
            let reached = self.lease.reached();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(began + pause) => {}
                () = self.demand.changed() => {}
                () = reached => {}
                () = self.poked(&mut heard) => {}
            }
            sleep_until(began + BREATH).await;
        }
        self.leave().await;
    }

    async fn turn(&mut self, now: Instant) {
        let standing = *self.standing.borrow();
        let wanted = self.demand.wanted_here();
        let idle = wanted.is_empty() && self.told.is_empty() && !matches!(standing, Standing::Leading { .. });
        if idle && self.lease.is_reachable() {
            return self.follow();
        }
        let dropped = self.told.iter().filter(|coin| !wanted.contains(*coin)).cloned().collect();
        // A node that feeds tells its own readers again itself.
        let asked = if standing.feeds(now) { Vec::new() } else { self.demand.take_asked() };
        let claim = Claim { wanted: wanted.into_iter().collect(), dropped, asked };
        match self.lease.turn(&claim).await {
            Ok(turn) => self.succeeded(claim, turn, now).await,
            Err(error) => self.failed(claim, &error, now),
        }
    }

    async fn succeeded(&mut self, claim: Claim, turn: Turn, began: Instant) {
        self.told = claim.wanted.into_iter().collect();
        match turn {
            Turn::Lead { term, elsewhere, asked } => {
                counter!("tidegate_feed_turns_total", "outcome" => "led").increment(1);
                self.failing = None;
                self.demand.set_elsewhere(elsewhere);
                self.demand.ask(asked);
                self.stand(Standing::Leading { term, until: began + LEASE - MARGIN });
            }
            Turn::Follow => {
                counter!("tidegate_feed_turns_total", "outcome" => "followed").increment(1);
                self.follow();
                if !claim.asked.is_empty() {
                    self.poke(News::Wanted).await;
                }
            }
        }
    }

    fn failed(&mut self, claim: Claim, error: &RedisError, began: Instant) {
        counter!("tidegate_feed_turns_total", "outcome" => "failed").increment(1);
        self.demand.put_back(claim.asked);
        let failing = *self.failing.get_or_insert(began);
        let standing = *self.standing.borrow();
        let next = standing.after_failure(failing, self.clock.instant());
        if next != standing {
            tracing::warn!(%error, "the feed is cut off: this node feeds its own subscribers");
            // What it was told of others is out of date.
            self.demand.set_elsewhere(Vec::new());
            self.stand(next);
        }
    }

    /// Lets another node feed.
    fn follow(&mut self) {
        self.failing = None;
        if *self.standing.borrow() != Standing::Following {
            self.stand(Standing::Following);
            self.demand.lay_down();
        }
    }

    fn stand(&self, standing: Standing) {
        let before = self.standing.send_replace(standing);
        if before.label() != standing.label() {
            tracing::info!(before = before.label(), now = standing.label(), "the feed's standing changed");
            report(standing);
        }
    }

    async fn leave(&mut self) {
        let led = matches!(*self.standing.borrow(), Standing::Leading { .. });
        self.follow();
        let left = self.lease.leave(self.told.drain().collect()).await;
        if led && left.is_ok() {
            self.poke(News::Released).await;
        }
    }

    async fn poke(&self, news: News) {
        self.bus.publish(&pokes(), Poke { from: self.lease.node().0, news }).await;
    }

    /// Waits for a reason of another node's to take a turn at once.
    async fn poked(&self, heard: &mut Subscription<Poke>) {
        loop {
            match heard.next().await {
                Some(Delivered::Message { message: Poke { from, .. }, .. }) if from == self.lease.node().0 => {}
                Some(Delivered::Message { message: Poke { news, .. }, .. }) => {
                    let leads = matches!(*self.standing.borrow(), Standing::Leading { .. });
                    if leads == (news == News::Wanted) {
                        return;
                    }
                }
                Some(Delivered::Missed(_)) => return,
                None => std::future::pending().await,
            }
        }
    }
}

fn report(standing: Standing) {
    let is = |yes: bool| if yes { 1.0 } else { 0.0 };
    gauge!("tidegate_feed_leader").set(is(matches!(standing, Standing::Alone | Standing::Leading { .. })));
    gauge!("tidegate_feed_isolated").set(is(standing == Standing::Isolated));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_stops_before_its_lease_does_and_is_isolated_only_afterwards() {
        let clock = Clock::stepped_from(chrono::DateTime::UNIX_EPOCH);
        let start = clock.instant();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let leading = Standing::Leading { term: 7, until: at(0) + LEASE - MARGIN };
        for (standing, failing, now, expected, feeds) in [
            (leading, 1_000, 1_250, leading, true),
            (leading, 1_000, 2_499, leading, true),
            (leading, 1_000, 2_500, leading, false),
            (leading, 1_000, 3_999, leading, false),
            (leading, 1_000, 4_000, Standing::Isolated, true),
            (Standing::Following, 1_000, 3_999, Standing::Following, false),
            (Standing::Following, 1_000, 4_000, Standing::Isolated, true),
            (Standing::Isolated, 1_000, 9_000, Standing::Isolated, true),
        ] {
            let found = standing.after_failure(at(failing), at(now));
            assert_eq!((found, found.feeds(at(now))), (expected, feeds), "{standing:?} at {now}");
        }
    }
}
