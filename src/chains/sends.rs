//! Sending transactions: recorded before the first byte leaves, and never sent blindly a second time.
//!
//! The id is computed from what was signed, so that whatever happens on the way, the chain can be asked by it. After a
//! failure that leaves it open whether an endpoint has taken the transaction, that is what happens before another endpoint
//! gets it.

use std::sync::Arc;

use serde_json::json;
use thiserror::Error;

use super::{
    Chain, ChainError, Chains, SendRefusal,
    rpc::{Handed, Refusal},
    sent::{SentEvent, SentOutcome, SentState, stream},
    signed::{Objection, Signed},
};
use crate::{
    audit::{Audit, Entry},
    events::{Begun, Command, Events, EventsError},
    model::{FieldError, Origin},
    store::DatabaseError,
};

/// What somebody wants to be sent.
#[derive(Debug, Clone)]
pub struct SendRequest {
    /// The id of a chain.
    pub chain: String,
    /// The signed transaction: `0x` and hexadecimal digits on EVM chains, base 64 on Solana.
    pub signed: String,
}

/// A transaction that was sent, or perhaps was.
#[derive(Debug, Clone)]
pub struct SentTransaction {
    /// The chain.
    pub chain: Chain,
    /// What the chain knows it by.
    pub id: Arc<str>,
    /// Who pays for it.
    pub from: Arc<str>,
    /// The endpoint that has taken it; nothing where that is not known.
    pub endpoint: Option<Arc<str>>,
}

/// Why a transaction was not sent.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SendError {
    /// What was sent cannot be taken: everything that is wrong with it.
    #[error("the input cannot be taken: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// The chain does not want it.
    #[error("the chain does not take the transaction: {message}")]
    Refused {
        /// Why.
        reason: SendRefusal,
        /// In the node's words.
        message: Arc<str>,
    },
    /// No endpoint could be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It was not recorded, and so not sent.
    #[error(transparent)]
    Events(#[from] EventsError),
}

impl From<DatabaseError> for SendError {
    fn from(error: DatabaseError) -> Self {
        Self::Events(error.into())
    }
}

/// Sends transactions. Clones share everything.
#[derive(Debug, Clone)]
pub struct Sends {
    chains: Chains,
    events: Events,
    audit: Audit,
}

impl Sends {
    /// Sends to these chains.
    #[must_use]
    pub fn new(chains: Chains, events: Events, audit: Audit) -> Self {
        Self { chains, events, audit }
    }

    /// Sends a transaction once. The same one again, or the same key, is answered with what came of it, and goes to the
    /// chain again only where the chain does not know it.
    pub async fn send(
        &self,
        command: Command,
        origin: &Origin,
        request: &SendRequest,
    ) -> Result<SentTransaction, SendError> {
        let (chain, signed) = self.read(request)?;
        let stream = stream(chain.network().id.as_str(), &signed.id);
        let known = self.events.within(self.record(command.clone(), origin, &chain, &signed, &stream)).await?;
        let outcome = if known.is_some() { known } else { self.hand_over(&command, &chain, &signed, &stream).await? };
        let endpoint = match outcome {
            Some(SentOutcome::Refused(reason, message)) => return Err(SendError::Refused { reason, message }),
            Some(SentOutcome::Accepted(endpoint)) => Some(endpoint),
            None => None,
        };
        let Signed { id, from, .. } = signed;
        Ok(SentTransaction { chain, id, from, endpoint })
    }

    fn read(&self, request: &SendRequest) -> Result<(Chain, Signed), SendError> {
        let chain = self
            .chains
            .find(&request.chain)
            .map_err(|error| SendError::Invalid(vec![FieldError::new(&["input", "chain"], error.to_string())]))?;
        let signed = chain
            .signed(&request.signed)
            .map_err(|problem| SendError::Invalid(vec![FieldError::new(&["input", "signedTransaction"], problem)]))?;
        Ok((chain.clone(), signed))
    }

