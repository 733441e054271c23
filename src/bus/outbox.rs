//! What this node has sent through Redis without knowing yet how that ended.
//!
//! A publication that failed may still arrive. Its message was then handed to the readers of this node already, and must
//! not be handed to them twice.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use super::frame::Stamp;
use crate::{model::Timestamp, store::NodeId};

/// How many messages that were handed over are remembered.
const MAX_HANDED_OVER: usize = 1_024;

#[derive(Debug)]
pub(super) struct Outbox {
    node: NodeId,
    sent: Mutex<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    numbers: u64,
    /// Messages under way, and whether they have arrived at this node's own readers.
    under_way: HashMap<u64, bool>,
    /// Messages that this node's readers were handed without Redis, oldest first.
    handed_over: VecDeque<u64>,
}

/// A message under way.
pub(super) struct Posting {
    outbox: Arc<Outbox>,
    pub(super) stamp: Stamp,
}

impl Outbox {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, sent: Mutex::default() }
    }

    pub(super) fn post(self: &Arc<Self>, now: Timestamp) -> Posting {
        let mut sent = self.sent.lock();
        sent.numbers += 1;
        let number = sent.numbers;
        sent.under_way.insert(number, false);
        let stamp = Stamp { node: self.node, number, sent_at: now.timestamp_micros() };
        Posting { outbox: Arc::clone(self), stamp }
    }

    /// Whether a message that has arrived is to be delivered here.
    pub(super) fn admits(&self, stamp: Stamp) -> bool {
        if stamp.node != self.node {
            return true;
        }
        let mut sent = self.sent.lock();
        match sent.under_way.get_mut(&stamp.number) {
            Some(arrived) => {
                *arrived = true;
                true
            }
            None => !sent.handed_over.contains(&stamp.number),
        }
    }
}

impl Posting {
    /// Ends a publication that failed: whether the message is to be handed to this node's readers directly, as it has not
    /// arrived.
    pub(super) fn hand_over(self) -> bool {
        let mut sent = self.outbox.sent.lock();
        let arrived = sent.under_way.remove(&self.stamp.number).unwrap_or(false);
        if !arrived {
            if sent.handed_over.len() == MAX_HANDED_OVER {
                sent.handed_over.pop_front();
            }
            sent.handed_over.push_back(self.stamp.number);
        }
        !arrived
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.outbox.sent.lock().under_way.remove(&self.stamp.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Arc<Outbox> {
        Arc::new(Outbox::new(NodeId(7)))
    }

    #[test]
    fn a_message_is_delivered_once_whichever_way_comes_first() {
        let outbox = outbox();
        let lost = outbox.post(Timestamp::UNIX_EPOCH);
        let stamp = lost.stamp;
        assert!(lost.hand_over(), "it has not arrived");
        assert!(!outbox.admits(stamp), "it arrives after all");

        let slow = outbox.post(Timestamp::UNIX_EPOCH);
        assert!(outbox.admits(slow.stamp), "it arrives before the answer is given up");
        assert!(!slow.hand_over());

        let good = outbox.post(Timestamp::UNIX_EPOCH);
        let stamp = good.stamp;
        drop(good);
        assert!(outbox.admits(stamp));
        assert!(outbox.sent.lock().under_way.is_empty());
    }

    #[test]
    fn messages_of_other_nodes_are_delivered() {
        let outbox = outbox();
        let posting = outbox.post(Timestamp::UNIX_EPOCH);
        let stamp = Stamp { node: NodeId(8), ..posting.stamp };
        assert!(posting.hand_over() && outbox.admits(stamp));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let outbox = outbox();
        let postings: Vec<Posting> = (0..2 * MAX_HANDED_OVER).map(|_| outbox.post(Timestamp::UNIX_EPOCH)).collect();
        let stamps: Vec<Stamp> = postings.iter().map(|posting| posting.stamp).collect();
        assert!(postings.into_iter().all(Posting::hand_over));
        let refused = stamps.iter().filter(|stamp| !outbox.admits(**stamp)).count();
        assert_eq!(refused, MAX_HANDED_OVER);
    }
}
