//! Following what happens on a chain, without a gap: what is new, what was undone, and what cannot be undone any more.
//!
//! Whoever follows keeps no connection to a node and no state on the server. What was delivered is in the cursor: the block
//! where it stands, and some of those before, by which the common ancestor is found after a reorganisation, also one that
//! happened while the follower was away. Blocks are walked by their parents' hashes, and events are read by the block's hash,
//! so that nodes on different branches never mix. On Solana, where nothing is read by hash, the cursor has a digest of what
//! was told of each slot that is not final (`slots.rs`).

mod cursor;
mod filter;
mod following;
mod heads;
mod mentions;
mod place;
mod slots;
mod source;
mod walk;

use std::time::Duration;

use futures_util::Stream;
use tokio::time::sleep;

use self::place::Place;
pub use self::{filter::EventFilter, place::Seen};
use self::{filter::Wish, mentions::Mentions, walk::Walker};
pub(super) use self::{
    following::Following,
    source::{BlockKey, Logs},
};
use super::{Chain, ChainError, Provenance};
pub use super::{
    evm::log::{Log, LogFilter},
    solana::log::Mention,
};
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
    /// A transaction mentions the account.
    Mentioned(Box<Mentioned>),
    /// What was told of blocks above this one has been undone.
    Undone(Seen),
    /// What was told of slots above this one has been undone.
    Dropped(u64),
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

/// A transaction that mentions the account.
#[derive(Debug, Clone, PartialEq)]
pub struct Mentioned {
    /// Which, and what came of it.
    pub mention: Mention,
    /// Who said so, at which slot.
    pub provenance: Provenance,
}

/// One follower, by the family of its chain.
enum Follower {
    Logs(Box<Walker>),
    Mentions(Box<Mentions>),
}

impl Chain {
    /// Checks a filter and a cursor, and follows what they ask for: after the cursor, or from the head on. It ends after an
    /// error, and only then.
    ///
    /// # Errors
    /// What is wrong with the filter or the cursor.
    pub fn events(
        &self,
        filter: &EventFilter,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<ChainEvent, ChainError>> + Send + use<>, ChainError> {
        let chain = self.network().id.as_str();
        let problem = || FieldError::new(&["after"], "it is no cursor of this chain and filter");
        let foreign = || ChainError::Invalid(vec![problem()]);
        let wish = filter.wish(self).map_err(|mut problems| {
            // Whose cursor it is cannot be said without a filter.
            problems.extend(after.filter(|cursor| !cursor::is_one(cursor)).map(|_| problem()));
            ChainError::Invalid(problems)
        })?;
        let fingerprint = wish.fingerprint(chain);
        let follower = match wish {
            Wish::Logs(filter) => {
                let place = after.map(|cursor| cursor::read(cursor, fingerprint).ok_or_else(foreign)).transpose()?;
                Follower::Logs(Box::new(Walker::new(self.clone(), filter, fingerprint, place)))
            }
            Wish::Account(account) => {
                let slots =
                    after.map(|cursor| cursor::read_slots(cursor, fingerprint).ok_or_else(foreign)).transpose()?;
                Follower::Mentions(Box::new(Mentions::new(self.clone(), account, fingerprint, slots)))
            }
        };
        Ok(follow(follower))
    }
}

impl Follower {
    async fn next(&mut self) -> Result<Vec<ChainEvent>, ChainError> {
        match self {
            Self::Logs(walker) => walker.next().await,
            Self::Mentions(mentions) => mentions.next().await,
        }
    }
}

fn follow(mut follower: Follower) -> impl Stream<Item = Result<ChainEvent, ChainError>> + Send {
    async_stream::stream! {
        loop {
            match follower.next().await {
                Ok(events) => {
                    for event in events {
                        yield Ok(event);
                    }
                }
                Err(error @ (ChainError::TooDeep | ChainError::TooFarBehind { .. } | ChainError::TooBusy)) => {
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
