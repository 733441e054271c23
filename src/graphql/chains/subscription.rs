//! `chainHeads` and `chainEvents`.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject, Subscription, Union};
use futures_util::{Stream, StreamExt};

use super::types::{ChainHead, ChainProvenance};
use crate::{
    chains::{self, Applied, EventFilter, LogFilter, Mentioned, News, Seen},
    graphql::{
        context::{ContextExt, Standing},
        directives::{RequiredRole, auth},
        error::ApiError,
        scalars::BigInt,
    },
};

/// Which events are followed: `addresses` and `topics` on EVM chains, `account` on Solana.
#[derive(InputObject)]
pub(crate) struct ChainEventFilter {
    /// The contracts that emit them, 1 to 20; on EVM chains only.
    #[graphql(default)]
    addresses: Vec<String>,
    /// For each topic, in their order, the values of which it must have one; null or an empty list for any. At most four
    /// lists of at most 20 values of 32 bytes in hexadecimal digits; on EVM chains only.
    #[graphql(default)]
    topics: Vec<Option<Vec<String>>>,
    /// The account that transactions mention; on Solana only.
    account: Option<String>,
}

impl From<ChainEventFilter> for EventFilter {
    fn from(ChainEventFilter { addresses, topics, account }: ChainEventFilter) -> Self {
        let topics = topics.into_iter().map(Option::unwrap_or_default).collect();
        Self { logs: LogFilter { addresses, topics }, account }
    }
}

/// Something that happened to the events that are followed. Whoever adds what is applied, and drops what is of a block above
/// the one that `ChainEventsUndone` or `ChainTransactionsUndone` names, has at any time the events of the chain as it is.
#[derive(Union)]
pub(crate) enum ChainEvent {
    Applied(ChainEventApplied),
    Transaction(ChainTransactionApplied),
    Undone(ChainEventsUndone),
    TransactionsUndone(ChainTransactionsUndone),
    Finalized(ChainEventsFinalized),
}

pub(crate) struct ChainEventApplied(Applied, String);

/// A contract has emitted an event, in a block that has just come.
#[Object]
impl ChainEventApplied {
    /// The number of its block.
    async fn block_number(&self) -> BigInt {
        BigInt(self.0.log.block_number.into())
    }

    /// The hash of its block.
    async fn block_hash(&self) -> &str {
        &self.0.log.block_hash
    }

    /// Its number in its block.
    async fn index(&self) -> BigInt {
        BigInt(self.0.log.index.into())
    }

    /// The transaction that led to it.
    async fn transaction_id(&self) -> &str {
        &self.0.log.transaction
    }

    /// The contract.
    async fn address(&self) -> &str {
        &self.0.log.address
    }

    /// What it can be found by: 32 bytes each.
    async fn topics(&self) -> Vec<String> {
        self.0.log.topics.iter().map(ToString::to_string).collect()
    }

    /// What it says, in hexadecimal digits.
    async fn data(&self) -> &str {
        &self.0.log.data
    }

    /// Who said so.
    async fn provenance(&self) -> ChainProvenance {
        ChainProvenance(self.0.provenance.clone())
    }

    /// Pass it as `after` to go on after this.
    async fn cursor(&self) -> &str {
        &self.1
    }
}

pub(crate) struct ChainTransactionApplied(Mentioned, String);

/// A transaction that mentions the account, in a block of Solana that has just been confirmed.
#[Object]
impl ChainTransactionApplied {
    /// The slot of its block.
    async fn block_number(&self) -> BigInt {
        BigInt(self.0.mention.slot.into())
    }

    /// Its first signature.
    async fn transaction_id(&self) -> &str {
        &self.0.mention.signature
    }

    /// Why it failed; null where it did not.
    async fn error(&self) -> Option<&str> {
        self.0.mention.error.as_deref()
    }

    /// Who said so.
    async fn provenance(&self) -> ChainProvenance {
        ChainProvenance(self.0.provenance.clone())
    }

    /// Pass it as `after` to go on after this.
    async fn cursor(&self) -> &str {
        &self.1
    }
}

