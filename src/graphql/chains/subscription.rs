//! `chainHeads` and `chainEvents`.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject, Subscription, Union};
use futures_util::{Stream, StreamExt};

use super::types::{ChainHead, ChainProvenance};
use crate::{
    chains::{self, Applied, LogFilter, News, Seen},
    graphql::{
        context::{ContextExt, Standing},
        directives::{RequiredRole, auth},
        error::ApiError,
        scalars::BigInt,
    },
};

/// Which events of an EVM chain are followed.
#[derive(InputObject)]
pub(crate) struct ChainEventFilter {
    /// The contracts that emit them, 1 to 20.
    addresses: Vec<String>,
    /// For each topic, in their order, the values of which it must have one; an empty list for any. At most four lists of at
    /// most 20 values of 32 bytes in hexadecimal digits.
    #[graphql(default)]
    topics: Vec<Vec<String>>,
}

/// Something that happened to the events that are followed. Whoever adds what is applied, and drops what is of a block above
/// the one that `ChainEventsUndone` names, has at any time the events of the chain as it is.
#[derive(Union)]
pub(crate) enum ChainEvent {
    Applied(ChainEventApplied),
    Undone(ChainEventsUndone),
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

/// What was applied up to this block cannot be undone any more.
#[derive(SimpleObject)]
pub(crate) struct ChainEventsFinalized {
    /// The number of the block.
    block_number: BigInt,
    /// Pass it as `after` to go on after this.
    cursor: String,
}

impl From<chains::ChainEvent> for ChainEvent {
    fn from(chains::ChainEvent { news, cursor }: chains::ChainEvent) -> Self {
        match news {
            News::Applied(applied) => Self::Applied(ChainEventApplied(*applied, cursor)),
            News::Undone(Seen { number, hash }) => {
                let (block_number, block_hash) = (BigInt(number.into()), hash.to_string());
                Self::Undone(ChainEventsUndone { block_number, block_hash, cursor })
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

    /// The events of an EVM chain's contracts, each once and in the order of the chain, with what a reorganisation undoes.
    ///
    /// The first thing that comes is a `ChainEventsFinalized` with a cursor. Who comes back with `after` gets everything since
    /// then, also what was undone meanwhile, from any node, for as long as the cursor is at most `chains.max_backfill_blocks`
    /// behind.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn chain_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of an EVM chain, such as `ethereum`.")] chain: ID,
        filter: ChainEventFilter,
        #[graphql(desc = "The `cursor` of the last thing that arrived, to go on after it.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<ChainEvent>>> {
        let chain = ctx.services().chains.find(&chain).map_err(ApiError::from)?;
        let ChainEventFilter { addresses, topics } = filter;
        let events = chain.events(&LogFilter { addresses, topics }, after.as_deref()).map_err(ApiError::from)?;
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
