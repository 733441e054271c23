//! How sockets end: every close code that this server sends.

use std::borrow::Cow;

use axum::extract::ws::CloseFrame;
use tungstenite::error::{CapacityError, Error as SocketError};

/// What the WebSocket protocol leaves for a reason.
const LONGEST_REASON: usize = 123;

/// Why a socket ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer closed, or the connection broke.
    Peer,
    /// The server is shutting down; clients should come back.
    GoingAway,
    /// Broken WebSocket framing.
    BrokenFrame,
    /// A text message that is not UTF-8.
    NotUtf8,
    /// A message larger than allowed.
    TooLarge,
    /// The peer reads too slowly for what it asked for; it may come back.
    SlowReader,
    /// A message that is none of the protocol's.
    BadMessage(Cow<'static, str>),
    /// `subscribe` before `connection_init`.
    NotAcknowledged,
    /// The token of `connection_init` was refused.
    Forbidden(String),
    /// The client speaks another sub-protocol.
    WrongProtocol,
    /// No `connection_init` in time.
    NoInit,
    /// No answer to a ping in time.
    NoPong,
    /// An operation's id is in use.
    DuplicateId(String),
    /// A second `connection_init`.
    SecondInit,
    /// A fault of ours.
    Internal,
}

impl Ending {
    /// The code, as metrics label it.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::GoingAway => "1001",
            Self::BrokenFrame => "1002",
            Self::NotUtf8 => "1007",
            Self::TooLarge => "1009",
            Self::SlowReader => "1013",
            Self::BadMessage(_) => "4400",
            Self::NotAcknowledged => "4401",
            Self::Forbidden(_) => "4403",
            Self::WrongProtocol => "4406",
            Self::NoInit | Self::NoPong => "4408",
            Self::DuplicateId(_) => "4409",
            Self::SecondInit => "4429",
            Self::Internal => "4500",
        }
    }

    /// The frame that tells the peer; none if it has left.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        let reason: Cow<'_, str> = match self {
            Self::Peer => return None,
            Self::GoingAway => "the server is shutting down".into(),
            Self::BrokenFrame => "protocol error".into(),
            Self::NotUtf8 => "text must be UTF-8".into(),
            Self::TooLarge => "message too large".into(),
            Self::SlowReader => "reading too slowly".into(),
            Self::BadMessage(reason) => reason.as_ref().into(),
            Self::NotAcknowledged => "Unauthorized".into(),
            Self::Forbidden(reason) => format!("Forbidden: {reason}").into(),
            Self::WrongProtocol => "Subprotocol not acceptable".into(),
            Self::NoInit => "Connection initialisation timeout".into(),
            Self::NoPong => "Pong timeout".into(),
            Self::DuplicateId(id) => format!("Subscriber for {id} already exists").into(),
            Self::SecondInit => "Too many initialisation requests".into(),
            Self::Internal => "Internal server error".into(),
        };
        let code = self.label().parse().expect("labels of endings with a frame are their codes");
        Some(CloseFrame { code, reason: reason[..reason.floor_char_boundary(LONGEST_REASON)].into() })
    }
}

/// What a failed read says about the peer.
impl From<axum::Error> for Ending {
    fn from(error: axum::Error) -> Self {
        match error.into_inner().downcast::<SocketError>().map(|error| *error) {
            Ok(SocketError::Utf8(_)) => Self::NotUtf8,
            Ok(SocketError::Capacity(CapacityError::MessageTooLong { .. })) => Self::TooLarge,
            // A peer that vanishes without a close frame counts as a protocol error in the library; it is just gone.
            Ok(SocketError::Protocol(kind)) if !is_disconnect(&kind) => Self::BrokenFrame,
            _ => Self::Peer,
        }
    }
}

fn is_disconnect(kind: &tungstenite::error::ProtocolError) -> bool {
    use tungstenite::error::ProtocolError::{ReceivedAfterClosing, ResetWithoutClosingHandshake, SendAfterClosing};
    matches!(kind, ResetWithoutClosingHandshake | SendAfterClosing | ReceivedAfterClosing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_into_a_close_frame() {
        let ending = Ending::DuplicateId("é".repeat(200));
        let frame = ending.frame().unwrap();
        assert_eq!(frame.code, 4409);
        assert!(frame.reason.len() <= LONGEST_REASON, "{}", frame.reason.len());
        assert!(frame.reason.starts_with("Subscriber for é"));
    }
}
