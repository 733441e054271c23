//! Following what happens on a chain, without a gap: what is new, what was undone, and what cannot be undone any more.
//!
//! Whoever follows keeps no connection to a node and no state on the server. What was delivered is in the cursor: the block
//! where it stands, and some of those before, by which the common ancestor is found after a reorganisation, also one that
//! happened while the follower was away. Blocks are walked by their parents' hashes, and events are read by the block's hash,
//! so that nodes on different branches never mix.

mod cursor;
mod following;
mod heads;
mod place;
mod source;
mod walk;

use std::time::Duration;

use futures_util::Stream;
use tokio::time::sleep;

use self::place::Place;
pub use self::place::Seen;
pub(super) use self::{
    following::Following,
    source::{BlockKey, Logs},
};
pub use super::evm::log::{Log, LogFilter};
use super::{Chain, ChainError, ChainFamily, Provenance};
use crate::model::FieldError;

/// How long a follower waits after nodes have failed it.
const PAUSE: Duration = Duration::from_millis(500);

/// Something that a follower of events is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainEvent {
    /// What.
    pub news: News,
    /// By which the follower goes on after it.
    pub cursor: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A contract has written a log.
    Applied(Box<Applied>),
    /// What was told of blocks above this one has been undone.
    Undone(Seen),
    /// Up to this number nothing can be undone.
    Finalized(u64),
}

/// A log that was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What the contract wrote.
    pub log: Log,
    /// Who said so, at which block.
    pub provenance: Provenance,
}

impl Chain {
    /// Checks a filter and a cursor, and follows what they ask for: after the cursor, or from the head on. It ends after an
    /// error, and only then.
    ///
    /// # Errors
    /// What is wrong with the filter or the cursor.
    pub fn events(
        &self,
        filter: &LogFilter,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<ChainEvent, ChainError>> + Send + use<>, ChainError> {
        let mut problems = filter.problems();
        if self.family() == ChainFamily::Solana {
            problems.push(FieldError::new(&["chain"], "events of Solana are not followed"));
        }
        let (fingerprint, after) = (filter.fingerprint(self.network().id.as_str()), after.map(str::to_owned));
        let place = after.map(|cursor| cursor::read(&cursor, fingerprint));
        if let Some(None) = place {
            problems.push(FieldError::new(&["after"], "it is no cursor of this chain and filter"));
        }
        if !problems.is_empty() {
            return Err(ChainError::Invalid(problems));
        }
        let walker = walk::Walker::new(self.clone(), filter.clone(), fingerprint, place.flatten());
        Ok(follow(walker))
    }
}

fn follow(mut walker: walk::Walker) -> impl Stream<Item = Result<ChainEvent, ChainError>> + Send {
    async_stream::stream! {
        loop {
            match walker.next().await {
                Ok(events) => {
                    for event in events {
                        yield Ok(event);
                    }
                }
                Err(error @ (ChainError::TooDeep | ChainError::TooFarBehind { .. })) => {
                    yield Err(error);
                    return;
                }
                // Another endpoint, or a moment later, may know.
                Err(error) => {
                    tracing::debug!(%error, "a chain cannot be followed and is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl ChainEvent {
    fn new(news: News, cursor: String) -> Self {
        Self { news, cursor }
    }
}
