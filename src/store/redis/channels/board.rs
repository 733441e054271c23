//! What one line is to be subscribed to, what it is, and who reads it.
//!
//! Readers come and go at any time; the line compares what is wanted with what is and asks the server for the
//! difference, so a leave followed by a join needs no thought. What the server pushes is handed to the readers right
//! here, on the connection's own task: there is no queue between, hence none to overflow. It must never wait, nor
//! listen to a connection before the current one. The tests below prove the transitions, `tests/it/redis_channels.rs`
//! the whole.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::{loss::Loss, mailbox::Mailbox, meters::Meters};

/// The channels of a line.
pub(super) struct Board {
    table: Mutex<Table>,
    changed: Notify,
    messages: AtomicU64,
    /// The line's own channel, which proves that it hears. Nobody reads it.
    probe: String,
    meters: Meters,
}

#[derive(Default)]
struct Table {
    /// Which connection may speak. What an earlier one still says is late.
    connection: u64,
    channels: HashMap<Arc<str>, Channel>,
}

struct Channel {
    readers: Vec<Arc<Mailbox>>,
    standing: Standing,
    /// Whether the log has been told that it is not permitted.
    was_refused: bool,
}

/// How the server sees a channel, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    Joining,
    Live,
    Leaving,
    /// The server does not permit it. It is asked again now and then.
    Refused,
}

/// What the server has to be asked for next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) join: Vec<Arc<str>>,
    pub(super) leave: Vec<Arc<str>>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.join.is_empty() && self.leave.is_empty()
    }
}

impl Board {
    pub(super) fn new(probe: String, meters: Meters) -> Self {
        Self { table: Mutex::default(), changed: Notify::new(), messages: AtomicU64::new(0), probe, meters }
    }

    pub(super) fn probe(&self) -> &str {
        &self.probe
    }

