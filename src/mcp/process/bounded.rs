//! The output of a process, as long as its lines are not too long.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Reads on until a line, which is one message, has more bytes than it may: that is the end.
#[derive(Debug)]
pub(crate) struct Bounded<R> {
    from: R,
    most: usize,
    /// Bytes of the line so far.
    line: usize,
    exceeded: Arc<AtomicBool>,
}

impl<R> Bounded<R> {
    /// Raises the flag when a line has more bytes than `most`.
    pub(crate) fn new(from: R, most: usize, exceeded: Arc<AtomicBool>) -> Self {
        Self { from, most, line: 0, exceeded }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.from).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        let mut parts = read.split(|byte| *byte == b'\n');
        let mut longest = self.line + parts.next().map_or(0, <[u8]>::len);
        self.line = longest;
        for part in parts {
            self.line = part.len();
            longest = longest.max(self.line);
        }
        if longest > self.most {
            self.exceeded.store(true, Ordering::Relaxed);
            // Whoever fails has read nothing.
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too large")));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn lines_up_to_the_bound_pass_however_they_are_cut() {
        for (text, passes) in [
            ("", true),
            ("12345\n12345\n\n12345", true),
            ("123456", false),
            ("1\n123456\n1", false),
            ("123456\n", false),
        ] {
            let exceeded = Arc::<AtomicBool>::default();
            let pieces = in_pieces(text);
            let mut read = Bounded::new(pieces, 5, Arc::clone(&exceeded));
            let mut found = String::new();
            assert_eq!(read.read_to_string(&mut found).await.is_ok(), passes, "{text:?}");
            assert_eq!(exceeded.load(Ordering::Relaxed), !passes, "{text:?}");
        }
    }

    /// The text in pieces of two bytes.
    fn in_pieces(text: &str) -> Box<dyn AsyncRead + Unpin> {
        let pieces = text.as_bytes().chunks(2).map(|piece| io::Cursor::new(piece.to_vec()));
        pieces.fold(Box::new(tokio::io::empty()), |before: Box<dyn AsyncRead + Unpin>, piece| {
            Box::new(before.chain(piece))
        })
    }
}
