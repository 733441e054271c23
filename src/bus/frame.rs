//! A message between nodes, as bytes.
//!
//! One byte of format version, the epoch and offset of its position (zeros: it has none), who sent it and as which of
//! its messages, when, in microseconds, and then the message. Numbers are big-endian. Another version is not read:
//! raise it with any change here, and nodes of both versions skip each other's messages while they are exchanged.

use bytes::Bytes;

use super::Position;
use crate::store::NodeId;

/// The first byte.
pub(super) const VERSION: u8 = 1;
const POSITION: usize = 16;
const STAMP: usize = 24;
const HEAD: usize = 1 + POSITION + STAMP;

/// What identifies a message before it has a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) node: NodeId,
    /// Which of the node's messages.
    pub(super) number: u64,
    /// Microseconds since 1970.
    pub(super) sent_at: i64,
}

/// A message as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) position: Option<Position>,
    pub(super) stamp: Stamp,
    pub(super) message: Bytes,
}

impl Frame {
    /// `None` for what another version wrote, or nobody.
    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        if bytes.len() < HEAD || bytes[0] != VERSION {
            return None;
        }
        let (epoch, offset) = (number(bytes, 1), number(bytes, 9));
        let stamp = Stamp {
            node: NodeId(number(bytes, 17)),
            number: number(bytes, 25),
            sent_at: number(bytes, 33).cast_signed(),
        };
        let position = (epoch > 0).then_some(Position { epoch, offset });
        Some(Self { position, stamp, message: bytes.slice(HEAD..) })
    }
}

/// The frame of a message that has no position.
pub(super) fn unplaced(stamp: Stamp, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + message.len());
    frame.push(VERSION);
    frame.extend([0; POSITION]);
    write_stamped(&mut frame, stamp, message);
    frame
}

/// The part of a frame behind its position, which Redis puts before it.
pub(super) fn stamped(stamp: Stamp, message: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(STAMP + message.len());
    write_stamped(&mut rest, stamp, message);
    rest
}

fn write_stamped(out: &mut Vec<u8>, Stamp { node, number, sent_at }: Stamp, message: &[u8]) {
    out.extend(node.0.to_be_bytes());
    out.extend(number.to_be_bytes());
    out.extend(sent_at.to_be_bytes());
    out.extend(message);
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPED: Stamp = Stamp { node: NodeId(u64::MAX - 1), number: 7, sent_at: -5 };

    #[test]
    fn frames_are_read_as_they_were_written() {
        let frame = Frame::parse(&unplaced(STAMPED, b"message").into()).unwrap();
        assert_eq!(frame, Frame { position: None, stamp: STAMPED, message: Bytes::from_static(b"message") });
        let position = Position { epoch: u64::MAX, offset: 1 << 53 };
        let mut placed = vec![VERSION];
        placed.extend(position.epoch.to_be_bytes());
        placed.extend(position.offset.to_be_bytes());
        placed.extend(stamped(STAMPED, b""));
        let frame = Frame::parse(&placed.into()).unwrap();
        assert_eq!(frame, Frame { position: Some(position), stamp: STAMPED, message: Bytes::new() });
    }

    #[test]
    fn what_another_version_or_nobody_wrote_is_not_read() {
        let frame = unplaced(STAMPED, b"");
        for length in 0..frame.len() {
            assert_eq!(Frame::parse(&Bytes::copy_from_slice(&frame[..length])), None, "{length} bytes");
        }
        let mut other = frame;
        other[0] = VERSION + 1;
        assert_eq!(Frame::parse(&other.into()), None);
    }

    /// Nodes of the last release read it.
    #[test]
    fn the_format_does_not_change_without_its_version() {
        let node = [255, 255, 255, 255, 255, 255, 255, 254];
        let (number, sent_at) = ([0, 0, 0, 0, 0, 0, 0, 7], [255, 255, 255, 255, 255, 255, 255, 251]);
        assert_eq!(unplaced(STAMPED, b"m"), [&[1][..], &[0; 16], &node, &number, &sent_at, b"m"].concat());
    }
}
