//! One reader's end of a channel.

use std::sync::Arc;

use super::{
    board::Board,
    mailbox::{Heard, Mailbox},
};

/// One reader of one channel. When the last reader of a channel is dropped, its subscription ends.
pub struct Listening {
    board: Arc<Board>,
    channel: String,
    mailbox: Arc<Mailbox>,
}

impl Listening {
    pub(super) fn new(board: Arc<Board>, channel: String) -> Self {
        let mailbox = board.join(&channel);
        Self { board, channel, mailbox }
    }

    /// The next thing heard. Never ends, and loses nothing when it is cancelled. While nothing has been heard, the
    /// channel is not live.
    pub async fn heard(&mut self) -> Heard {
        self.mailbox.next().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.board.leave(&self.channel, &self.mailbox);
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("channel", &self.channel).finish_non_exhaustive()
    }
}
