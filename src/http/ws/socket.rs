//! Reading from and writing to one socket, and parting from it.
//!
//! Knows messages, not what they mean; `connection.rs` does.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use axum::extract::ws::Message;
use futures_util::{Sink, SinkExt, Stream, StreamExt, ready};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{close::Ending, operations::Operation, queue::Queue};
use crate::http::meters;

/// How long a peer gets to take the last messages and answer our close frame.
const FAREWELL: Duration = Duration::from_secs(1);
/// The same for a peer that does not read yet: what the system has buffered for it comes before the close frame.
const LONG_FAREWELL: Duration = Duration::from_secs(10);

/// The outside world: the WebSocket of the web framework, or a test's.
pub(super) trait Socket:
    Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin
{
}

impl<S> Socket for S where S: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin {}

/// What happened on the socket.
pub(super) enum Traffic {
    /// A message came, or the end.
    Heard(Option<Result<Message, axum::Error>>),
    /// A message was taken, with the operation that waited for it.
    Taken(Result<Option<Operation>, axum::Error>),
}

/// Reading and writing in turns, so that a flood of one cannot keep the other waiting. One object instead of two halves:
/// a half for writing would hide whether the socket is ready for more.
#[derive(Default)]
pub(super) struct Turns {
    reading_first: bool,
    /// Something was written that the system may not have seen yet.
    unflushed: bool,
}

impl Turns {
    /// The next thing to happen; nothing is read unless `listening`. Nothing is lost when it is dropped between two
    /// polls.
    pub(super) async fn next(
        &mut self,
        socket: &mut impl Socket,
        queue: &mut Queue<Operation>,
        listening: bool,
    ) -> Traffic {
        self.reading_first = !self.reading_first;
        poll_fn(|cx| {
            if listening
                && self.reading_first
                && let Poll::Ready(heard) = socket.poll_next_unpin(cx)
            {
                return Poll::Ready(Traffic::Heard(heard));
            }
            if let Poll::Ready(taken) = self.write(socket, queue, cx) {
                return Poll::Ready(Traffic::Taken(taken));
            }
            if !listening || self.reading_first {
                return Poll::Pending;
            }
            socket.poll_next_unpin(cx).map(Traffic::Heard)
        })
        .await
    }

    /// Hands the oldest message to the socket, or flushes when there is none.
    fn write(
        &mut self,
        socket: &mut impl Socket,
        queue: &mut Queue<Operation>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Operation>, axum::Error>> {
        if queue.is_empty() && self.unflushed {
            ready!(socket.poll_flush_unpin(cx))?;
            self.unflushed = false;
        }
        if queue.is_empty() {
            return Poll::Pending;
        }
        ready!(socket.poll_ready_unpin(cx))?;
        let (message, waiting) = queue.pop().expect("it is not empty");
        self.unflushed = true;
        socket.start_send_unpin(message)?;
        Poll::Ready(Ok(waiting))
    }
}

/// Sends what is left and the close frame, then reads until the peer has closed too: hanging up with unread bytes would
/// reset the connection and take the close frame with it. Nobody waits longer than [`FAREWELL`] once `shutdown` has come.
pub(super) async fn farewell(
    socket: &mut impl Socket,
    queue: &mut Queue<Operation>,
    ending: &Ending,
    shutdown: &CancellationToken,
) {
    meters::socket_closed(ending.label());
    tracing::debug!(code = ending.label(), "a websocket ended");
    if matches!(ending, Ending::Peer | Ending::SlowReader) {
        // One takes nothing more, and for the other the close frame is late already.
        queue.clear();
    }
    let patience = if *ending == Ending::SlowReader { LONG_FAREWELL } else { FAREWELL };
    // Whether the peer took it is its own matter.
    tokio::select! {
        _ = part(socket, queue, ending) => {}
        () = sleep(patience) => {}
        () = async { shutdown.cancelled().await; sleep(FAREWELL).await } => {}
    }
    queue.clear();
}

/// Writes what is left and reads to the end, both at once: a peer that is stuck in writing does not read before we do.
async fn part(socket: &mut impl Socket, queue: &mut Queue<Operation>, ending: &Ending) -> Result<(), axum::Error> {
    // Not waiting for the socket to be ready: it keeps what it cannot write yet, and after the peer's end of file it
    // would take no frame any more.
    while let Some((message, _)) = queue.pop() {
        socket.start_send_unpin(message)?;
    }
    if let Some(frame) = ending.frame() {
        socket.start_send_unpin(Message::Close(Some(frame)))?;
    }
    let mut listening = true;
    let mut writing = true;
    poll_fn(|cx| {
        while listening && let Poll::Ready(heard) = socket.poll_next_unpin(cx) {
            listening = matches!(heard, Some(Ok(_)));
        }
        if writing && let Poll::Ready(flushed) = socket.poll_flush_unpin(cx) {
            flushed?;
            writing = false;
        }
        if listening || writing { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await
}
