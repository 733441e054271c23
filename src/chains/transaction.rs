//! A transaction: what it does, and how far it has come.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{
    Chain, ChainError, ChainFamily, Finality, Provenance,
    error::found,
    family::Reading,
    provenance::Source,
    rpc::{Agreement, BlockRef, Head},
};
use crate::{
    cache::{CacheKey, CacheValue, Loaded},
    model::{ChainId, FieldError, Timestamp, Token, Units},
};

/// What is final does not change.
const FINAL_KEPT: Duration = Duration::from_hours(1);
/// What is in a block is asked for again at the next head; nobody asks at this one any more.
const INCLUDED_KEPT: Duration = Duration::from_mins(2);

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// It was sent, and is in no block that is read.
    Pending,
    /// It is in a block, which a reorganisation may undo.
    Confirmed,
    /// It is in a block that cannot be undone.
    Finalized,
    /// It is in a block, and did nothing but pay its fee.
    Failed,
}

/// A transaction of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its hash, or on Solana its first signature.
    pub id: Arc<str>,
    /// How far it has come.
    pub status: TransactionStatus,
    /// Who sent it and pays its fee, where the chain says so.
    pub from: Option<Arc<str>>,
    /// Where it goes: none where it makes a contract, and on Solana where it is no single transfer.
    pub to: Option<Arc<str>>,
    /// What it moves of the native token, where it is one transfer.
    pub value: Option<Units>,
    /// Its number among those of its sender, on EVM chains.
    pub nonce: Option<u64>,
    /// What it has paid, once it is in a block.
    pub fee: Option<Units>,
    /// The native token, in which value and fee are counted.
    pub token: Arc<Token>,
    /// The number of its block, on EVM chains.
    pub block_number: Option<u64>,
    /// The hash of its block, where the chain is read by hash.
    pub block_hash: Option<Arc<str>>,
    /// Its slot, on Solana.
    pub slot: Option<u64>,
    /// How many blocks, or slots on Solana, there are from its own to the newest.
    pub confirmations: Option<u64>,
    /// Why it failed, where the chain says so.
    pub error: Option<Arc<str>>,
    /// When its block was made, where that came along.
    pub timestamp: Option<Timestamp>,
    /// Who said so.
    pub provenance: Provenance,
}

/// What a family's nodes say of a transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct TransactionFacts {
    pub(super) from: Option<Arc<str>>,
    pub(super) to: Option<Arc<str>>,
    pub(super) value: Option<Units>,
    pub(super) nonce: Option<u64>,
    /// Nothing while it is in no block.
    pub(super) inclusion: Option<Inclusion>,
    pub(super) endpoint: Arc<str>,
}

/// Where a transaction is, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Inclusion {
    pub(super) block: BlockRef,
    pub(super) has_failed: bool,
    pub(super) error: Option<Arc<str>>,
    pub(super) fee: Option<Units>,
    /// In seconds since 1970.
    pub(super) timestamp: Option<i64>,
}

/// A transaction that is final, or as it is at one head: what is in a block may be undone by the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TransactionKey {
    chain: ChainId,
    id: Arc<str>,
    head: Option<(u64, Option<Arc<str>>)>,
}

impl CacheKey for TransactionKey {
    fn shared_name(&self) -> Cow<'_, str> {
        let Self { chain, id, head } = self;
        match head {
            None => format!("{chain}/{id}").into(),
            Some((number, hash)) => format!("{chain}/{id}/{number}/{}", hash.as_deref().unwrap_or_default()).into(),
        }
    }
}

/// Kept on this node only. Nothing is what no endpoint knows.
impl CacheValue for Option<Arc<Transaction>> {
    fn weight(&self) -> u32 {
        // Addresses, hashes and the key have less than a hundred bytes each.
        u32::try_from(size_of::<Transaction>() + 600).unwrap_or(u32::MAX)
    }
}

