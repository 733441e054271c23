//! A cluster as its commands see it: who owns which slot, and a connection to each owner.
//!
//! Not redis-rs's own cluster connection, because that stops all commands to all slots while one slot moves under load
//! (see docs/adr/0013). Here a command goes to the slot's owner as far as it is known, and follows `MOVED` and `ASK`;
//! the map is mended on the way. Commands never connect: a node without a connection is an error at once, and
//! [`Cluster::tend`] sees to it. Proven by `tests/it/redis_link.rs`.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::RwLock;
use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, Value, aio::MultiplexedConnection};

use super::{
    RedisError,
    partition::SLOTS,
    target::{Address, Target, parse},
};

/// How often one command is sent on: a redirection, a second one because the map was old, and some patience while the
/// slot is between two owners.
const HOPS: usize = 8;
/// Time between two tries at a slot that is between two owners.
const BETWEEN: Duration = Duration::from_millis(5);

/// A connection to each master of a cluster. Clones share them.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Shared>);

struct Shared {
    target: Arc<Target>,
    map: RwLock<Map>,
    /// A command found the map to be old.
    outdated: AtomicBool,
    visits: AtomicU32,
}

#[derive(Default)]
struct Map {
    owners: Vec<Range>,
    nodes: HashMap<Address, Node>,
}

/// Slots and their owner, in the order of the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    owner: Address,
}

enum Node {
    Connected(MultiplexedConnection),
    Dialling,
    /// Somebody has sent us there, and nobody has dialled it yet.
    Mentioned,
    Lost,
}

impl Cluster {
    /// Finds the cluster by any of its seeds and connects to its masters, as far as they can be reached.
    pub(super) async fn connect(target: &Arc<Target>) -> Result<Self, RedisError> {
        let mut refusal = RedisError::Unavailable;
        for seed in target.seeds() {
            match Self::connect_by(target, seed).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    async fn connect_by(target: &Arc<Target>, seed: &Address) -> Result<Self, RedisError> {
        let connection = target.connect_to(seed, target.connection_config()).await?;
        let owners = ask_for_owners(Duration::from_secs(1), connection.clone(), seed).await?;
        let map = Map { owners, nodes: HashMap::from([(seed.clone(), Node::Connected(connection))]) };
        let shared = Shared::new(Arc::clone(target), map);
        let cluster = Self(Arc::new(shared));
        join_all(cluster.0.undialled().into_iter().map(|node| cluster.0.dial(node))).await;
        Ok(cluster)
    }

    /// Sends a command to the owner of `slot`, wherever that has gone.
    pub(super) async fn send(&self, slot: u16, command: &Cmd) -> redis::RedisResult<Value> {
        let mut to = self.0.owner(slot)?;
        let mut asking = false;
        let mut last = unreachable("the slot has no owner");
        for _ in 0..HOPS {
            let answer = self.0.send_to(&to, command, asking).await;
            let Err(error) = answer else { return answer };
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    to = redirected(&error, &to)?;
                    asking = false;
                    self.0.moved(slot, &to);
                }
                ErrorKind::Server(ServerErrorKind::Ask) => {
                    to = redirected(&error, &to)?;
                    asking = true;
                    self.0.mention(&to);
                }
                ErrorKind::Server(ServerErrorKind::TryAgain) => tokio::time::sleep(BETWEEN).await,
                _ => return Err(error),
            }
            last = error;
        }
        Err(last)
    }

    /// Looks after the masters: drops those that are silent for longer than `patience`, draws the map anew where a
    /// command found it old and now and then, and dials in the background. Whether any of them answered.
    pub(super) async fn tend(&self, patience: Duration) -> bool {
        /// Maps are drawn anew after this many visits at the latest.
        const VISITS: u32 = 10;
        let answered = join_all(self.0.connected().into_iter().map(|(node, connection)| async move {
            let answered = within(patience, connection, &redis::cmd("PING")).await.is_ok();
            if !answered {
                self.0.lose(&node);
            }
            answered
        }))
        .await;
        let visits = self.0.visits.fetch_add(1, Ordering::Relaxed);
        if self.0.outdated.swap(false, Ordering::Relaxed) || visits.is_multiple_of(VISITS) {
            self.0.redraw(patience).await;
        }
        for node in self.0.undialled() {
            let shared = Arc::clone(&self.0);
            tokio::spawn(async move { shared.dial(node).await });
        }
        answered.contains(&true)
    }
}

impl Shared {
    fn new(target: Arc<Target>, map: Map) -> Self {
        Self { target, map: RwLock::new(map), outdated: AtomicBool::new(false), visits: AtomicU32::new(1) }
    }

