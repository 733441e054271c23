//! What a group has produced and some follower may not have read yet.
//!
//! Two kinds of events. One that supersedes the earlier ones of its topic is kept until the next of that topic: who is
//! slow goes on from the newest. Every other is kept in order until all followers have taken it, within a bound: who
//! is so slow that it would be passed is told that it is behind, and never skips an event without knowing.
//! It must never let one follower hold the others up for longer than [`PATIENCE`]. The tests are below.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::graphql::{Frame, context::Standing};

/// Most topics that a group remembers the newest event of; more than any operation can name.
const MAX_TOPICS: usize = 4_096;
/// Most events in order that wait for a follower.
const MAX_KEPT: usize = 1_024;
/// Most bytes of them. A single larger event still fits.
const MAX_KEPT_BYTES: usize = 1 << 20;
/// How long a group waits for followers to take what is full, before it goes on without them.
const PATIENCE: Duration = Duration::from_secs(5);

/// The events of a group.
#[derive(Debug)]
pub(super) struct Events {
    state: Mutex<State>,
    /// The number of the newest event; followers wait for it to grow.
    newest: watch::Sender<u64>,
    /// Some follower has taken what there was.
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    by_topic: HashMap<Arc<str>, (u64, Bytes)>,
    in_order: InOrder,
    followers: Places,
    /// The events go on from a position that the subscriber named: who joins must get all of them.
    resumed: bool,
    /// Something that was produced is no longer here.
    passed: bool,
    ended: bool,
    error: Option<Bytes>,
}

/// Up to where followers have taken everything: how many at each place, so that the slowest is found at once.
#[derive(Debug, Default)]
struct Places(BTreeMap<u64, usize>);

/// Events of which none may be skipped, oldest first.
#[derive(Debug, Default)]
struct InOrder {
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The newest event that was dropped although somebody had not taken it.
    lost: u64,
}

/// One follower's place among the events; given up when dropped.
#[derive(Debug)]
pub(super) struct Follower {
    events: Arc<Events>,
    newest: watch::Receiver<u64>,
    /// Everything up to here was taken.
    seen: u64,
    /// Events in order before this one came before the follower did.
    from: u64,
}

/// What a follower finds.
#[derive(Debug)]
pub(super) enum Taken {
    /// Frames, oldest first, and whether more may come.
    Frames(Vec<Frame>, bool),
    /// Events are lost to this follower: it was too slow.
    Behind,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), newest: watch::Sender::new(0), taken: Notify::new() }
    }

    /// A place for a newcomer, if what is still here is all that it should get.
    pub(super) fn join(self: &Arc<Self>) -> Option<Follower> {
        let mut state = self.state.lock();
        if state.ended || (state.resumed && state.passed) {
            return None;
        }
        let from = if state.resumed { 0 } else { state.sequence };
        state.followers.enter(from);
        drop(state);
        Some(Follower { events: Arc::clone(self), newest: self.newest.subscribe(), seen: 0, from })
    }

    /// Adds an event. Waits only where none may be skipped and the followers have not taken the earlier ones.
    pub(super) async fn push(&self, standing: Standing, frame: Bytes) {
        if standing.supersedes.is_none() {
            self.make_room(frame.len()).await;
        }
        let mut state = self.state.lock();
        state.sequence += 1;
        state.resumed |= standing.resumed;
        let sequence = state.sequence;
        match standing.supersedes {
            Some(topic) => state.supersede(topic, frame),
            None => state.in_order.push(sequence, frame),
        }
        drop(state);
        self.newest.send_replace(sequence);
    }

    /// No more events come; followers get the error last, if there is one.
    pub(super) fn end(&self, error: Option<Bytes>) {
        let mut state = self.state.lock();
        state.ended = true;
        state.error = error;
        state.sequence += 1;
        let sequence = state.sequence;
        drop(state);
        self.newest.send_replace(sequence);
    }

    async fn make_room(&self, bytes: usize) {
        if self.state.lock().has_room(bytes) {
            return;
        }
        let room = async {
            while !self.state.lock().has_room(bytes) {
                self.taken.notified().await;
            }
        };
        if timeout(PATIENCE, room).await.is_err() {
            self.state.lock().leave_behind(bytes);
        }
    }
}

impl State {
    fn supersede(&mut self, topic: Arc<str>, frame: Bytes) {
        let known = self.by_topic.contains_key(&topic);
        self.passed |= known;
        if known || self.by_topic.len() < MAX_TOPICS {
            self.by_topic.insert(topic, (self.sequence, frame));
        }
    }

