//! The feed's lease in Redis: one script per turn, so that wanting, leading and learning happen at one moment.
//!
//! Only this file knows the keys. They share a hash tag: in a cluster one master decides. `turn.lua` has the rules.

use std::{sync::LazyLock, time::Duration};

use crate::{
    model::AssetId,
    store::{Lane, LinkState, Lua, NodeId, Redis, RedisError},
};

static TURN: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("turn.lua")));

/// Longest wait for the answer to a turn.
const DEADLINE: Duration = Duration::from_millis(500);

/// How long a node leads, and how long its wants count, after its last turn.
pub(super) const LEASE: Duration = Duration::from_secs(3);

/// This node's share in the lease.
#[derive(Clone)]
pub struct Lease {
    redis: Redis,
    lane: Lane,
    node: String,
    keys: [String; 4],
}

/// What a node has to say at its turn.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// Every coin that somebody watches here.
    pub(super) wanted: Vec<AssetId>,
    /// Coins that it named before, and that nobody watches here any more.
    pub(super) dropped: Vec<AssetId>,
    /// Coins whose last tick somebody here has not heard.
    pub(super) asked: Vec<AssetId>,
}

/// What a node is told at its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Another node leads, or nobody wants anything.
    Follow,
    /// This node leads.
    Lead {
        /// Grows with every change of the leader.
        term: u64,
        /// The coins that other nodes want.
        elsewhere: Vec<AssetId>,
        /// The coins whose last tick somebody has not heard.
        asked: Vec<AssetId>,
    },
}

impl Lease {
    pub(super) fn new(redis: &Redis) -> Self {
        let key = |name| redis.key(&format!("feed:{{feed}}:{name}"));
        Self {
            redis: redis.clone(),
            lane: redis.lane("feed", DEADLINE),
            node: redis.node().to_string(),
            keys: ["lease", "term", "wanted", "asked"].map(key),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.redis.node()
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.redis.is_up()
    }

    /// Waits until Redis is reached again. Never ends once Redis has been closed.
    pub(super) fn reached(&self) -> impl Future<Output = ()> + use<> {
        let mut link = self.redis.link();
        // What it is now is known already.
        link.mark_unchanged();
        async move {
            while link.changed().await.is_ok() {
                if *link.borrow_and_update() == LinkState::Up {
                    return;
                }
            }
            std::future::pending::<()>().await;
        }
    }

    /// Wants, and leads if nobody else does.
    pub(super) async fn turn(&self, claim: &Claim) -> Result<Turn, RedisError> {
        self.run(LEASE, claim).await
    }

    /// Wants nothing of what it named before any more, and stops leading.
    pub(super) async fn leave(&self, dropped: Vec<AssetId>) -> Result<(), RedisError> {
        self.run(Duration::ZERO, &Claim { dropped, ..Claim::default() }).await.map(drop)
    }

    async fn run(&self, lease: Duration, claim: &Claim) -> Result<Turn, RedisError> {
        let numbers = [lease.as_millis(), LEASE.as_millis(), claim.wanted.len() as u128, claim.dropped.len() as u128];
        let numbers = numbers.map(|number| number.to_string());
        let named = [&claim.wanted, &claim.dropped, &claim.asked].into_iter().flatten();
        let args = [self.node.as_bytes()].into_iter().chain(numbers.iter().map(String::as_bytes));
        let args: Vec<&[u8]> = args.chain(named.map(|coin| coin.as_str().as_bytes())).collect();
        let keys = self.keys.each_ref().map(String::as_str);
        let (leads, term, elsewhere, asked): (bool, u64, Vec<String>, Vec<String>) =
            self.lane.script(&TURN, &keys, &args).await?;
        Ok(if leads { Turn::Lead { term, elsewhere: ids(&elsewhere), asked: ids(&asked) } } else { Turn::Follow })
    }
}

/// Names that are no ids come from a version of this program that does not exist yet, and are left to it.
fn ids(names: &[String]) -> Vec<AssetId> {
    names.iter().filter_map(|name| AssetId::new(name).ok()).collect()
}