    async fn send_to(&self, node: &Address, command: &Cmd, asking: bool) -> redis::RedisResult<Value> {
        let mut connection = self.connection(node)?;
        let answer = if asking {
            // In one breath: the permission to ask is for the next command of this connection, whosever that is.
            let mut both = redis::Pipeline::with_capacity(2);
            both.cmd("ASKING").ignore().add_command(command.clone());
            connection.send_packed_commands(&both, 1, 1).await.map(|mut answers| answers.pop().unwrap_or(Value::Nil))
        } else {
            connection.send_packed_command(command).await
        };
        // The library hands errors of the server back as values.
        answer.and_then(Value::extract_error).inspect_err(|error| {
            if error.is_unrecoverable_error() {
                self.lose(node);
            }
            if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ClusterDown | ServerErrorKind::ReadOnly)) {
                self.outdated.store(true, Ordering::Relaxed);
            }
        })
    }

    fn owner(&self, slot: u16) -> redis::RedisResult<Address> {
        let map = self.map.read();
        let at = map.owners.partition_point(|range| range.last < slot);
        let range = map.owners.get(at).filter(|range| range.first <= slot);
        range.map(|range| range.owner.clone()).ok_or_else(|| {
            self.outdated.store(true, Ordering::Relaxed);
            unreachable("the slot has no owner")
        })
    }

    fn connection(&self, node: &Address) -> redis::RedisResult<MultiplexedConnection> {
        match self.map.read().nodes.get(node) {
            Some(Node::Connected(connection)) => Ok(connection.clone()),
            _ => Err(unreachable("the slot's owner is not connected")),
        }
    }

    fn connected(&self) -> Vec<(Address, MultiplexedConnection)> {
        let map = self.map.read();
        let connected = map.nodes.iter().filter_map(|(address, node)| match node {
            Node::Connected(connection) => Some((address.clone(), connection.clone())),
            Node::Dialling | Node::Mentioned | Node::Lost => None,
        });
        connected.collect()
    }

    /// Notes the new owner of one slot; the rest of the map is drawn anew at the next heartbeat.
    fn moved(&self, slot: u16, to: &Address) {
        self.outdated.store(true, Ordering::Relaxed);
        let mut map = self.map.write();
        map.nodes.entry(to.clone()).or_insert(Node::Lost);
        let at = map.owners.partition_point(|range| range.last < slot);
        let Some(range) = map.owners.get(at).filter(|range| range.first <= slot && range.owner != *to).cloned() else {
            return;
        };
        let around = [
            (range.first..slot, range.owner.clone()),
            (slot..slot + 1, to.clone()),
            (slot + 1..range.last + 1, range.owner),
        ];
        let parts = around.into_iter().filter(|(slots, _)| !slots.is_empty());
        map.owners
            .splice(at..=at, parts.map(|(slots, owner)| Range { first: slots.start, last: slots.end - 1, owner }));
    }

    /// Makes a node known that is about to own its first slot.
    fn mention(&self, node: &Address) {
        if !self.map.read().nodes.contains_key(node) {
            self.map.write().nodes.entry(node.clone()).or_insert(Node::Mentioned);
        }
    }

    fn lose(&self, node: &Address) {
        self.outdated.store(true, Ordering::Relaxed);
        if let Some(kept) = self.map.write().nodes.get_mut(node) {
            *kept = Node::Lost;
        }
    }

    /// Asks one node after the other for the map.
    async fn redraw(&self, patience: Duration) {
        for (address, connection) in self.connected() {
            if let Ok(owners) = ask_for_owners(patience, connection, &address).await {
                let masters: HashSet<Address> = owners.iter().map(|range| range.owner.clone()).collect();
                let mut map = self.map.write();
                // A master that is being given its first slots owns none yet.
                map.nodes.retain(|node, state| masters.contains(node) || !matches!(state, Node::Lost));
                map.owners = owners;
                return;
            }
            self.lose(&address);
        }
    }

    /// The masters that are not connected, from now on marked as being dialled.
    fn undialled(&self) -> Vec<Address> {
        let mut map = self.map.write();
        let Map { owners, nodes } = &mut *map;
        for range in owners.iter() {
            if !nodes.contains_key(&range.owner) {
                nodes.insert(range.owner.clone(), Node::Lost);
            }
        }
        let lost = nodes.iter_mut().filter(|(_, node)| matches!(node, Node::Mentioned | Node::Lost));
        lost.map(|(address, node)| {
            *node = Node::Dialling;
            address.clone()
        })
        .collect()
    }

    async fn dial(&self, node: Address) {
        let dialled = self.target.connect_to(&node, self.target.connection_config()).await;
        if let Some(kept) = self.map.write().nodes.get_mut(&node) {
            *kept = dialled.map_or(Node::Lost, Node::Connected);
        }
    }
}

async fn within(patience: Duration, mut connection: MultiplexedConnection, command: &Cmd) -> redis::RedisResult<Value> {
    let answer = tokio::time::timeout(patience, connection.send_packed_command(command)).await;
    answer.unwrap_or_else(|_elapsed| Err(unreachable("the node is silent"))).and_then(Value::extract_error)
}

