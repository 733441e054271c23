//! What can go wrong with a price, in the words of the market.

use thiserror::Error;

use crate::{cache::LoadLost, model::AssetId, resilience::CallError};

/// Why there is no price.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PriceError {
    /// No source knows the coin, or the text is no coin's id.
    #[error("unknown coin {coin:?}")]
    UnknownCoin {
        /// The text as given, cut after 64 characters.
        coin: String,
        /// At most five ids that may have been meant, the likeliest first.
        candidates: Vec<AssetId>,
    },
    /// Too few sources agree, and there is no earlier price to fall back on.
    #[error("only {used} of the {needed} sources needed agree on a price")]
    NoQuorum {
        /// Sources whose quote was accepted.
        used: usize,
        /// Sources that had to agree.
        needed: usize,
    },
    /// Not one source answered; this is what the one that may recover first said.
    #[error("no price source answered")]
    Unavailable(#[source] CallError),
    /// The feed watches as many coins as it may.
    #[error("the feed already watches {limit} coins")]
    FeedFull {
        /// The most distinct coins that the feed watches.
        limit: usize,
    },
    /// The load that would have answered ended without an answer.
    #[error("the price lookup was interrupted")]
    Interrupted,
}

impl From<LoadLost> for PriceError {
    fn from(lost: LoadLost) -> Self {
        match lost {
            // Too much to do is no fault of ours, and coming back later helps.
            LoadLost::Saturated => Self::Unavailable(CallError::Saturated),
            LoadLost::TimedOut => Self::Unavailable(CallError::Timeout),
            LoadLost::Interrupted | LoadLost::Unanswered => Self::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_did_wrong_is_an_interruption() {
        for (lost, expected) in [
            (LoadLost::Saturated, PriceError::Unavailable(CallError::Saturated)),
            (LoadLost::TimedOut, PriceError::Unavailable(CallError::Timeout)),
            (LoadLost::Interrupted, PriceError::Interrupted),
            (LoadLost::Unanswered, PriceError::Interrupted),
        ] {
            assert_eq!(PriceError::from(lost), expected, "{lost:?}");
        }
    }
}