impl Chain {
    /// A transaction by its hash or signature; nothing where no endpoint knows it.
    pub async fn transaction(&self, id: &str) -> Result<Option<Arc<Transaction>>, ChainError> {
        let invalid = |problem: &str| ChainError::Invalid(vec![FieldError::new(&["id"], problem)]);
        let id = self.family.transaction_id(id).map_err(invalid)?;
        let head = self.rpc.head().await?;
        let (cache, at) = (&self.memory.transactions, head.heads.latest.clone());
        let last = TransactionKey { chain: self.network.id.clone(), id, head: None };
        if let Some(hit) = cache.peek(&last) {
            return Ok(hit.value.map(|found| found.seen_from(&at)));
        }
        let key = TransactionKey { head: Some((at.number, at.hash.clone())), ..last.clone() };
        let chain = self.clone();
        let known = found(cache.get(&key, async move |_| chain.load_transaction(&last, &head).await).await?)?;
        Ok(known.map(|known| known.seen_from(&at)))
    }

    /// What is final is kept by the key without a head as well.
    async fn load_transaction(
        &self,
        last: &TransactionKey,
        head: &Head,
    ) -> Result<Loaded<Option<Arc<Transaction>>>, ChainError> {
        let reading = Reading::newest(&self.rpc, head);
        let ticket = self.memory.transactions.begin();
        let facts = self.family.transaction(&reading, &last.id).await?;
        let found = facts.map(|facts| Arc::new(self.transaction_of(&last.id, facts, head)));
        let is_final = found.as_ref().is_some_and(|found| found.provenance.finality == Finality::Finalized);
        let is_included = found.as_ref().is_some_and(|found| found.confirmations.is_some());
        if is_final {
            let loaded = Loaded::found(found.clone(), FINAL_KEPT, Duration::ZERO);
            self.memory.transactions.put(ticket, last, loaded).await;
        }
        // What is pending or unknown may be in a block at any moment.
        let kept = if is_included { INCLUDED_KEPT } else { Duration::ZERO };
        Ok(Loaded::found(found, kept, Duration::ZERO))
    }

    fn transaction_of(&self, id: &Arc<str>, facts: TransactionFacts, head: &Head) -> Transaction {
        let TransactionFacts { from, to, value, nonce, inclusion, endpoint } = facts;
        let included = inclusion.as_ref().map(|inclusion| inclusion.block.clone());
        let is_final = included.as_ref().is_some_and(|block| block.number <= head.heads.finalized.number);
        let finality = if is_final { Finality::Finalized } else { Finality::Latest };
        let status = match (&inclusion, finality) {
            (None, _) => TransactionStatus::Pending,
            (Some(Inclusion { has_failed: true, .. }), _) => TransactionStatus::Failed,
            (Some(_), Finality::Latest) => TransactionStatus::Confirmed,
            (Some(_), Finality::Finalized) => TransactionStatus::Finalized,
        };
        let block = included.clone().unwrap_or_else(|| head.heads.latest.clone());
        let number = included.as_ref().map(|block| block.number);
        let (block_number, slot) = match self.family {
            ChainFamily::Evm => (number, None),
            ChainFamily::Solana => (None, number),
        };
        let timestamp = inclusion.as_ref().and_then(|inclusion| inclusion.timestamp);
        Transaction {
            id: Arc::clone(id),
            status,
            from,
            to,
            value,
            nonce,
            fee: inclusion.as_ref().and_then(|inclusion| inclusion.fee),
            token: Arc::clone(&self.network.native),
            block_number,
            block_hash: included.and_then(|block| block.hash),
            slot,
            confirmations: number.map(|number| confirmations(number, &head.heads.latest)),
            error: inclusion.and_then(|inclusion| inclusion.error),
            timestamp: timestamp.and_then(|seconds| Timestamp::from_timestamp(seconds, 0)),
            provenance: self.provenance(Source { endpoint, block, agreement: Agreement::ALONE }, finality),
        }
    }
}

impl Transaction {
    /// The same, with as many confirmations as it has at a later head.
    fn seen_from(self: Arc<Self>, head: &BlockRef) -> Arc<Self> {
        let confirmations = self.block_number.or(self.slot).map(|number| confirmations(number, head));
        if confirmations == self.confirmations { self } else { Arc::new(Self { confirmations, ..(*self).clone() }) }
    }
}

/// One at least: an endpoint may know a newer block than the one that is the head.
fn confirmations(number: u64, head: &BlockRef) -> u64 {
    head.number.saturating_sub(number) + 1
}
