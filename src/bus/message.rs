//! Messages as bytes: how histories and other nodes hold them.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tracing::error;

use super::{Delivered, Position, Topic};

/// Whatever can be published. Every reader gets its own clone, so large messages belong in an `Arc`.
///
/// Messages travel as postcard, which names no fields: serde attributes that need names (`untagged`, `flatten`,
/// `skip_serializing_if`) do not work.
pub trait Message: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Message for T {}

/// The message's bytes; `None` for a type that cannot be written as postcard, which is a mistake in its room.
pub(super) fn encode<T: Message>(topic: &Topic<T>, message: &T) -> Option<Bytes> {
    match postcard::to_stdvec(message) {
        Ok(bytes) => Some(bytes.into()),
        Err(reason) => {
            error!(topic = topic.name(), %reason, "a message cannot be encoded and stays in this process");
            None
        }
    }
}

/// The message of these bytes; `None` if they are those of another type, or of another version of it.
pub(super) fn decode<T: Message>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// A message of a history as a reader is handed it.
pub(super) fn replayed<T: Message>(position: Position, bytes: &[u8]) -> Delivered<T> {
    match decode(bytes) {
        Some(message) => Delivered::Message { message, position: Some(position), replayed: true },
        None => Delivered::Missed(Some(1)),
    }
}
