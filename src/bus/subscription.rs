//! One reader of one topic, as a stream.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, stream::BoxStream};
use metrics::Counter;
use tokio::{sync::watch, time::timeout};
use tokio_stream::wrappers::{BroadcastStream, WatchStream, errors::BroadcastStreamRecvError};

use super::{Message, Position, channel::Seat, gap::Gap};

/// How long [`Subscription::ready`] waits.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What a reader is handed.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivered<T> {
    /// A message, in the order of publication.
    Message {
        /// What was published.
        message: T,
        /// Where it is in the topic's history: resume after it with [`super::Bus::resume`]. `None` on a topic without
        /// history, and for what was published while the history could not be reached.
        position: Option<Position>,
        /// It comes from the history: it was published before this subscription could hear it live.
        replayed: bool,
    },
    /// Messages before the next one are lost to this reader: so many, if that is known. A reader of
    /// [`super::Delivery::Latest`] is told only when it resumes.
    Missed(Option<u64>),
}

/// The messages of one topic from the moment of subscribing. Dropping it ends the reading; it ends by itself only when
/// the bus is gone.
pub struct Subscription<T> {
    // Before the seat: whoever gives up the last seat must find nobody listening on the channel.
    source: Source<T>,
    seat: Seat,
    /// What comes before anything live.
    replay: Option<BoxStream<'static, Delivered<T>>>,
    held: Option<Delivered<T>>,
    progress: Progress,
    missed: Counter,
}

pub(super) enum Source<T> {
    Latest(WatchStream<Option<Delivered<T>>>),
    Buffer(BroadcastStream<Delivered<T>>),
}

/// What a reader has had, been told of, and still must be told of.
#[derive(Debug, Default)]
struct Progress {
    /// The newest position that was handed out, or resumed from.
    place: Option<Position>,
    /// How many messages after it the reader was told are missing, and whether it was told of others, uncounted.
    told: u64,
    is_told_vaguely: bool,
    /// What the channel has lost before the next message.
    lost: Gap,
    /// No live message has followed the replay yet: what the channel has lost may have been replayed.
    is_at_seam: bool,
}

impl<T> Subscription<T> {
    pub(super) fn new(source: Source<T>, seat: Seat, missed: Counter) -> Self {
        Self { source, seat, replay: None, held: None, progress: Progress::default(), missed }
    }

    /// The same reader, who misses nothing up to `place`.
    pub(super) fn starting_after(mut self, place: Position) -> Self {
        self.progress.place = Some(place);
        self
    }

    /// The same reader, first handed what came after `place`.
    pub(super) fn replaying(self, place: Position, replay: BoxStream<'static, Delivered<T>>) -> Self {
        let progress = Progress { place: Some(place), is_at_seam: true, ..Progress::default() };
        Self { replay: Some(replay), progress, ..self }
    }

    /// Waits until whatever is published from now on arrives: at once within one process, and through Redis when the
    /// subscription is confirmed. Whether that was within two seconds.
    pub async fn ready(&self) -> bool {
        let mut live = self.live();
        timeout(READY_WITHIN, live.wait_for(|live| *live)).await.is_ok_and(|waited| waited.is_ok())
    }

    pub(super) fn live(&self) -> watch::Receiver<bool> {
        self.seat.live()
    }

    fn hand_out(&mut self, delivered: Delivered<T>) -> Poll<Option<Delivered<T>>> {
        match &delivered {
            Delivered::Message { position, .. } => self.progress.had(*position),
            Delivered::Missed(count) => {
                self.progress.was_told(*count);
                self.missed.increment(count.unwrap_or(0));
            }
        }
        Poll::Ready(Some(delivered))
    }
}

impl Progress {
    fn had(&mut self, position: Option<Position>) {
        if position.is_some() {
            *self = Self { place: position, told: 0, is_told_vaguely: false, lost: self.lost, ..*self };
        }
    }

    fn was_told(&mut self, count: Option<u64>) {
        self.told += count.unwrap_or(0);
        self.is_told_vaguely |= count.is_none();
    }

    /// Whether the reader has had the message at `position`, and with it everything that the channel lost before.
    fn knows(&mut self, position: Option<Position>) -> bool {
        let is_known = Position::covers(self.place, position);
        if is_known {
            self.lost = Gap::None;
        }
        is_known
    }

    /// Notes a loss, unless the reader is to be told of it right now.
    fn defers(&mut self, loss: Gap) -> bool {
        let defers = self.is_at_seam || self.lost != Gap::None;
        if defers {
            self.lost = self.lost.and(loss);
        }
        defers
    }

    /// What the reader is yet to be told of before a live message at `position`. Positions know better than the channel,
    /// which counts what it dropped and not what that stood for.
    fn untold(&mut self, position: Option<Position>) -> Gap {
        let (lost, is_at_seam) = (mem::take(&mut self.lost), mem::take(&mut self.is_at_seam));
        match (lost, self.place.zip(position)) {
            (Gap::None, _) => Gap::None,
            _ if self.is_told_vaguely => Gap::None,
            (_, Some((place, position))) if place.epoch == position.epoch => {
                match Gap::of(position.offset.saturating_sub(place.offset + 1).saturating_sub(self.told)) {
                    // What was dropped had no position.
                    Gap::None if !is_at_seam => lost,
                    gap => gap,
                }
            }
            // Of a history of which the reader has seen nothing, or not that one.
            _ if position.is_some() => Gap::Unknown,
            _ => lost,
        }
    }
}

// Nothing of it is ever pinned in place.
impl<T> Unpin for Subscription<T> {}

impl<T: Message> Stream for Subscription<T> {
    type Item = Delivered<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivered<T>>> {
        let this = &mut *self;
        if let Some(held) = this.held.take() {
            return this.hand_out(held);
        }
        if let Some(replay) = &mut this.replay {
            match ready!(replay.as_mut().poll_next(cx)) {
                Some(delivered) => return this.hand_out(delivered),
                None => this.replay = None,
            }
        }
        while let Some(live) = ready!(this.source.poll_next(cx)) {
            match live {
                Ok(Delivered::Message { position, .. }) if this.progress.knows(position) => {}
                Ok(Delivered::Missed(count)) if this.progress.defers(Gap::told(count)) => {}
                Ok(missed @ Delivered::Missed(_)) => return this.hand_out(missed),
                Ok(message @ Delivered::Message { position, .. }) => {
                    let Some(notice) = this.progress.untold(position).notice() else { return this.hand_out(message) };
                    this.held = Some(message);
                    return this.hand_out(notice);
                }
                Err(dropped) => this.progress.lost = this.progress.lost.and(Gap::of(dropped)),
            }
        }
        Poll::Ready(None)
    }
}

impl<T: Message> Source<T> {
    /// What comes next from the channel, or how much of it the channel had to drop first.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivered<T>, u64>>> {
        match self {
            Self::Latest(newest) => loop {
                match ready!(Pin::new(&mut *newest).poll_next(cx)) {
                    Some(Some(delivered)) => return Poll::Ready(Some(Ok(delivered))),
                    // The channel before its first message.
                    Some(None) => {}
                    None => return Poll::Ready(None),
                }
            },
            Self::Buffer(queue) => Poll::Ready(match ready!(Pin::new(queue).poll_next(cx)) {
                Some(Ok(delivered)) => Some(Ok(delivered)),
                Some(Err(BroadcastStreamRecvError::Lagged(dropped))) => Some(Err(dropped)),
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
