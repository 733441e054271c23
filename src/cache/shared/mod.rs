//! The shared tier: values and revocations that several nodes have in common.
//!
//! A value is judged by the clock that the nodes share: its envelope carries the point that its loader knew when the load
//! began, and it is dead where one of its slots is known to have been revoked later. Every revocation is one step of that
//! clock, told to all in one message, so a node sees what it has missed. `mirror.rs` is what this node knows,
//! `follow.rs` keeps that true, `envelope.rs` is the format, `remote.rs` the other side.
//!
//! Nothing here may delay a caller beyond its lane's deadline, or fail a call: what cannot be reached is a miss. A tier
//! in another store is a variant of [`Remote`]. Proven by `interleavings/` over two nodes of a model, by `contract.rs`,
//! which the model and Redis both pass (`tests/it/cache_contract.rs`), and by `tests/it/cache_shared.rs` on real servers.

mod envelope;
mod follow;
mod mirror;
mod redis;
mod remote;
mod stamp;

#[cfg(test)]
pub(super) mod contract;
#[cfg(test)]
pub(super) mod model;

use std::{sync::Arc, time::Duration};

pub(super) use envelope::{Content, Envelope};
pub(super) use mirror::{Mirror, Verdict};
pub(super) use remote::Remote;
pub(super) use stamp::Stamp;
use tokio::sync::{Notify, Semaphore};

use self::redis::RedisTier;
use super::{revocations::Revocations, slots::Slot};
use crate::{
    config::CacheConfig,
    model::Clock,
    store::{NodeId, Redis},
};

/// Flights and writers that may write at once; more are not written.
const MAX_WRITES: usize = 256;

/// This node's end of what the nodes share.
pub(super) struct SharedTier {
    pub(super) remote: Remote,
    pub(super) mirror: Mirror,
    pub(super) writes: Semaphore,
    /// Something is not here yet.
    ahead: Notify,
}

impl SharedTier {
    /// The tier of a process that is alone.
    pub(super) fn none(revocations: Arc<Revocations>) -> Self {
        Self::with(Remote::None, Mirror::of_one(revocations))
    }

    pub(super) fn redis(redis: &Redis, config: &CacheConfig, revocations: Arc<Revocations>, clock: Clock) -> Self {
        let remote = Remote::Redis(RedisTier::new(redis, Duration::from_millis(config.redis_deadline_ms)));
        Self::over(remote, redis.node(), Duration::from_millis(config.blind_fresh_ms), revocations, clock)
    }

    pub(super) fn over(
        remote: Remote,
        node: NodeId,
        blind_fresh: Duration,
        revocations: Arc<Revocations>,
        clock: Clock,
    ) -> Self {
        Self::with(remote, Mirror::new(revocations, node, clock, blind_fresh))
    }

    fn with(remote: Remote, mirror: Mirror) -> Self {
        Self { remote, mirror, writes: Semaphore::new(MAX_WRITES), ahead: Notify::new() }
    }

    /// Revokes in this process at once, and elsewhere when the future is driven. The future gives the step of the shared
    /// clock, if Redis has taken it; else the slots are owed.
    pub(super) fn revoke(&self, slots: Vec<Slot>) -> impl Future<Output = Option<Stamp>> {
        let debt = if self.remote.is_none() {
            self.mirror.revoke_here(&slots);
            None
        } else {
            Some(self.mirror.owe(slots))
        };
        async move {
            let debt = debt?;
            // A debt that is dropped, here or with this future, remains owed.
            let stamp = self.remote.revoke(debt.slots()).await.ok()?;
            self.mirror.settle(debt, stamp);
            Some(stamp)
        }
    }

    /// Whether an entry from the other side, stamped so, may be used.
    pub(super) fn accepts(&self, stamp: Stamp, slots: &[Slot]) -> bool {
        match self.mirror.judge(stamp, slots) {
            Some(Verdict::Alive) => true,
            Some(Verdict::Ahead) => {
                self.ahead.notify_one();
                true
            }
            Some(Verdict::Dead) | None => false,
        }
    }

    /// Leaves a tombstone where a key was invalidated, so that an older load cannot put its value there.
    pub(super) async fn bury(&self, name: &str, stamp: Stamp, keep: Duration) {
        if let Some(tombstone) = Envelope::tombstone(stamp).seal(0) {
            // Without it the value is dead all the same: the stamp says so. It only lies there longer.
            let _ = self.remote.put(name, &tombstone, keep).await;
        }
    }
}

impl std::fmt::Debug for SharedTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedTier").field("live", &self.mirror.is_live()).finish_non_exhaustive()
    }
}
