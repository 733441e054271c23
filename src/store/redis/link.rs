//! The one connection that all commands share, and the task that keeps it.
//!
//! Commands never connect: they take the connection that is there, or fail at once. The task connects, listens for the
//! heart, and replaces a connection that is silent or broken, for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge};
use parking_lot::RwLock;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value, aio::MultiplexedConnection};
use tokio::sync::{Notify, watch};

use super::{Lua, NodeId, RedisError, RedisParts, cluster::Cluster, heartbeat::Heart, target::Target};
use crate::model::{Chance, Clock, Instant};

/// Time between two attempts to connect, which doubles from one bound to the other.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two heartbeats, whatever lanes suspect.
const BETWEEN_BEATS: Duration = Duration::from_millis(50);

/// Whether Redis answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The last heartbeat was answered.
    Up,
    /// It was not, or there has been none yet.
    Down,
}

/// A connection to all of Redis.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(Cluster),
}

impl Connection {
    /// Sends a command about a key of `slot`, which a single server ignores.
    pub(super) async fn send(&mut self, slot: u16, command: &Cmd) -> redis::RedisResult<Value> {
        match self {
            // The library hands errors of the server back as values.
            Self::Single(connection) => connection.send_packed_command(command).await?.extract_error(),
            Self::Cluster(cluster) => cluster.send(slot, command).await,
        }
    }

    /// Runs a script by its hash, and by its text where the server does not know it yet.
    pub(super) async fn run(
        &mut self,
        slot: u16,
        script: &Lua,
        keys: &[&str],
        args: &[&[u8]],
    ) -> redis::RedisResult<Value> {
        let answer = self.send(slot, &script.by_hash(keys, args)).await;
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(slot, &script.by_text(keys, args)).await
            }
            answer => answer,
        }
    }
}

pub(super) struct Link {
    target: Arc<Target>,
    clock: Clock,
    began: Instant,
    current: RwLock<Option<Connection>>,
    /// Counts connections; 0 before the first.
    generation: AtomicU64,
    nodes: AtomicU32,
    state: watch::Sender<LinkState>,
    /// Why the link is down, in words; `None` while it is up, and before the first attempt.
    trouble: RwLock<Option<String>>,
    /// A lane saw the connection fail.
    suspected: Notify,
}

impl Link {
    pub(super) fn start(
        target: Arc<Target>,
        node: NodeId,
        prefix: &str,
        interval: Duration,
        parts: &RedisParts,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            target,
            began: parts.clock.instant(),
            clock: parts.clock.clone(),
            current: RwLock::default(),
            generation: AtomicU64::new(0),
            nodes: AtomicU32::new(1),
            state: watch::Sender::new(LinkState::Down),
            trouble: RwLock::default(),
            suspected: Notify::new(),
        });
        gauge!("tidegate_redis_up").set(0.0);
        let keep = Arc::clone(&link).keep(Heart::new(node, prefix, interval), parts.chance.clone());
        let stopped = parts.stop.clone();
        parts.tasks.spawn(async move { stopped.run_until_cancelled_owned(keep).await });
        link
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.target.is_cluster()
    }

    pub(super) fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Why the link is down.
    pub(super) fn trouble(&self) -> String {
        self.trouble.read().clone().unwrap_or_else(|| "not connected yet".to_owned())
    }

    /// The connection, if there is one, and its number.
    pub(super) fn connection(&self) -> Option<(Connection, u64)> {
        let connection = self.current.read().clone()?;
        Some((connection, self.generation.load(Ordering::Relaxed)))
    }

    /// Asks for a heartbeat now.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// The time since the link began.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.began)
    }

    /// Connects, and again, for ever.
    async fn keep(self: Arc<Self>, heart: Heart, chance: Chance) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let trouble = match self.connect().await {
                Ok(connection) => {
                    let lived = self.serve(connection, &heart, &mut pause).await;
                    counter!("tidegate_redis_connections_lost_total").increment(1);
                    lived
                }
                Err(error) => error,
            };
            *self.current.write() = None;
            self.turn_down(&trouble);
            tokio::time::sleep(chance.spread(pause, 0.5)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        Ok(if self.is_cluster() {
            Connection::Cluster(Cluster::connect(&self.target).await?)
        } else {
            Connection::Single(self.target.connect().await?)
        })
    }

    /// Lends the connection out as long as its heart beats; returns why it does not.
    async fn serve(&self, connection: Connection, heart: &Heart, pause: &mut Duration) -> RedisError {
        // Only a connection that has answered is lent out: a server that accepts and is silent must not cost deadlines.
        let mut last = heart.beat(connection.clone()).await;
        let mut misses = 0;
        self.generation.fetch_add(1, Ordering::Relaxed);
        loop {
            match last {
                Ok(nodes) => {
                    misses = 0;
                    *pause = SHORTEST_PAUSE;
                    self.nodes.store(nodes.unwrap_or_else(|| self.nodes()).max(1), Ordering::Relaxed);
                    if self.current.read().is_none() {
                        *self.current.write() = Some(connection.clone());
                    }
                    self.turn_up();
                }
                Err(error) => {
                    misses += 1;
                    self.turn_down(&error);
                    // A cluster mends itself where it can, and is worth a second beat.
                    if !self.is_cluster() || misses > 2 {
                        return error;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(heart.interval) => {}
                () = self.suspicion() => {}
            }
            last = heart.beat(connection.clone()).await;
        }
    }

    /// Waits until a lane has seen the connection fail. While one master of a cluster is dead, lanes see that all the
    /// time: their words share a beat, and an attempt to dial it.
    async fn suspicion(&self) {
        tokio::time::sleep(BETWEEN_BEATS).await;
        self.suspected.notified().await;
    }

    fn turn_up(&self) {
        if self.state.send_if_modified(|state| std::mem::replace(state, LinkState::Up) == LinkState::Down) {
            *self.trouble.write() = None;
            gauge!("tidegate_redis_up").set(1.0);
            tracing::info!(cluster = self.is_cluster(), "redis is up");
        }
    }

    fn turn_down(&self, error: &RedisError) {
        let first = self.trouble.write().replace(error.to_string()).is_none();
        self.state.send_if_modified(|state| std::mem::replace(state, LinkState::Down) == LinkState::Up);
        if first {
            gauge!("tidegate_redis_up").set(0.0);
            tracing::warn!(%error, "redis is down; this node goes on by itself");
        }
    }
}