    /// Adds a reader. It is told `Live` at once if the channel is.
    pub(super) fn join(&self, name: &str) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        let mut table = self.table.lock();
        if let Some(channel) = table.channels.get_mut(name) {
            if channel.standing == Standing::Live {
                mailbox.live();
            }
            if channel.readers.is_empty() {
                self.meters.channels.increment(1);
            }
            channel.readers.push(mailbox.clone());
        } else {
            let channel = Channel { readers: vec![mailbox.clone()], standing: Standing::Absent, was_refused: false };
            table.channels.insert(name.into(), channel);
            self.meters.channels.increment(1);
        }
        drop(table);
        self.changed.notify_one();
        mailbox
    }

    /// Removes a reader. The last one takes the subscription along.
    pub(super) fn leave(&self, name: &str, mailbox: &Arc<Mailbox>) {
        let mut table = self.table.lock();
        let Some(channel) = table.channels.get_mut(name) else { return };
        channel.readers.retain(|reader| !Arc::ptr_eq(reader, mailbox));
        if !channel.readers.is_empty() {
            return;
        }
        self.meters.channels.decrement(1);
        if matches!(channel.standing, Standing::Absent | Standing::Refused) {
            table.channels.remove(name);
        }
        drop(table);
        self.changed.notify_one();
    }

    /// Waits until readers have come or gone.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether nothing is read, nor subscribed.
    pub(super) fn is_empty(&self) -> bool {
        self.table.lock().channels.is_empty()
    }

    /// How many channels there are.
    pub(super) fn len(&self) -> usize {
        self.table.lock().channels.len()
    }

    /// How many messages have come, probes included.
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// The number of the connection that may speak from now on.
    pub(super) fn connection(&self) -> u64 {
        self.table.lock().connection
    }

    /// What to ask the server for, at most `most` of each. Every channel is asked for once.
    pub(super) fn difference(&self, most: usize) -> Difference {
        let mut difference = Difference::default();
        for (name, channel) in &mut self.table.lock().channels {
            let wanted = !channel.readers.is_empty();
            if wanted && channel.standing == Standing::Absent && difference.join.len() < most {
                channel.standing = Standing::Joining;
                difference.join.push(name.clone());
            } else if !wanted && channel.standing == Standing::Live && difference.leave.len() < most {
                channel.standing = Standing::Leaving;
                difference.leave.push(name.clone());
            }
        }
        difference
    }

    /// The server does not permit this channel. Whether this is news.
    pub(super) fn refuse(&self, name: &str) -> bool {
        let mut table = self.table.lock();
        let Some(channel) = table.channels.get_mut(name) else { return false };
        channel.standing = Standing::Refused;
        let news = !std::mem::replace(&mut channel.was_refused, true);
        if channel.readers.is_empty() {
            table.channels.remove(name);
        }
        news
    }

    /// Has the refused channels asked for again.
    pub(super) fn forgive(&self) {
        for channel in self.table.lock().channels.values_mut() {
            if channel.standing == Standing::Refused {
                channel.standing = Standing::Absent;
                self.changed.notify_one();
            }
        }
    }

    /// The connection is gone, and so is every subscription.
    pub(super) fn lose(&self) {
        let mut table = self.table.lock();
        table.connection += 1;
        table.channels.retain(|_, channel| !channel.readers.is_empty());
        for channel in table.channels.values_mut() {
            channel.standing = Standing::Absent;
            channel.readers.iter().for_each(|reader| reader.lost());
        }
    }

    /// Takes what the server pushed on a connection.
    pub(super) fn receive(&self, connection: u64, push: PushInfo) -> Result<(), Loss> {
        let mut table = self.table.lock();
        if table.connection != connection {
            return Ok(());
        }
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                self.messages.fetch_add(1, Ordering::Relaxed);
                self.deliver(&table, push.data);
                Ok(())
            }
            PushKind::Subscribe | PushKind::SSubscribe => {
                table.joined(push.data.first());
                Ok(())
            }
            PushKind::Unsubscribe | PushKind::SUnsubscribe => table.left(push.data.first(), &self.probe),
            PushKind::Disconnection => Err(Loss::Closed),
            _ => Ok(()),
        }
    }

    fn deliver(&self, table: &Table, data: Vec<Value>) {
        let mut data = data.into_iter();
        let (Some(name), Some(Value::BulkString(payload))) = (data.next(), data.next()) else { return };
        let Some(channel) = text(Some(&name)).and_then(|name| table.channels.get(name)) else { return };
        let payload = Bytes::from(payload);
        let dropped = channel.readers.iter().filter(|reader| !reader.message(payload.clone())).count();
        self.meters.dropped.increment(dropped as u64);
    }
}

impl Table {
    fn joined(&mut self, name: Option<&Value>) {
        let Some(channel) = text(name).and_then(|name| self.channels.get_mut(name)) else { return };
        if channel.standing == Standing::Joining {
            channel.standing = Standing::Live;
            channel.was_refused = false;
            channel.readers.iter().for_each(|reader| reader.live());
        }
    }

    /// A subscription ended. If we did not ask for that, the slot has moved.
    fn left(&mut self, name: Option<&Value>, probe: &str) -> Result<(), Loss> {
        let Some(name) = text(name) else { return Ok(()) };
        let Some(channel) = self.channels.get_mut(name) else {
            return if name == probe { Err(Loss::Moved) } else { Ok(()) };
        };
        if channel.standing != Standing::Leaving {
            return Err(Loss::Moved);
        }
        if channel.readers.is_empty() {
            self.channels.remove(name);
        } else {
            channel.standing = Standing::Absent;
        }
        Ok(())
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::mailbox::Heard, *};

    fn board() -> Board {
        Board::new("probe".into(), Meters::new())
    }

    fn push(kind: PushKind, channel: &str, rest: Value) -> PushInfo {
        PushInfo { kind, data: vec![Value::BulkString(channel.into()), rest] }
    }

    fn joined(channel: &str) -> PushInfo {
        push(PushKind::SSubscribe, channel, Value::Int(1))
    }

    fn left(channel: &str) -> PushInfo {
        push(PushKind::SUnsubscribe, channel, Value::Int(0))
    }

