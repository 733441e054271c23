//! Redis: one link for commands, shared by lanes with deadlines of their own, and lines for what is published.
//!
//! `target.rs` knows where it is, `link.rs` keeps a connection alive, `lane.rs` sends commands, `channels/` listens.

mod channels;
mod cluster;
mod cool_off;
mod error;
mod heartbeat;
mod lane;
mod link;
mod lua;
mod partition;
mod target;

use std::{fmt, sync::Arc, time::Duration};

pub use channels::{Heard, Listening};
pub use error::{RedisError, RedisOpenError};
pub use lane::Lane;
pub use link::LinkState;
pub use lua::Lua;
pub use partition::{PARTITIONS, partition_of};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{channels::Channels, link::Link, target::Target};
use crate::{
    config::RedisConfig,
    model::{Chance, Clock},
};

/// What [`Redis`] is opened with, apart from its configuration.
#[derive(Clone)]
pub struct RedisParts {
    /// The time.
    pub clock: Clock,
    /// Chance: the node's name, and jitter.
    pub chance: Chance,
    /// Keeps the background work.
    pub tasks: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
}

/// A Redis server or cluster. Clones share everything.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    node: NodeId,
    prefix: String,
    link: Arc<Link>,
    channels: Channels,
}

/// One process among those that share a Redis; another one after every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Redis {
    /// Opens the link, which connects in the background and comes back after every outage. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// An address or a certificate that cannot be used. A server that is away is no error.
    pub fn open(config: &RedisConfig, parts: &RedisParts) -> Result<Self, RedisOpenError> {
        let target = Arc::new(Target::new(config)?);
        let node = NodeId(parts.chance.number());
        let heartbeat = Duration::from_millis(config.heartbeat_ms);
        let link = Link::start(Arc::clone(&target), node, &config.key_prefix, heartbeat, parts);
        let channels = Channels::start(target, Arc::clone(&link), node, config, parts);
        Ok(Self(Arc::new(Shared { node, prefix: config.key_prefix.clone(), link, channels })))
    }

    /// This process.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// How many nodes shared this Redis at the last heartbeat, this one included.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.0.link.nodes()
    }

    /// Whether the last heartbeat was answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.0.link.state().borrow() == LinkState::Up
    }

    /// The state of the link, as it changes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.0.link.state()
    }

    /// Why the link is down, for operators.
    #[must_use]
    pub fn trouble(&self) -> String {
        self.0.link.trouble()
    }

    /// Whether this is a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.0.link.is_cluster()
    }

    /// The name of a key or channel. Braces in `name` are Redis' hash tags.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    /// The hash tag of a partition, without braces. Their slots are spread evenly.
    #[must_use]
    pub fn partition_tag(&self, partition: u16) -> &'static str {
        partition::tag(partition)
    }

    /// The command by which a script publishes to a channel that is among its keys.
    #[must_use]
    pub fn publish_verb(&self) -> &'static str {
        if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// A way to send commands for one purpose, each answered within `deadline` or failed. `name` labels its metrics.
    #[must_use]
    pub fn lane(&self, name: &'static str, deadline: Duration) -> Lane {
        Lane::new(name, deadline, Arc::clone(&self.0.link))
    }

    /// Follows a channel until the listening is dropped.
    #[must_use]
    pub fn listen(&self, channel: String) -> Listening {
        self.0.channels.listen(channel)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("node", &self.0.node).field("up", &self.is_up()).finish_non_exhaustive()
    }
}
