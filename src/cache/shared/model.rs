//! The shared tier as a model: what Redis and its scripts do, in memory, with every fault at the seed's command.
//!
//! It passes the same contract as Redis. Commands take a while, fail, or are executed and fail all the same; messages are
//! lost, late, doubled and out of order; everything in it can be forgotten.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::yield_now};

use super::stamp::{Stamp, Table};
use crate::{
    cache::slots::Slot,
    model::{Clock, Timestamp},
    store::{Heard, NodeId, RedisError},
};

/// The server. Clones are the same one.
#[derive(Clone)]
pub(in crate::cache) struct Model(Arc<Mutex<State>>);

/// A node's way to it.
#[derive(Clone)]
pub(in crate::cache) struct Link {
    model: Model,
    node: NodeId,
}

/// A node's subscription.
pub(in crate::cache) struct Ears {
    link: Link,
    news: Arc<Notify>,
}

/// How often, in 256, things go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cache) struct Faults {
    pub(in crate::cache) dropped: u8,
    pub(in crate::cache) doubled: u8,
    pub(in crate::cache) late: u8,
    /// Executed, and failed.
    pub(in crate::cache) unanswered: u8,
    /// How often a command lets others run before and after it, at most.
    pub(in crate::cache) slowness: u8,
}

/// What the model gets wrong on purpose, to show that the tests would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Mutant {
    None,
    /// `put` overwrites whatever is there.
    BlindPut,
    /// The table never says that anything was missed.
    BlankTable,
    /// Whatever is read looks as if it had been loaded just now.
    FreshStamps,
}

struct State {
    clock: Clock,
    dice: fastrand::Rng,
    faults: Faults,
    mutant: Mutant,
    values: HashMap<String, (Vec<u8>, Timestamp)>,
    claims: HashMap<String, (NodeId, Timestamp)>,
    table: Option<(Stamp, BTreeMap<Slot, u64>)>,
    epochs: u64,
    nodes: HashMap<NodeId, Node>,
    /// Values that went back in time: older ones over newer ones.
    setbacks: u64,
}

#[derive(Default)]
struct Node {
    cut: bool,
    deaf: bool,
    inbox: VecDeque<Heard>,
    /// Messages that arrive later, in any order.
    late: Vec<Bytes>,
    news: Arc<Notify>,
}

impl Model {
    pub(in crate::cache) fn new(clock: Clock, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            clock,
            dice: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            mutant: Mutant::None,
            values: HashMap::new(),
            claims: HashMap::new(),
            table: None,
            epochs: 0,
            nodes: HashMap::new(),
            setbacks: 0,
        })))
    }

    pub(in crate::cache) fn link(&self, node: NodeId) -> Link {
        self.0.lock().nodes.insert(node, Node { deaf: true, ..Node::default() });
        Link { model: self.clone(), node }
    }

    pub(in crate::cache) fn reseed(&self, seed: u64) {
        self.0.lock().dice = fastrand::Rng::with_seed(seed);
    }

    pub(in crate::cache) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub(in crate::cache) fn set_mutant(&self, mutant: Mutant) {
        self.0.lock().mutant = mutant;
    }

    pub(in crate::cache) fn setbacks(&self) -> u64 {
        self.0.lock().setbacks
    }

    /// `FLUSHALL`.
    pub(in crate::cache) fn flush(&self) {
        let state = &mut *self.0.lock();
        state.table = None;
        state.values.clear();
        state.claims.clear();
    }

    /// The node's commands fail and it hears nothing, with or without being told.
    pub(in crate::cache) fn cut(&self, node: NodeId) {
        let state = &mut *self.0.lock();
        if let Some(node) = state.nodes.get_mut(&node) {
            node.cut = true;
            node.silence();
        }
    }

    /// The node's subscription ends; its commands go on.
    pub(in crate::cache) fn deafen(&self, node: NodeId) {
        if let Some(node) = self.0.lock().nodes.get_mut(&node) {
            node.silence();
        }
    }

    pub(in crate::cache) fn mend(&self, node: NodeId) {
        if let Some(node) = self.0.lock().nodes.get_mut(&node) {
            node.cut = false;
            if node.deaf {
                node.deaf = false;
                node.hear(Heard::Live);
            }
        }
    }

    /// Delivers one message that was late, if there is any.
    pub(in crate::cache) fn deliver_late(&self, node: NodeId) {
        let State { dice, nodes, .. } = &mut *self.0.lock();
        if let Some(node) = nodes.get_mut(&node)
            && !node.late.is_empty()
        {
            let message = node.late.swap_remove(dice.usize(..node.late.len()));
            if !node.deaf {
                node.hear(Heard::Message(message));
            }
        }
    }
}

impl Node {
    fn hear(&mut self, heard: Heard) {
        self.inbox.push_back(heard);
        self.news.notify_one();
    }

