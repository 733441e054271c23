//! One reader of one topic, as a stream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use metrics::Counter;
use tokio_stream::wrappers::{BroadcastStream, WatchStream, errors::BroadcastStreamRecvError};

use super::{Message, local::Seat};

/// What a reader is handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered<T> {
    /// A message, in the order of publication.
    Message(T),
    /// The reader was too slow: this many messages before the next one are lost. Only on [`super::Delivery::Buffer`].
    Missed(u64),
}

/// The messages of one topic from the moment of subscribing. Dropping it ends the reading; it ends by itself only when
/// the bus is gone.
pub struct Subscription<T> {
    // Before the seat: whoever gives up the last seat must find nobody listening on the channel.
    source: Source<T>,
    seat: Seat,
    missed: Counter,
}

pub(super) enum Source<T> {
    Latest(WatchStream<Option<T>>),
    Buffer(BroadcastStream<T>),
}

impl<T> Subscription<T> {
    pub(super) fn new(source: Source<T>, seat: Seat, missed: Counter) -> Self {
        Self { source, seat, missed }
    }
}

impl<T: Message> Stream for Subscription<T> {
    type Item = Delivered<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivered<T>>> {
        let this = &mut *self;
        match &mut this.source {
            Source::Latest(newest) => loop {
                match ready!(Pin::new(&mut *newest).poll_next(cx)) {
                    Some(Some(message)) => return Poll::Ready(Some(Delivered::Message(message))),
                    // The channel before its first message.
                    Some(None) => {}
                    None => return Poll::Ready(None),
                }
            },
            Source::Buffer(queue) => Poll::Ready(match ready!(Pin::new(queue).poll_next(cx)) {
                Some(Ok(message)) => Some(Delivered::Message(message)),
                Some(Err(BroadcastStreamRecvError::Lagged(count))) => {
                    this.missed.increment(count);
                    Some(Delivered::Missed(count))
                }
                None => None,
            }),
        }
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("seat", &self.seat).finish_non_exhaustive()
    }
}
