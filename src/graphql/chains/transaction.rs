//! How transactions show in the schema.

use std::sync::Arc;

use async_graphql::{Enum, Object};

use super::types::{ChainProvenance, ChainToken};
use crate::{
    chains,
    graphql::scalars::{BigInt, DateTime},
};

/// How far a transaction has come.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "chains::TransactionStatus")]
pub(crate) enum TransactionStatus {
    /// It was sent, and is in no block that is read.
    Pending,
    /// It is in a block, which a reorganisation may undo.
    Confirmed,
    /// It is in a block that cannot be undone.
    Finalized,
    /// It is in a block, and did nothing but pay its fee. Whether that can be undone stands in `provenance`.
    Failed,
}

pub(crate) struct ChainTransaction(pub(crate) Arc<chains::Transaction>);

/// A transaction of a chain.
#[Object]
impl ChainTransaction {
    /// Its hash, or on Solana its first signature.
    async fn id(&self) -> &str {
        &self.0.id
    }

    /// How far it has come.
    async fn status(&self) -> TransactionStatus {
        self.0.status.into()
    }

    /// Who sent it and pays its fee; null on Solana before it is confirmed.
    async fn from(&self) -> Option<&str> {
        self.0.from.as_deref()
    }

    /// Where it goes; null where it makes a contract, and on Solana where it is not one transfer of the native token.
    async fn to(&self) -> Option<&str> {
        self.0.to.as_deref()
    }

    /// What it moves of `token`, in base units; null on Solana where it is not one transfer of it.
    async fn value(&self) -> Option<BigInt> {
        self.0.value.map(BigInt)
    }

    /// Its number among those of its sender; null on Solana.
    async fn nonce(&self) -> Option<BigInt> {
        number(self.0.nonce)
    }

    /// What it has paid of `token`, in base units; null while it is in no block.
    async fn fee(&self) -> Option<BigInt> {
        self.0.fee.map(BigInt)
    }

    /// The native token, in which `value` and `fee` are counted.
    async fn token(&self) -> ChainToken {
        ChainToken(Arc::clone(&self.0.token))
    }

    /// The number of its block; null while it is in none, and on Solana.
    async fn block_number(&self) -> Option<BigInt> {
        number(self.0.block_number)
    }

    /// The hash of its block; null while it is in none, and on Solana, which is not read by hash.
    async fn block_hash(&self) -> Option<&str> {
        self.0.block_hash.as_deref()
    }

    /// Its slot, on Solana; null while it is in none.
    async fn slot(&self) -> Option<BigInt> {
        number(self.0.slot)
    }

    /// How many blocks, or slots on Solana, there are from its own to the newest; null while it is in none.
    async fn confirmations(&self) -> Option<BigInt> {
        number(self.0.confirmations)
    }

    /// Why it failed; null where it did not, or where the chain does not say.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    /// When its block was made; null where the endpoint does not say so beside it.
    async fn timestamp(&self) -> Option<DateTime> {
        self.0.timestamp.map(DateTime)
    }

    /// Who said so.
    async fn provenance(&self) -> ChainProvenance {
        ChainProvenance(self.0.provenance.clone())
    }
}

fn number(number: Option<u64>) -> Option<BigInt> {
    number.map(|number| BigInt(number.into()))
}