    fn silence(&mut self) {
        if !self.deaf {
            self.deaf = true;
            self.late.clear();
            self.hear(Heard::Lost);
        }
    }
}

impl State {
    fn publish(&mut self, from: NodeId, stamp: Stamp, slots: &[Slot]) {
        let head = [from.to_string(), stamp.epoch.to_string(), stamp.clock.to_string()];
        let words: Vec<String> = head.into_iter().chain(slots.iter().map(Slot::to_string)).collect();
        let message = Bytes::from(words.join(" "));
        let Self { nodes, dice, faults, .. } = self;
        let mut listeners: Vec<_> = nodes.iter_mut().filter(|(_, node)| !node.deaf).collect();
        listeners.sort_unstable_by_key(|(id, _)| **id);
        for (_, node) in listeners {
            if dice.u8(..) < faults.dropped {
                continue;
            }
            if dice.u8(..) < faults.doubled {
                node.late.push(message.clone());
            }
            if dice.u8(..) < faults.late {
                node.late.push(message.clone());
            } else {
                node.hear(Heard::Message(message.clone()));
            }
        }
    }

    fn new_epoch(&mut self, after: u64) -> Stamp {
        self.epochs += 1;
        let now = u64::try_from(self.clock.now().timestamp_micros()).unwrap();
        Stamp { epoch: (now + self.epochs).max(after + 1), clock: 0 }
    }

    fn value(&self, name: &str) -> Option<&Vec<u8>> {
        self.values.get(name).filter(|(_, end)| self.clock.now() < *end).map(|(value, _)| value)
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut value = self.value(name)?.clone();
        if let (Mutant::FreshStamps, Some((stamp, _))) = (self.mutant, &self.table) {
            value[4..12].copy_from_slice(&stamp.epoch.to_be_bytes());
            value[12..20].copy_from_slice(&stamp.clock.to_be_bytes());
        }
        Some(value)
    }

    fn claim(&self, name: &str) -> Option<NodeId> {
        self.claims.get(name).filter(|(_, end)| self.clock.now() < *end).map(|(node, _)| *node)
    }
}

impl Link {
    pub(in crate::cache) fn listen(&self) -> Ears {
        let mut state = self.model.0.lock();
        let node = state.nodes.get_mut(&self.node).expect("every link has its node");
        node.deaf = false;
        node.hear(Heard::Live);
        Ears { link: self.clone(), news: Arc::clone(&node.news) }
    }

    /// One command: others run before and after it, and it may fail before or after it is executed.
    async fn execute<T>(&self, command: impl FnOnce(&mut State) -> T) -> Result<T, RedisError> {
        self.dawdle().await;
        let (answer, lost) = {
            let state = &mut *self.model.0.lock();
            if state.nodes[&self.node].cut {
                return Err(RedisError::Unavailable);
            }
            (command(state), state.dice.u8(..) < state.faults.unanswered)
        };
        self.dawdle().await;
        if lost || self.model.0.lock().nodes[&self.node].cut { Err(RedisError::TimedOut) } else { Ok(answer) }
    }

    async fn dawdle(&self) {
        let turns = {
            let state = &mut *self.model.0.lock();
            state.dice.u8(..=state.faults.slowness)
        };
        for _ in 0..turns {
            yield_now().await;
        }
    }

    pub(super) async fn revoke(&self, slots: &[Slot]) -> Result<Stamp, RedisError> {
        self.execute(|state| {
            let (mut stamp, mut clocks) = state.table.take().unwrap_or_else(|| (state.new_epoch(0), BTreeMap::new()));
            stamp.clock += 1;
            clocks.extend(slots.iter().map(|slot| (*slot, stamp.clock)));
            state.table = Some((stamp, clocks));
            state.publish(self.node, stamp, slots);
            stamp
        })
        .await
    }

    pub(super) async fn table(&self, known: Stamp) -> Result<Table, RedisError> {
        self.execute(|state| {
            let there = state.table.take().filter(|(stamp, _)| *stamp >= known);
            let (stamp, clocks) = there.unwrap_or_else(|| {
                let stamp = state.new_epoch(known.epoch);
                state.publish(self.node, stamp, &[]);
                (stamp, BTreeMap::new())
            });
            let after = if stamp.epoch == known.epoch { known.clock } else { 0 };
            let mut revoked: Vec<_> =
                clocks.iter().map(|(slot, at)| (*slot, *at)).filter(|(_, at)| *at > after).collect();
            if state.mutant == Mutant::BlankTable {
                revoked.clear();
            }
            state.table = Some((stamp, clocks));
            Table { stamp, revoked }
        })
        .await
    }