    /// Records that it is about to be sent. Gives back what came of it before, where that is known and final.
    async fn record(
        &self,
        command: Command,
        origin: &Origin,
        chain: &Chain,
        signed: &Signed,
        stream: &str,
    ) -> Result<Option<SentOutcome>, SendError> {
        let mut work = match self.audit.begin(command, &[stream.to_owned()]).await? {
            Begun::Fresh(work) => work,
            Begun::Repeated(_) => return Ok(self.events.replay::<SentState>(stream).await?.state.outcome),
        };
        let mut state = work.replay::<SentState>(stream).await?;
        if let Some(SentOutcome::Accepted(_)) = &state.state.outcome {
            return Ok(state.state.outcome);
        }
        let (id, from) = (Arc::clone(&signed.id), Arc::clone(&signed.from));
        let recorded = SentEvent::Recorded { chain: chain.network().id.as_str().into(), id, from };
        work.append(&mut state, &[recorded]).await?;
        let entry = Entry::done("transaction.send", stream.to_owned(), json!({ "from": signed.from }));
        self.audit.record(&mut work, origin, entry).await?;
        work.commit(json!({ "transaction": signed.id })).await?;
        Ok(None)
    }

    async fn hand_over(
        &self,
        command: &Command,
        chain: &Chain,
        signed: &Signed,
        stream: &str,
    ) -> Result<Option<SentOutcome>, SendError> {
        let outcome = chain.hand_over(signed).await?;
        if let Some(outcome) = &outcome {
            self.conclude(command, stream, outcome).await;
        }
        Ok(outcome)
    }

    /// Keeps what came of it. Where that fails, the chain is asked the next time.
    async fn conclude(&self, command: &Command, stream: &str, outcome: &SentOutcome) {
        let event = match outcome {
            SentOutcome::Accepted(endpoint) => SentEvent::Accepted { endpoint: Arc::clone(endpoint) },
            SentOutcome::Refused(reason, message) => {
                SentEvent::Refused { reason: *reason, message: Arc::clone(message) }
            }
        };
        let command = Command { key: None, ..command.clone() };
        let kept = async {
            let Begun::Fresh(mut work) = self.events.begin(command, &[stream.to_owned()]).await? else { return Ok(()) };
            let mut state = work.replay::<SentState>(stream).await?;
            // Another one may have concluded it meanwhile, and a yes stays.
            if !matches!(state.state.outcome, Some(SentOutcome::Accepted(_))) {
                work.append(&mut state, &[event]).await?;
                work.commit(serde_json::Value::Null).await?;
            }
            Ok::<_, EventsError>(())
        };
        if let Err(error) = self.events.within(kept).await {
            tracing::warn!(%error, stream, "what came of a transaction was not kept; its chain knows");
        }
    }
}

impl Chain {
    /// Gives a transaction to one endpoint after the other until one has taken it. Nothing where it may have been taken and
    /// nobody can say.
    async fn hand_over(&self, signed: &Signed) -> Result<Option<SentOutcome>, ChainError> {
        // Also wakes the polling, which tells the endpoints that are behind from the others.
        self.head().await?;
        let mut takers = self.rpc.takers(signed.call.method);
        let mut is_unclear = false;
        while let Some((endpoint, handed)) = takers.hand(&signed.call).await {
            match handed {
                Handed::Taken(_) => return Ok(Some(SentOutcome::Accepted(endpoint))),
                Handed::Refused(refusal) => {
                    let reason = self.judge(signed, &refusal).await?;
                    return Ok(Some(match reason {
                        Some(reason) => SentOutcome::Refused(reason, refusal.message),
                        None => SentOutcome::Accepted(endpoint),
                    }));
                }
                Handed::NotTaken => {}
                // Not blindly: only where the chain has not heard of it does the next one get it.
                Handed::Unclear if self.knows(&signed.id).await.unwrap_or(false) => {
                    return Ok(Some(SentOutcome::Accepted(endpoint)));
                }
                Handed::Unclear => is_unclear = true,
            }
        }
        if is_unclear {
            return Ok(None);
        }
        let reasons = takers.failures.to_string();
        Err(ChainError::Unavailable { reasons, retry_after: takers.failures.retry_after })
    }

    /// Why a node's no is one; nothing where the chain has the transaction.
    async fn judge(&self, signed: &Signed, refusal: &Refusal) -> Result<Option<SendRefusal>, ChainError> {
        Ok(match self.objection(refusal) {
            Objection::AlreadyKnown => None,
            Objection::PerhapsItself(_) if self.knows(&signed.id).await? => None,
            Objection::PerhapsItself(reason) | Objection::Refused(reason) => Some(reason),
        })
    }
}
