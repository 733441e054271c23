//! What a socket has not taken yet, bounded in bytes.

use std::collections::VecDeque;

use axum::extract::ws::Message;

/// What a message weighs beyond its text: framing and bookkeeping.
const OVERHEAD: usize = 64;

/// Messages on their way out, oldest first. `T` is what waits for its message to be taken.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: VecDeque<Item<T>>,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Item<T> {
    message: Message,
    bytes: usize,
    waiting: Option<T>,
}

/// The peer has let more than the limit pile up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl<T> Queue<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { items: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a message. A single one always fits: without that, an answer larger than the limit could never be sent.
    pub(super) fn push(&mut self, message: Message, waiting: Option<T>) -> Result<(), Overflow> {
        let item = Item::new(message, waiting);
        if !self.items.is_empty() && self.bytes + item.bytes > self.limit {
            return Err(Overflow);
        }
        self.bytes += item.bytes;
        self.items.push_back(item);
        Ok(())
    }

    /// Adds a message that must not wait behind the others, and is small enough not to be counted out.
    pub(super) fn push_front(&mut self, message: Message) {
        let item = Item::new(message, None);
        self.bytes += item.bytes;
        self.items.push_front(item);
    }

    pub(super) fn pop(&mut self) -> Option<(Message, Option<T>)> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes;
        Some((item.message, item.waiting))
    }

    /// Drops the messages that `waiting` matches for, and what waits with them.
    pub(super) fn forget(&mut self, mut is_unwanted: impl FnMut(&T) -> bool) {
        self.items.retain(|item| !item.waiting.as_ref().is_some_and(&mut is_unwanted));
        self.bytes = self.items.iter().map(|item| item.bytes).sum();
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }
}

impl<T> Item<T> {
    fn new(message: Message, waiting: Option<T>) -> Self {
        let text = match &message {
            Message::Text(text) => text.as_str().len(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
            Message::Close(_) => 0,
        };
        Self { message, bytes: text + OVERHEAD, waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Message {
        Message::Text("x".repeat(length).into())
    }

    #[test]
    fn bytes_are_bounded_and_come_back() {
        let mut queue = Queue::new(3 * (100 + OVERHEAD));
        for id in 0..3 {
            queue.push(text(100), Some(id)).unwrap();
        }
        assert_eq!(queue.push(text(1), None), Err(Overflow));
        assert_eq!(queue.pop(), Some((text(100), Some(0))));
        queue.push(text(100), Some(3)).unwrap();
        queue.forget(|id| *id == 1 || *id == 3);
        assert_eq!(queue.bytes, 100 + OVERHEAD);
        assert_eq!(queue.pop(), Some((text(100), Some(2))));
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn a_single_message_always_fits() {
        let mut queue = Queue::<()>::new(10);
        queue.push(text(1_000), None).unwrap();
        assert_eq!(queue.push(text(1), None), Err(Overflow));
    }
}
