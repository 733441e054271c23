//! Why a chain gave no value.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use thiserror::Error;

use super::rpc::{Agreement, Refusal, RpcError};
use crate::{
    cache::{LoadLost, Lookup},
    model::FieldError,
};

/// Why a chain gave no value.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ChainError {
    /// There is no such chain here.
    #[error("there is no chain {id}; there are: {known}")]
    UnknownChain {
        /// What was asked for.
        id: String,
        /// The chains that there are.
        known: String,
    },
    /// What was sent cannot be taken: everything that is wrong with it.
    #[error("the input cannot be taken: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There is no token at an address.
    #[error("there is no token at {0}")]
    NoToken(Arc<str>),
    /// The chain itself says no.
    #[error("the chain refuses: {message}")]
    Refused {
        /// The code of JSON-RPC.
        code: i64,
        /// In the node's words.
        message: Arc<str>,
        /// What it says besides.
        data: Option<Value>,
    },
    /// A call would be undone by the contract itself.
    #[error("the call reverts: {}", .reason.as_deref().unwrap_or("the contract gives no reason"))]
    Reverted {
        /// In the contract's words, where it has some.
        reason: Option<Arc<str>>,
    },
    /// No endpoint could say. The reasons are for operators.
    #[error("no endpoint of the chain could answer: {reasons}")]
    Unavailable {
        /// Each endpoint's own.
        reasons: String,
        /// When asking again makes sense, where that is known.
        retry_after: Option<Duration>,
    },
    /// No endpoint answered in time.
    #[error("no endpoint of the chain answered in time")]
    TimedOut,
    /// Fewer endpoints can be asked than must agree.
    #[error("{needed} endpoints must agree, and {usable} can be asked")]
    TooFew {
        /// As many must agree.
        needed: usize,
        /// As many can be asked.
        usable: usize,
    },
    /// The endpoints say different things.
    #[error("the endpoints disagree: of {asked}, {agreed} said the same")]
    Disagreement {
        /// Endpoints that were asked.
        asked: usize,
        /// The most that said the same.
        agreed: usize,
    },
    /// An endpoint said what makes no sense.
    #[error("the endpoint {endpoint} said what makes no sense: {detail}")]
    Nonsense {
        /// The endpoint.
        endpoint: Arc<str>,
        /// What was wrong, for operators.
        detail: Arc<str>,
    },
    /// More blocks were undone than a follower remembers.
    #[error("more blocks were undone than are remembered: begin without a cursor")]
    TooDeep,
    /// A follower was away for too long.
    #[error("the cursor is {blocks} blocks behind, and at most {most} are made up for: begin without a cursor")]
    TooFarBehind {
        /// So many blocks behind.
        blocks: u64,
        /// As many are made up for.
        most: u64,
    },
    /// More transactions mention an account than can be followed.
    #[error("more transactions mention the account between two final blocks than can be followed")]
    TooBusy,
    /// The load ended without an answer.
    #[error(transparent)]
    Lost(#[from] LoadLost),
}

impl ChainError {
    pub(super) fn nonsense(endpoint: &Arc<str>, detail: &str) -> Self {
        Self::Nonsense { endpoint: Arc::clone(endpoint), detail: detail.into() }
    }
}

/// What was looked up, where a load that succeeds always has a value.
pub(super) fn found<V>(lookup: Lookup<V>) -> Result<V, ChainError> {
    lookup.hit().map(|hit| hit.value).ok_or_else(|| LoadLost::Unanswered.into())
}

impl From<RpcError> for ChainError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Refused(Refusal { code, message, data }) => Self::Refused { code, message, data },
            RpcError::Failed(failures) => {
                Self::Unavailable { reasons: failures.to_string(), retry_after: failures.retry_after }
            }
            RpcError::TimedOut => Self::TimedOut,
            RpcError::TooFew { needed, usable } => Self::TooFew { needed, usable },
            RpcError::Disagreement(Agreement { asked, agreed }) => Self::Disagreement { asked, agreed },
        }
    }
}