    /// Whether an event of this size fits, once what everybody has is let go.
    fn has_room(&mut self, bytes: usize) -> bool {
        if !self.in_order.fits(bytes) {
            self.passed = true;
        }
        self.release();
        self.in_order.fits(bytes)
    }

    /// Makes room for an event of this size at the expense of the slowest followers. They hold nobody up again.
    fn leave_behind(&mut self, bytes: usize) {
        self.in_order.lose(bytes);
        self.followers.abandon_before(self.in_order.lost);
        self.release();
    }

    /// Lets go what every follower has taken, unless a newcomer would need it.
    fn release(&mut self) {
        if self.resumed && !self.passed {
            return;
        }
        let taken = self.followers.slowest().unwrap_or(self.sequence);
        while self.in_order.oldest().is_some_and(|oldest| oldest <= taken) {
            self.in_order.pop();
        }
    }
}

impl Places {
    /// Forgets who is at an earlier place than this: whoever that is can only be told that it is behind.
    fn abandon_before(&mut self, place: u64) {
        self.0 = self.0.split_off(&place);
    }

    fn enter(&mut self, place: u64) {
        *self.0.entry(place).or_default() += 1;
    }

    /// Does nothing for a place that was abandoned.
    fn leave(&mut self, place: u64) {
        if let Entry::Occupied(mut followers) = self.0.entry(place) {
            *followers.get_mut() -= 1;
            if *followers.get() == 0 {
                followers.remove();
            }
        }
    }

    fn slowest(&self) -> Option<u64> {
        self.0.first_key_value().map(|(place, _)| *place)
    }
}

impl InOrder {
    fn fits(&self, bytes: usize) -> bool {
        self.events.is_empty() || (self.events.len() < MAX_KEPT && self.bytes + bytes <= MAX_KEPT_BYTES)
    }

    fn oldest(&self) -> Option<u64> {
        self.events.front().map(|(sequence, _)| *sequence)
    }

    fn after(&self, place: u64) -> impl Iterator<Item = &(u64, Bytes)> {
        self.events.range(self.events.partition_point(|(sequence, _)| *sequence <= place)..)
    }

    fn push(&mut self, sequence: u64, frame: Bytes) {
        self.bytes += frame.len();
        self.events.push_back((sequence, frame));
    }

    fn pop(&mut self) -> Option<u64> {
        let (sequence, frame) = self.events.pop_front()?;
        self.bytes -= frame.len();
        Some(sequence)
    }

    /// Makes room for an event of this size at the expense of whoever has not taken the oldest.
    fn lose(&mut self, bytes: usize) {
        while !self.fits(bytes) {
            self.lost = self.pop().unwrap_or(self.lost);
        }
    }
}

impl Follower {
    /// What came since the last time, oldest first.
    pub(super) fn take(&mut self) -> Taken {
        self.newest.borrow_and_update();
        let place = self.place();
        let mut state = self.events.state.lock();
        if state.in_order.lost > place {
            return Taken::Behind;
        }
        let superseding = state.by_topic.values().filter(|(sequence, _)| *sequence > self.seen);
        let in_order = state.in_order.after(place);
        let mut newer: Vec<_> = superseding.chain(in_order).cloned().collect();
        newer.sort_unstable_by_key(|(sequence, _)| *sequence);
        let frames = newer.into_iter().map(|(_, frame)| Frame::Next(frame));
        let frames = frames.chain(state.error.clone().map(Frame::Error)).collect();
        self.seen = state.sequence;
        state.followers.leave(place);
        state.followers.enter(self.seen);
        state.release();
        let more = !state.ended;
        drop(state);
        self.events.taken.notify_one();
        Taken::Frames(frames, more)
    }

    /// Everything up to here it has taken, or never gets.
    fn place(&self) -> u64 {
        self.seen.max(self.from)
    }