/// Who owns what, as `asked` sees it.
async fn ask_for_owners(
    patience: Duration,
    connection: MultiplexedConnection,
    asked: &Address,
) -> redis::RedisResult<Vec<Range>> {
    let answer = within(patience, connection, redis::cmd("CLUSTER").arg("SLOTS")).await?;
    let rows = Vec::<Vec<Value>>::from_redis_value(answer)?;
    let mut owners: Vec<Range> = rows.into_iter().filter_map(|row| range(row, asked)).collect();
    if owners.is_empty() {
        return Err(unreachable("the cluster has no slots"));
    }
    owners.sort_unstable_by_key(|range| range.first);
    Ok(owners)
}

/// A row of `CLUSTER SLOTS`: first slot, last slot, the master, its replicas.
fn range(row: Vec<Value>, asked: &Address) -> Option<Range> {
    let mut row = row.into_iter();
    let mut slot = || u16::from_redis_value(row.next()?).ok();
    let (first, last) = (slot()?, slot().filter(|last| *last < SLOTS)?);
    let mut master = Vec::<Value>::from_redis_value(row.next()?).ok()?.into_iter();
    // A node that does not know its own name means the one by which we reached it.
    let host = Option::<String>::from_redis_value(master.next()?).ok()?.filter(|host| !host.is_empty());
    let port = u16::from_redis_value(master.next()?).ok()?;
    Some(Range { first, last, owner: Address { host: host.unwrap_or_else(|| asked.host.clone()), port } })
}

fn redirected(error: &redis::RedisError, by: &Address) -> redis::RedisResult<Address> {
    let (to, _slot) = error.redirect_node().ok_or_else(|| error.clone())?;
    let address = parse(to).ok_or_else(|| error.clone())?;
    Ok(if address.host.is_empty() { Address { host: by.host.clone(), ..address } } else { address })
}

fn unreachable(why: &'static str) -> redis::RedisError {
    (ErrorKind::ClusterConnectionNotFound, why).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisConfig;

    fn node(port: u16) -> Address {
        Address { host: "127.0.0.1".to_owned(), port }
    }

    fn shared(owners: &[(u16, u16, u16)]) -> Shared {
        let config = RedisConfig { url: Some("redis://127.0.0.1:1".into()), ..RedisConfig::defaults() };
        let owners = owners.iter().map(|(first, last, port)| Range { first: *first, last: *last, owner: node(*port) });
        let map = Map { owners: owners.collect(), nodes: HashMap::new() };
        Shared::new(Arc::new(Target::new(&config).unwrap()), map)
    }

    fn owners(shared: &Shared) -> Vec<(u16, u16, u16)> {
        shared.map.read().owners.iter().map(|range| (range.first, range.last, range.owner.port)).collect()
    }

    #[test]
    fn a_slot_that_moved_is_cut_out_of_its_range() {
        for (slot, expected) in [
            (0, vec![(0, 0, 9), (1, 99, 1), (200, 16_383, 2)]),
            (50, vec![(0, 49, 1), (50, 50, 9), (51, 99, 1), (200, 16_383, 2)]),
            (99, vec![(0, 98, 1), (99, 99, 9), (200, 16_383, 2)]),
            (16_383, vec![(0, 99, 1), (200, 16_382, 2), (16_383, 16_383, 9)]),
            (150, vec![(0, 99, 1), (200, 16_383, 2)]),
        ] {
            let shared = shared(&[(0, 99, 1), (200, 16_383, 2)]);
            shared.moved(slot, &node(9));
            assert_eq!(owners(&shared), expected, "slot {slot}");
            assert!(shared.outdated.load(Ordering::Relaxed) && shared.undialled().contains(&node(9)));
        }
    }

    #[test]
    fn slots_have_the_owner_of_their_range_or_none() {
        let shared = shared(&[(0, 99, 1), (200, 16_383, 2)]);
        let owner = |slot| shared.owner(slot).ok().map(|owner| owner.port);
        assert_eq!([0, 99, 100, 199, 200, 16_383].map(owner), [Some(1), Some(1), None, None, Some(2), Some(2)]);
    }

    #[test]
    fn a_master_without_a_name_is_the_one_that_was_asked() {
        let bulk = |text: &str| Value::BulkString(text.into());
        for (host, expected) in [(bulk("10.0.0.7"), "10.0.0.7"), (bulk(""), "127.0.0.1"), (Value::Nil, "127.0.0.1")] {
            let row = vec![Value::Int(5), Value::Int(9), Value::Array(vec![host, Value::Int(7)])];
            let owner = Address { host: expected.to_owned(), port: 7 };
            assert_eq!(range(row, &node(1)), Some(Range { first: 5, last: 9, owner }));
        }
        assert_eq!(range(vec![Value::Int(5)], &node(1)), None);
    }
}