    pub(super) async fn read(&self, names: &[String]) -> Vec<Result<Option<Vec<u8>>, RedisError>> {
        let answer = self.execute(|state| names.iter().map(|name| state.read(name)).collect()).await;
        each(names, answer)
    }

    pub(super) async fn put(&self, name: &str, envelope: &[u8], keep: Duration) -> Result<bool, RedisError> {
        self.execute(|state| {
            let rank = |bytes: &[u8]| bytes.get(4..28).map(<[u8]>::to_vec);
            let is_older = state
                .value(name)
                .is_some_and(|there| there[..1] == envelope[..1] && there.len() >= 28 && rank(there) > rank(envelope));
            if is_older && state.mutant != Mutant::BlindPut {
                return false;
            }
            state.setbacks += u64::from(is_older);
            let end = state.clock.now() + keep;
            state.values.insert(name.to_owned(), (envelope.to_vec(), end));
            true
        })
        .await
    }

    pub(super) async fn discard(&self, names: &[String]) {
        let _ = self.execute(|state| state.values.retain(|name, _| !names.contains(name))).await;
    }

    pub(super) async fn claim(&self, names: &[String], keep: Duration) -> Vec<Result<bool, RedisError>> {
        let claim = |state: &mut State, name: &String| {
            let free = state.claim(name).is_none();
            if free {
                let end = state.clock.now() + keep;
                state.claims.insert(name.clone(), (self.node, end));
            }
            free
        };
        let answer = self.execute(|state| names.iter().map(|name| claim(state, name)).collect()).await;
        each(names, answer)
    }

    pub(super) async fn is_claimed(&self, names: &[String]) -> Vec<Result<bool, RedisError>> {
        let answer = self.execute(|state| names.iter().map(|name| state.claim(name).is_some()).collect()).await;
        each(names, answer)
    }

    pub(super) async fn release(&self, name: &str) -> Result<(), RedisError> {
        self.execute(|state| {
            if state.claim(name) == Some(self.node) {
                state.claims.remove(name);
            }
        })
        .await
    }
}

/// Several commands share one fate here.
fn each<T>(names: &[String], answer: Result<Vec<T>, RedisError>) -> Vec<Result<T, RedisError>> {
    match answer {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) => names.iter().map(|_| Err(error.clone())).collect(),
    }
}

impl Ears {
    pub(super) async fn heard(&mut self) -> Heard {
        loop {
            let next = {
                let mut state = self.link.model.0.lock();
                state.nodes.get_mut(&self.link.node).and_then(|node| node.inbox.pop_front())
            };
            match next {
                Some(heard) => return heard,
                None => self.news.notified().await,
            }
        }
    }
}

struct TwoNodes {
    model: Model,
    links: [Link; 2],
    ears: Ears,
}

impl super::contract::Tier for TwoNodes {
    async fn revoke(&mut self, slots: &[u16]) -> (u64, u64) {
        let stamp = self.links[0].revoke(slots).await.unwrap();
        (stamp.epoch, stamp.clock)
    }

    async fn table(&mut self, (epoch, clock): (u64, u64)) -> Vec<u64> {
        let Table { stamp, revoked } = self.links[0].table(Stamp { epoch, clock }).await.unwrap();
        let pairs = revoked.into_iter().flat_map(|(slot, clock)| [u64::from(slot), clock]);
        [stamp.epoch, stamp.clock].into_iter().chain(pairs).collect()
    }

    async fn heard(&mut self) -> String {
        loop {
            if let Heard::Message(message) = self.ears.heard().await {
                return std::str::from_utf8(&message).unwrap().split_once(' ').unwrap().1.to_owned();
            }
        }
    }

    async fn put(&mut self, name: &str, envelope: &[u8], keep: Duration) -> bool {
        self.links[0].put(name, envelope, keep).await.unwrap()
    }

    async fn get(&mut self, name: &str) -> Option<Vec<u8>> {
        self.links[1].read(&[name.to_owned()]).await.remove(0).unwrap()
    }

    async fn claim(&mut self, node: usize, name: &str, keep: Duration) -> bool {
        self.links[node].claim(&[name.to_owned()], keep).await.remove(0).unwrap()
    }

    async fn is_claimed(&mut self, name: &str) -> bool {
        self.links[0].is_claimed(&[name.to_owned()]).await.remove(0).unwrap()
    }

    async fn release(&mut self, node: usize, name: &str) {
        self.links[node].release(name).await.unwrap();
    }

    async fn forget_everything(&mut self) {
        self.model.flush();
    }

    async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_model_keeps_the_contract() {
    let model = Model::new(Clock::stepped_from(Timestamp::from_timestamp(1_800_000_000, 0).unwrap()), 1);
    let links = [1, 2].map(|node| model.link(NodeId(node)));
    let ears = links[1].listen();
    super::contract::check(&mut TwoNodes { model, links, ears }).await;
}