    fn message(channel: &str, text: &str) -> PushInfo {
        push(PushKind::SMessage, channel, Value::BulkString(text.into()))
    }

    fn names(names: &[Arc<str>]) -> Vec<&str> {
        names.iter().map(|name| &**name).collect()
    }

    /// A board on which `a` is live and has one reader, that has heard so.
    async fn live() -> (Board, Arc<Mailbox>) {
        let board = board();
        let reader = board.join("a");
        assert_eq!(names(&board.difference(9).join), ["a"]);
        board.receive(0, joined("a")).expect("no loss");
        assert_eq!(reader.next().await, Heard::Live);
        (board, reader)
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_is_asked_for_once_however_many_read_it() {
        let (board, first) = live().await;
        let second = board.join("a");
        assert_eq!(second.next().await, Heard::Live);
        assert!(board.difference(9).is_empty());
        board.receive(0, message("a", "x")).expect("no loss");
        assert_eq!(first.next().await, Heard::Message("x".into()));
        assert_eq!(second.next().await, Heard::Message("x".into()));
        board.leave("a", &first);
        assert!(board.difference(9).is_empty(), "the second still reads it");
        board.leave("a", &second);
        assert_eq!(names(&board.difference(9).leave), ["a"]);
        board.receive(0, left("a")).expect("it was asked for");
        assert!(board.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_while_the_channel_is_being_left_ends_subscribed() {
        let (board, first) = live().await;
        board.leave("a", &first);
        assert_eq!(names(&board.difference(9).leave), ["a"]);
        let second = board.join("a");
        assert!(board.difference(9).is_empty(), "the answer is awaited first");
        board.receive(0, left("a")).expect("it was asked for");
        assert_eq!(names(&board.difference(9).join), ["a"]);
        board.receive(0, joined("a")).expect("no loss");
        assert_eq!(second.next().await, Heard::Live);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_the_channel_is_being_joined_ends_unsubscribed() {
        let board = board();
        let reader = board.join("a");
        assert_eq!(names(&board.difference(9).join), ["a"]);
        board.leave("a", &reader);
        assert!(board.difference(9).is_empty(), "the answer is awaited first");
        board.receive(0, joined("a")).expect("no loss");
        assert_eq!(names(&board.difference(9).leave), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_the_server_ended_means_that_the_slot_moved() {
        let (board, _reader) = live().await;
        assert_eq!(board.receive(0, left("a")), Err(Loss::Moved));
        assert_eq!(board.receive(0, left("probe")), Err(Loss::Moved));
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_earlier_connection_says_is_ignored() {
        let (board, reader) = live().await;
        board.lose();
        assert_eq!(reader.next().await, Heard::Lost);
        assert_eq!(names(&board.difference(9).join), ["a"]);
        for late in
            [joined("a"), message("a", "x"), left("a"), PushInfo { kind: PushKind::Disconnection, data: vec![] }]
        {
            assert_eq!(board.receive(0, late), Ok(()));
        }
        board.receive(board.connection(), joined("a")).expect("no loss");
        board.receive(board.connection(), message("a", "y")).expect("no loss");
        assert_eq!(reader.next().await, Heard::Live);
        assert_eq!(reader.next().await, Heard::Message("y".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_channel_is_asked_for_again_when_it_is_forgiven() {
        let board = board();
        let reader = board.join("a");
        assert_eq!(board.difference(9).join.len(), 1);
        board.refuse("a");
        assert!(board.difference(9).is_empty());
        board.forgive();
        assert_eq!(board.difference(9).join.len(), 1);
        board.refuse("a");
        board.leave("a", &reader);
        assert!(board.is_empty());
    }

    #[test]
    fn the_server_is_asked_in_portions() {
        let board = board();
        let _readers: Vec<_> = (0..5).map(|number| board.join(&number.to_string())).collect();
        let portions: Vec<_> = (0..4).map(|_| board.difference(2).join.len()).collect();
        assert_eq!(portions, [2, 2, 1, 0]);
    }
}