/// A reorganisation has undone the blocks above this one: what was applied in them did not happen.
#[derive(SimpleObject)]
pub(crate) struct ChainEventsUndone {
    /// The number of the newest block that still holds.
    block_number: BigInt,
    /// Its hash.
    block_hash: String,
    /// Pass it as `after` to go on after this.
    cursor: String,
}

/// A fork of Solana was left, and with it the slots above this one: what was applied in them did not happen.
#[derive(SimpleObject)]
pub(crate) struct ChainTransactionsUndone {
    /// The newest slot that still holds.
    block_number: BigInt,
    /// Pass it as `after` to go on after this.
    cursor: String,
}

/// What was applied up to this block cannot be undone any more.
#[derive(SimpleObject)]
pub(crate) struct ChainEventsFinalized {
    /// The number of the block; the slot on Solana.
    block_number: BigInt,
    /// Pass it as `after` to go on after this.
    cursor: String,
}

impl From<chains::ChainEvent> for ChainEvent {
    fn from(chains::ChainEvent { news, cursor }: chains::ChainEvent) -> Self {
        match news {
            News::Applied(applied) => Self::Applied(ChainEventApplied(*applied, cursor)),
            News::Mentioned(mentioned) => Self::Transaction(ChainTransactionApplied(*mentioned, cursor)),
            News::Undone(Seen { number, hash }) => {
                let (block_number, block_hash) = (BigInt(number.into()), hash.to_string());
                Self::Undone(ChainEventsUndone { block_number, block_hash, cursor })
            }
            News::Dropped(slot) => {
                Self::TransactionsUndone(ChainTransactionsUndone { block_number: BigInt(slot.into()), cursor })
            }
            News::Finalized(number) => {
                Self::Finalized(ChainEventsFinalized { block_number: BigInt(number.into()), cursor })
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct ChainsSubscription;

#[Subscription]
impl ChainsSubscription {
    /// The newest block of a chain, as it comes: each once, and after a reorganisation the new one. A slow reader misses those
    /// in between.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn chain_heads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a chain, such as `ethereum`.")] chain: ID,
    ) -> Result<impl Stream<Item = ChainHead>> {
        let chain = ctx.services().chains.find(&chain).map_err(ApiError::from)?.clone();
        // Whoever follows a chain that cannot be asked is told at once.
        chain.head().await.map_err(ApiError::from)?;
        let (scope, topic) = (ctx.scope().clone(), format!("chain:{}", chain.network().id));
        Ok(chain.heads().map(move |head| {
            scope.stand(Standing { supersedes: Some(topic.as_str().into()), resumed: false });
            ChainHead(head)
        }))
    }

    /// The events of contracts, or on Solana the transactions that mention an account: each once and in the order of the
    /// chain, with what a reorganisation undoes.
    ///
    /// The first thing that comes is a `ChainEventsFinalized` with a cursor. Who comes back with `after` gets everything since
    /// then, also what was undone meanwhile, from any node, for as long as the cursor is at most `chains.max_backfill_blocks`
    /// behind.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn chain_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a chain, such as `ethereum`.")] chain: ID,
        filter: ChainEventFilter,
        #[graphql(desc = "The `cursor` of the last thing that arrived, to go on after it.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<ChainEvent>>> {
        let chain = ctx.services().chains.find(&chain).map_err(ApiError::from)?;
        let events = chain.events(&filter.into(), after.as_deref()).map_err(ApiError::from)?;
        chain.head().await.map_err(ApiError::from)?;
        let (scope, resumed) = (ctx.scope().clone(), after.is_some());
        Ok(events.map(move |event| {
            // What is final only grows. And who joins others gets the newest at once, so that they have a cursor.
            let is_final = matches!(&event, Ok(chains::ChainEvent { news: News::Finalized(_), .. }));
            scope.stand(Standing { supersedes: is_final.then(|| "finalized".into()), resumed });
            event.map(ChainEvent::from).map_err(|error| ApiError::from(error).into())
        }))
    }
}