    /// Waits until there is something that was not taken.
    pub(super) async fn changed(&mut self) {
        // An error says that the events are gone, which this follower holds.
        let _ = self.newest.changed().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.events.state.lock().followers.leave(self.place());
        self.events.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::model::Clock;

    fn newest_of(topic: &str) -> Standing {
        Standing { supersedes: Some(topic.into()), resumed: false }
    }

    fn each(resumed: bool) -> Standing {
        Standing { supersedes: None, resumed }
    }

    fn push(events: &Events, standing: Standing, frame: &'static str) {
        events.push(standing, Bytes::from_static(frame.as_bytes())).now_or_never().expect("there is room");
    }

    fn texts(taken: Taken) -> Vec<String> {
        let Taken::Frames(frames, _) = taken else { panic!("behind") };
        let text = |frame| match frame {
            Frame::Next(bytes) | Frame::Error(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        };
        frames.into_iter().map(text).collect()
    }

    #[test]
    fn the_slow_get_the_newest_of_each_topic_and_every_other_event_in_order() {
        let events = Arc::new(Events::new());
        let (mut slow, mut fast) = (events.join().unwrap(), events.join().unwrap());
        for (standing, frame) in [
            (newest_of("a"), "a1"),
            (each(false), "x1"),
            (newest_of("b"), "b1"),
            (newest_of("a"), "a2"),
            (each(false), "x2"),
        ] {
            push(&events, standing, frame);
            assert_eq!(texts(fast.take()), [frame]);
        }
        assert_eq!(texts(slow.take()), ["x1", "b1", "a2", "x2"]);
        assert_eq!(texts(slow.take()), [""; 0]);
        assert_eq!(events.state.lock().in_order.bytes, 0, "what everybody has is let go");
    }

    #[test]
    fn a_newcomer_starts_with_the_newest_of_each_topic() {
        let events = Arc::new(Events::new());
        let _first = events.join().unwrap();
        for (standing, frame) in [(newest_of("a"), "a1"), (each(false), "x1"), (newest_of("a"), "a2")] {
            push(&events, standing, frame);
        }
        let mut second = events.join().unwrap();
        push(&events, each(false), "x2");
        assert_eq!(texts(second.take()), ["a2", "x2"]);
    }

    #[test]
    fn a_newcomer_to_a_resumed_group_gets_all_of_it_or_another_group() {
        let events = Arc::new(Events::new());
        let mut first = events.join().unwrap();
        push(&events, each(true), "r1");
        push(&events, each(true), "r2");
        push(&events, Standing { supersedes: Some("a".into()), resumed: true }, "a1");
        assert_eq!(texts(first.take()), ["r1", "r2", "a1"]);
        assert_eq!(texts(events.join().unwrap().take()), ["r1", "r2", "a1"]);
        push(&events, Standing { supersedes: Some("a".into()), resumed: true }, "a2");
        assert!(events.join().is_none(), "a1 is gone");
        assert_eq!(texts(first.take()), ["a2"]);
        assert_eq!(events.state.lock().in_order.bytes, 0, "nobody can need the replay any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_group_waits_for_its_followers_but_not_for_ever() {
        let events = Arc::new(Events::new());
        let (mut good, mut bad) = (events.join().unwrap(), events.join().unwrap());
        let producer = tokio::spawn({
            let events = Arc::clone(&events);
            async move {
                for _ in 0..3 * MAX_KEPT {
                    events.push(each(false), Bytes::from_static(b"x")).await;
                }
                events.end(None);
            }
        });
        let mut got = 0;
        loop {
            let Taken::Frames(frames, more) = good.take() else { panic!("the good reader is behind") };
            got += frames.len();
            if !more {
                break;
            }
            good.changed().await;
        }
        producer.await.unwrap();
        assert_eq!(got, 3 * MAX_KEPT, "none is lost to who reads");
        assert!(matches!(bad.take(), Taken::Behind));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_never_reads_holds_the_others_up_once() {
        let events = Arc::new(Events::new());
        let (mut good, mut bad) = (events.join().unwrap(), events.join().unwrap());
        let clock = Clock::system();
        let began = clock.instant();
        for number in 0..3 * MAX_KEPT {
            events.push(each(false), Bytes::from_static(b"x")).await;
            assert_eq!(texts(good.take()), ["x"], "event {number}");
        }
        assert_eq!(clock.instant() - began, PATIENCE);
        assert!(matches!(bad.take(), Taken::Behind));
        drop((good, bad));
        assert!(events.state.lock().followers.0.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_leaves_holds_nobody_up() {
        let events = Arc::new(Events::new());
        let leaving = [events.join().unwrap(), events.join().unwrap()];
        for _ in 0..MAX_KEPT {
            push(&events, each(false), "x");
        }
        let mut full = Box::pin(events.push(each(false), Bytes::from_static(b"y")));
        assert!(full.as_mut().now_or_never().is_none());
        drop(leaving);
        assert!(full.now_or_never().is_some());
    }

    #[test]
    fn bytes_are_bounded_and_one_large_event_fits() {
        let mut kept = InOrder::default();
        assert!(kept.fits(10 * MAX_KEPT_BYTES));
        kept.push(1, vec![0; MAX_KEPT_BYTES - 1].into());
        assert!(kept.fits(1) && !kept.fits(2));
        kept.lose(2);
        assert_eq!((kept.lost, kept.bytes, kept.events.len()), (1, 0, 0));
    }
}
