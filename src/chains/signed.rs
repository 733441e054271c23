//! Transactions that somebody else has signed. No key is ever held here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rpc::Call;

/// A transaction that was signed elsewhere, and is ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signed {
    /// What the chain will know it by, computed from what was signed: the hash, or the first signature.
    pub(super) id: Arc<str>,
    /// Who pays for it.
    pub(super) from: Arc<str>,
    /// How it is given to a node.
    pub(super) call: Call,
}

/// Why a chain does not take a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SendRefusal {
    /// The sender has too little for the value and the fee.
    InsufficientFunds,
    /// Another transaction of the sender has this nonce already.
    NonceTooLow,
    /// The nonce is too far ahead.
    NonceTooHigh,
    /// It offers too low a fee.
    Underpriced,
    /// The block that it names is too old. It will never be taken: sign it anew.
    Expired,
    /// It would fail.
    WouldFail,
    /// Something else, in the node's words.
    Other,
}

/// What to make of a node's no to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objection {
    /// It has it already: that is as good as a yes.
    AlreadyKnown,
    /// It may be because of this very transaction, which is in a block by now.
    PerhapsItself(SendRefusal),
    /// It does not want it.
    Refused(SendRefusal),
}
