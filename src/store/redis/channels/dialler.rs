//! Finding the server that a line belongs to, and connecting to it.
//!
//! In a cluster the owner of a slot is found by trying: the node that owned it last, then every other node that is
//! known; whoever is not the owner says who is.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{PushInfo, Value, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use super::{
    super::target::{Address, Target, parse},
    board::Board,
    loss::Loss,
};

/// How long the server may take for an answer on a line.
const DEADLINE: Duration = Duration::from_secs(1);
/// Nodes that are remembered, seeds not counted.
const REMEMBERED: usize = 64;

/// A connection of a line, subscribed to the line's probe.
pub(super) struct Call {
    connection: MultiplexedConnection,
    verbs: Verbs,
}

/// What the server says without being asked, if that ends the line.
pub(super) struct Losses(mpsc::Receiver<Loss>);

impl Losses {
    pub(super) async fn next(&mut self) -> Loss {
        self.0.recv().await.unwrap_or(Loss::Closed)
    }
}

/// The commands of the two kinds of publishing.
#[derive(Clone, Copy)]
struct Verbs {
    join: &'static str,
    leave: &'static str,
}

impl Call {
    /// Subscribes, each channel with an answer of its own. The board hears of those that are confirmed.
    pub(super) async fn join<'a>(&mut self, channels: &'a [Arc<str>]) -> Result<Vec<(&'a str, Value)>, Loss> {
        self.ask(self.verbs.join, channels).await
    }

    /// Unsubscribes.
    pub(super) async fn leave<'a>(&mut self, channels: &'a [Arc<str>]) -> Result<Vec<(&'a str, Value)>, Loss> {
        self.ask(self.verbs.leave, channels).await
    }

    /// Makes sure that the server is still there.
    pub(super) async fn ping(&mut self) -> Result<(), Loss> {
        self.connection.send_packed_command(&redis::cmd("PING")).await?;
        Ok(())
    }

    async fn ask<'a>(&mut self, verb: &str, channels: &'a [Arc<str>]) -> Result<Vec<(&'a str, Value)>, Loss> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        // One command for each: a command with several names is answered once if it is refused, else once for each
        // name, and the client would wait for what never comes.
        let mut commands = redis::Pipeline::with_capacity(channels.len());
        for channel in channels {
            commands.cmd(verb).arg(&**channel).ignore();
        }
        let answers = self.connection.send_packed_commands(&commands, 0, channels.len()).await?;
        Ok(channels.iter().map(|channel| &**channel).zip(answers).collect())
    }
}

/// The nodes of a cluster that somebody has mentioned. Clones share them.
#[derive(Clone)]
pub(super) struct Nodes {
    seeds: Arc<[Address]>,
    mentioned: Arc<Mutex<Vec<Address>>>,
}

impl Nodes {
    pub(super) fn new(seeds: &[Address]) -> Self {
        Self { seeds: seeds.into(), mentioned: Arc::default() }
    }

    fn mention(&self, node: &Address) {
        let mut mentioned = self.mentioned.lock();
        if !self.seeds.contains(node) && !mentioned.contains(node) {
            if mentioned.len() == REMEMBERED {
                mentioned.remove(0);
            }
            mentioned.push(node.clone());
        }
    }

    fn all(&self) -> Vec<Address> {
        let mut all = self.seeds.to_vec();
        all.extend(self.mentioned.lock().iter().rev().cloned());
        all
    }
}

/// Connects one line.
pub(super) struct Dialler {
    target: Arc<Target>,
    nodes: Nodes,
    /// Who answered last.
    last: Option<Address>,
}

/// How one node received us.
enum Reception {
    Welcome(Call, Losses),
    /// Somebody else owns the slot.
    Redirected(Address),
}

impl Dialler {
    pub(super) fn new(target: Arc<Target>, nodes: Nodes) -> Self {
        Self { target, nodes, last: None }
    }

    /// Connects to the owner. Every node is tried once at most.
    pub(super) async fn dial(&mut self, board: &Arc<Board>) -> Result<(Call, Losses), Loss> {
        let mut next: Vec<Address> = self.last.take().into_iter().chain(self.nodes.all()).rev().collect();
        let mut tried = Vec::new();
        let mut trouble = Loss::Unreachable("no node is known".into());
        while let Some(node) = next.pop() {
            if tried.contains(&node) {
                continue;
            }
            match self.try_node(&node, board).await {
                Ok(Reception::Welcome(call, losses)) => {
                    self.last = Some(node);
                    return Ok((call, losses));
                }
                Ok(Reception::Redirected(owner)) => {
                    self.nodes.mention(&owner);
                    next.push(owner);
                    trouble = Loss::Moved;
                }
                Err(loss) => trouble = loss,
            }
            tried.push(node);
        }
        Err(trouble)
    }

    async fn try_node(&self, node: &Address, board: &Arc<Board>) -> Result<Reception, Loss> {
        let (heard, losses) = mpsc::channel(1);
        let (listener, number) = (Arc::clone(board), board.connection());
        let config = self.target.connection_config().set_response_timeout(Some(DEADLINE)).set_push_sender(
            move |push: PushInfo| {
                // The first loss ends the line; there is nothing to learn from a second.
                listener.receive(number, push).or_else(|loss| heard.try_send(loss))
            },
        );
        let connection = self.target.connect_to(node, config).await;
        let connection = connection.map_err(|error| Loss::Unreachable(error.to_string()))?;
        let mut call = Call { connection, verbs: self.verbs() };
        let probe = [Arc::from(board.probe())];
        for (_, answer) in call.join(&probe).await? {
            if let Value::ServerError(error) = answer {
                let error = redis::RedisError::from(error);
                let owner = error.redirect_node().and_then(|(owner, _)| parse(owner)).ok_or(Loss::from(error))?;
                return Ok(Reception::Redirected(at_home(owner, node)));
            }
        }
        Ok(Reception::Welcome(call, Losses(losses)))
    }

    fn verbs(&self) -> Verbs {
        if self.target.is_cluster() {
            Verbs { join: "SSUBSCRIBE", leave: "SUNSUBSCRIBE" }
        } else {
            Verbs { join: "SUBSCRIBE", leave: "UNSUBSCRIBE" }
        }
    }
}

/// A node that does not know its own host names only the port: the host is the one we asked.
fn at_home(owner: Address, asked: &Address) -> Address {
    if owner.host.is_empty() || owner.host == "?" { Address { host: asked.host.clone(), ..owner } } else { owner }
}
