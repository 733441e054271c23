//! What is published in Redis, channel by channel: subscriptions that come back after every fault.
//!
//! Owns the connections that carry subscriptions, **lines**: one for a single server, and in a cluster one for each slot
//! that somebody listens to, as all channels of a sharded subscription must be in one slot. The client library's own
//! resubscription is not used: it loses every sharded channel on a disconnection, and a channel whose slot moves.
//! `line.rs` keeps a line alive, `dialler.rs` finds the server, `board.rs` knows who reads what, `probe.rs` finds out
//! whether the line hears, `mailbox.rs` is what a reader has not read yet. It must never make a publisher wait, nor keep
//! more than its bounds. `tests/it/redis_channels.rs` proves it against real servers.

mod board;
mod dialler;
mod line;
mod listening;
mod loss;
mod mailbox;
mod meters;
mod probe;

use std::{collections::HashMap, sync::Arc};

pub use listening::Listening;
pub use mailbox::Heard;
use parking_lot::Mutex;

use self::{
    board::Board,
    dialler::{Dialler, Nodes},
    line::Line,
    meters::Meters,
    probe::Probe,
};
use super::{NodeId, RedisParts, lane::Lane, link::Link, partition, target::Target};
use crate::config::RedisConfig;

/// All channels that this process listens to.
pub(super) struct Channels {
    target: Arc<Target>,
    link: Arc<Link>,
    lane: Lane,
    node: NodeId,
    prefix: String,
    parts: RedisParts,
    nodes: Nodes,
    lines: Lines,
    meters: Meters,
}

/// The boards of the lines that run, by slot. On a single server there is one line, for "slot" 0.
type Lines = Arc<Mutex<HashMap<u16, Arc<Board>>>>;

impl Channels {
    pub(super) fn start(
        target: Arc<Target>,
        link: Arc<Link>,
        node: NodeId,
        config: &RedisConfig,
        parts: &RedisParts,
    ) -> Self {
        Self {
            nodes: Nodes::new(target.seeds()),
            lane: Lane::new("probe", probe::DEADLINE, Arc::clone(&link)),
            target,
            link,
            node,
            prefix: config.key_prefix.clone(),
            parts: parts.clone(),
            lines: Lines::default(),
            meters: Meters::new(),
        }
    }

    /// Starts to listen. Must be called inside a tokio runtime.
    pub(super) fn listen(&self, channel: String) -> Listening {
        let slot = if self.target.is_cluster() { partition::slot(channel.as_bytes()) } else { 0 };
        // A line retires under the same lock, and only when nobody reads it.
        let mut lines = self.lines.lock();
        let board = lines.entry(slot).or_insert_with(|| self.start_line(slot));
        Listening::new(Arc::clone(board), channel)
    }

    fn start_line(&self, slot: u16) -> Arc<Board> {
        let board = Arc::new(Board::new(self.probe_channel(slot), self.meters.clone()));
        let line = Line {
            slot,
            board: Arc::clone(&board),
            dialler: Dialler::new(Arc::clone(&self.target), self.nodes.clone()),
            probe: Probe::new(self.lane.clone(), self.target.is_cluster()),
            lines: Arc::clone(&self.lines),
            link: self.link.state(),
            clock: self.parts.clock.clone(),
            chance: self.parts.chance.clone(),
        };
        let (stop, meters) = (self.parts.stop.clone(), self.meters.clone());
        let kept = Arc::clone(&board);
        self.parts.tasks.spawn(async move {
            meters.lines.increment(1);
            stop.run_until_cancelled_owned(line.keep()).await;
            kept.lose();
            meters.lines.decrement(1);
        });
        board
    }

    /// A channel of the slot that no other node and nobody else uses.
    fn probe_channel(&self, slot: u16) -> String {
        let Self { prefix, node, .. } = self;
        if !self.target.is_cluster() {
            return format!("{prefix}probe:{node}");
        }
        let lies_there = |tag: &String| partition::slot(tag.as_bytes()) == slot;
        let tag = (0..=u32::MAX).map(|number| number.to_string()).find(lies_there).expect("every slot has numbers");
        format!("{prefix}probe:{{{tag}}}:{node}")
    }
}
