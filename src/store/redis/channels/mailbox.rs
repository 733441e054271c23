//! What one reader of a channel has not read yet: bounded, and honest about what was dropped.
//!
//! It owns the order of what a reader hears. It must never hold more than its bound, nor tell of a message outside the
//! stretch from a `Live` to the next `Lost`. The tests below prove both.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Messages that wait for one reader; what comes on top is dropped, and the reader is told.
pub(super) const CAPACITY: usize = 1_024;

/// What the reader of a channel hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The subscription is confirmed, for the first time or again. Messages from now on arrive; whatever was published
    /// before may have been missed.
    Live,
    /// What somebody published.
    Message(Bytes),
    /// Messages may be missing from here: the connection was lost or is deaf, the channel moved, or this reader was so
    /// slow that messages were dropped. A `Live` follows when it is back.
    Lost,
}

/// Written by the connection, read by one reader.
#[derive(Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    arrival: Notify,
}

#[derive(Default)]
struct Waiting {
    heard: VecDeque<Heard>,
    tail: Tail,
    /// Whether the channel is subscribed now, whatever the reader has been told.
    subscribed: bool,
}

/// What the reader will believe when it has read everything.
#[derive(Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Down,
    Live,
    /// It was too slow. It hears nothing more until it has caught up.
    Withheld,
}

impl Mailbox {
    /// The subscription is confirmed.
    pub(super) fn live(&self) {
        let mut waiting = self.waiting.lock();
        waiting.subscribed = true;
        if waiting.tail == Tail::Down {
            waiting.resume();
        }
        drop(waiting);
        self.arrival.notify_one();
    }

    /// The subscription is gone.
    pub(super) fn lost(&self) {
        let mut waiting = self.waiting.lock();
        waiting.subscribed = false;
        if waiting.tail == Tail::Live {
            waiting.heard.push_back(Heard::Lost);
            waiting.tail = Tail::Down;
        }
        drop(waiting);
        self.arrival.notify_one();
    }

    /// Hands a message over. `false` if it was dropped.
    pub(super) fn message(&self, message: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        let taken = waiting.tail == Tail::Live && waiting.heard.len() < CAPACITY;
        if taken {
            waiting.heard.push_back(Heard::Message(message));
        } else if waiting.tail == Tail::Live {
            waiting.heard.push_back(Heard::Lost);
            waiting.tail = Tail::Withheld;
        }
        drop(waiting);
        self.arrival.notify_one();
        taken
    }

    /// The next thing to hear. Loses nothing when it is cancelled.
    pub(super) async fn next(&self) -> Heard {
        loop {
            if let Some(heard) = self.waiting.lock().next() {
                return heard;
            }
            self.arrival.notified().await;
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Heard> {
        let next = self.heard.pop_front()?;
        if self.heard.is_empty() && self.tail == Tail::Withheld {
            self.tail = Tail::Down;
            if self.subscribed {
                self.resume();
            }
        }
        Some(next)
    }

    /// Lets the reader hear again, or once it has read what waits.
    fn resume(&mut self) {
        if self.heard.len() < CAPACITY {
            self.heard.push_back(Heard::Live);
            self.tail = Tail::Live;
        } else {
            self.tail = Tail::Withheld;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    fn drain(mailbox: &Mailbox) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(next) = mailbox.waiting.lock().next() {
            heard.push(next);
        }
        heard
    }

    #[test]
    fn messages_are_heard_between_live_and_lost_only() {
        let mailbox = Mailbox::default();
        assert!(!mailbox.message(message(1)), "before the subscription is confirmed");
        mailbox.live();
        assert!(mailbox.message(message(2)));
        mailbox.lost();
        assert!(!mailbox.message(message(3)));
        mailbox.lost();
        mailbox.live();
        let expected = [Heard::Live, Heard::Message(message(2)), Heard::Lost, Heard::Live];
        assert_eq!(drain(&mailbox), expected);
    }

    #[test]
    fn a_slow_reader_hears_what_fits_then_lost_and_then_live() {
        let mailbox = Mailbox::default();
        mailbox.live();
        let taken = (0..2 * CAPACITY).filter(|number| mailbox.message(message(*number))).count();
        assert_eq!(taken, CAPACITY - 1, "the Live before them takes one place");
        let heard = drain(&mailbox);
        assert_eq!(heard.len(), CAPACITY + 2);
        assert_eq!(heard[CAPACITY - 1], Heard::Message(message(CAPACITY - 2)));
        assert_eq!(heard[CAPACITY..], [Heard::Lost, Heard::Live]);
        assert!(mailbox.message(message(7)), "after the gap it hears again");
    }

    #[test]
    fn a_slow_reader_of_a_lost_channel_is_told_live_only_when_it_is_back() {
        let mailbox = Mailbox::default();
        mailbox.live();
        while mailbox.message(message(1)) {}
        mailbox.lost();
        assert_eq!(drain(&mailbox).last(), Some(&Heard::Lost));
        mailbox.live();
        assert_eq!(drain(&mailbox), [Heard::Live]);
    }

    #[test]
    fn a_channel_that_comes_and_goes_does_not_outgrow_the_bound() {
        let mailbox = Mailbox::default();
        for _ in 0..5 * CAPACITY {
            mailbox.live();
            mailbox.lost();
        }
        mailbox.live();
        let heard = drain(&mailbox);
        assert!(heard.len() <= CAPACITY + 2, "{}", heard.len());
        assert_eq!(heard[heard.len() - 2..], [Heard::Lost, Heard::Live]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_reader_is_woken() {
        let mailbox = std::sync::Arc::new(Mailbox::default());
        let reader = tokio::spawn({
            let mailbox = mailbox.clone();
            async move { mailbox.next().await }
        });
        tokio::task::yield_now().await;
        mailbox.live();
        assert_eq!(reader.await.expect("it read"), Heard::Live);
    }
}
