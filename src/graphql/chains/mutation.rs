//! `transactionSend`.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use serde_json::json;

use super::types::Chain;
use crate::{
    chains::{SendError, SendRefusal, SendRequest, SentTransaction},
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth, rate_limit},
        error::ApiError,
    },
    model::FieldError,
};

/// A transaction that is signed already. No key is ever sent here.
#[derive(InputObject)]
pub(crate) struct TransactionSendInput {
    /// The id of the chain that it is signed for.
    chain: ID,
    /// The signed transaction: `0x` and hexadecimal digits (EIP-2718) on EVM chains, base 64 on Solana.
    signed_transaction: String,
}

/// What was sent, or why nothing was.
#[derive(SimpleObject)]
pub(crate) struct TransactionSendPayload {
    /// What was sent; null when nothing was.
    sent: Option<TransactionSent>,
    /// What was wrong with the input, or why the chain does not take the transaction.
    user_errors: Vec<TransactionUserError>,
}

pub(crate) struct TransactionSent(SentTransaction);

/// A transaction that was given to its chain.
#[Object]
impl TransactionSent {
    /// What the chain knows it by: the hash on EVM chains, the first signature on Solana.
    async fn id(&self) -> &str {
        &self.0.id
    }

    /// The chain.
    async fn chain(&self) -> Chain {
        Chain(self.0.chain.clone())
    }

    /// Who pays for it.
    async fn from(&self) -> &str {
        &self.0.from
    }

    /// Whether an endpoint has taken it. Where that is not known, as the endpoint fell silent, ask for the transaction by
    /// its id, or repeat the request: it is sent again only where the chain has not heard of it.
    async fn status(&self) -> TransactionSendStatus {
        if self.0.endpoint.is_some() { TransactionSendStatus::Accepted } else { TransactionSendStatus::Unknown }
    }

    /// The endpoint that has taken it, by its name in the configuration; null where that is not known.
    async fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }
}

/// Whether a chain has a transaction.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionSendStatus {
    /// An endpoint has taken it, or had it already.
    Accepted,
    /// It may have been taken.
    Unknown,
}

/// Something wrong with the input.
#[derive(SimpleObject)]
pub(crate) struct TransactionUserError {
    /// What kind of error it is.
    code: TransactionErrorCode,
    /// The path of the input field.
    field: Vec<String>,
    /// A sentence for people.
    message: String,
}

/// What can be wrong with a transaction.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionErrorCode {
    /// The value cannot be used.
    BadUserInput,
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
    /// The chain does not take it for another reason, which the message has in the node's words.
    Refused,
}

impl From<SendRefusal> for TransactionErrorCode {
    fn from(refusal: SendRefusal) -> Self {
        match refusal {
            SendRefusal::InsufficientFunds => Self::InsufficientFunds,
            SendRefusal::NonceTooLow => Self::NonceTooLow,
            SendRefusal::NonceTooHigh => Self::NonceTooHigh,
            SendRefusal::Underpriced => Self::Underpriced,
            SendRefusal::Expired => Self::Expired,
            SendRefusal::WouldFail => Self::WouldFail,
            SendRefusal::Other => Self::Refused,
        }
    }
}

impl TransactionSendPayload {
    fn refused(user_errors: Vec<TransactionUserError>) -> Self {
        Self { sent: None, user_errors }
    }
}

#[derive(Default)]
pub(crate) struct ChainsMutation;

#[Object]
impl ChainsMutation {
    /// Gives a signed transaction to its chain. It is recorded before it leaves, and given to a second endpoint only where
    /// the chain has not heard of it. Sending the same transaction again is no error.
    #[graphql(directive = auth::apply(RequiredRole::User), directive = rate_limit::apply(60, 60))]
    async fn transaction_send(&self, ctx: &Context<'_>, input: TransactionSendInput) -> Result<TransactionSendPayload> {
        let TransactionSendInput { chain, signed_transaction: signed } = input;
        let command = ctx.command("transactionSend", &json!({ "chain": chain, "signed": signed }));
        let request = SendRequest { chain: chain.0, signed };
        match ctx.services().sends.send(command, ctx.origin(), &request).await {
            Ok(sent) => Ok(TransactionSendPayload { sent: Some(TransactionSent(sent)), user_errors: Vec::new() }),
            Err(SendError::Invalid(problems)) => Ok(TransactionSendPayload::refused(told(problems))),
            Err(SendError::Refused { reason, message }) => {
                let field = vec!["input".into(), "signedTransaction".into()];
                let error = TransactionUserError { code: reason.into(), field, message: message.to_string() };
                Ok(TransactionSendPayload::refused(vec![error]))
            }
            Err(SendError::Chain(error)) => Err(ApiError::from(error).into()),
            Err(SendError::Events(error)) => Err(ApiError::from(error).into()),
        }
    }
}

fn told(problems: Vec<FieldError>) -> Vec<TransactionUserError> {
    let told = |FieldError { path: field, message, .. }| TransactionUserError {
        code: TransactionErrorCode::BadUserInput,
        field,
        message,
    };
    problems.into_iter().map(told).collect()
}
