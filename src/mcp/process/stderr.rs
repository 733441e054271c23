//! The last lines of what a process writes to its standard error, however much that is.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::watch,
    time::sleep,
};

use crate::model::Redactor;

/// Lines that are kept.
const MOST_LINES: usize = 50;
/// After so many bytes there is a pause: who floods waits for its own words, and takes the time of nobody else.
const BURST: usize = 64 * 1_024;
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a line that are kept.
const LONGEST_LINE: usize = 500;

/// The last lines; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct StderrTail {
    lines: Arc<Mutex<VecDeque<String>>>,
    finished: watch::Receiver<bool>,
}

impl StderrTail {
    /// Reads on until the end, so that whoever writes is not held up, unless it is a flood.
    pub(super) fn read(from: impl AsyncRead + Send + Unpin + 'static, secrets: Redactor) -> Self {
        let (tell, finished) = watch::channel(false);
        let lines = Arc::<Mutex<VecDeque<String>>>::default();
        tokio::spawn(keep(from, Tail { lines: Arc::clone(&lines), secrets }, tell));
        Self { lines, finished }
    }

    /// The lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().iter().cloned().collect()
    }

    /// Waits until there is nothing more to come.
    pub(super) async fn finished(&self) {
        let _ = self.finished.clone().wait_for(|finished| *finished).await;
    }
}

/// Where lines are put.
struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    secrets: Redactor,
}

async fn keep(mut from: impl AsyncRead + Unpin, tail: Tail, tell: watch::Sender<bool>) {
    let (mut buffer, mut line, mut burst) = ([0; 8_192], Vec::new(), 0);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut parts = buffer[..count].split(|byte| *byte == b'\n');
        tail.extend(&mut line, parts.next().unwrap_or_default());
        for part in parts {
            tail.push(&mut line);
            tail.extend(&mut line, part);
        }
        burst += count;
        if burst >= BURST {
            burst = 0;
            sleep(PAUSE).await;
        }
    }
    if !line.is_empty() {
        tail.push(&mut line);
    }
    tell.send_replace(true);
}

impl Tail {
    /// Adds to a line as long as it is not too long. A secret that is cut off could not be found.
    fn extend(&self, line: &mut Vec<u8>, part: &[u8]) {
        let room = LONGEST_LINE + self.secrets.longest() - line.len();
        line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn push(&self, line: &mut Vec<u8>) {
        let text = self.secrets.hide(&String::from_utf8_lossy(line));
        let text: String = text.chars().filter(|character| !character.is_control()).collect();
        line.clear();
        let mut lines = self.lines.lock();
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(text[..text.floor_char_boundary(LONGEST_LINE)].to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_last_lines_are_kept_and_only_their_beginnings() {
        let lines: Vec<String> = (0..1_000).map(|number| format!("line {number}\n")).collect();
        let mut text = lines.concat();
        text.push_str(&"x".repeat(100_000));
        text.push_str("\n\u{1b}[31mred\u{7}\nmy key is s3cret");
        let secrets = ["s3cret".to_owned()].into_iter().collect();
        let tail = StderrTail::read(std::io::Cursor::new(text.into_bytes()), secrets);
        tail.finished().await;
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[47].len()), (MOST_LINES, "line 953", LONGEST_LINE));
        assert_eq!(lines[48..], ["[31mred", "my key is [redacted]"]);
    }
}
