//! How chains show in the schema.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};

use super::{
    fee::{FeeEstimate, FeeInput},
    transaction::ChainTransaction,
};
use crate::{
    chains::{self, BalanceQuery, EndpointStatus},
    graphql::{
        context::ContextExt,
        directives::{RequiredRole, auth, rate_limit},
        error::ApiError,
        rows::Rows,
        scalars::{BigInt, DateTime, int},
    },
    model,
};

pub(crate) struct Chain(pub(crate) chains::Chain);

/// A blockchain, read through one or several endpoints. Every value says who said it, and at which block it holds.
#[Object]
impl Chain {
    /// The id, such as `ethereum`.
    async fn id(&self) -> ID {
        ID(self.0.network().id.to_string())
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.network().name
    }

    /// What it is kin to, which decides how addresses, blocks and transactions look.
    async fn family(&self) -> ChainFamily {
        self.0.family().into()
    }

    /// Whether its values are made up by a stand-in, as in the sandbox.
    async fn simulated(&self) -> bool {
        self.0.network().simulated
    }

    /// What fees are paid in.
    async fn native_token(&self) -> ChainToken {
        ChainToken(Arc::clone(&self.0.network().native))
    }

    /// Who is asked, in the order of preference.
    #[graphql(directive = auth::apply(RequiredRole::Admin))]
    async fn endpoints(&self) -> Rows<ChainEndpoint> {
        self.0.endpoints().into_iter().map(ChainEndpoint::from).collect()
    }

    /// The newest block, as the endpoints that keep up tell it.
    #[graphql(directive = rate_limit::apply(6000, 60))]
    async fn head(&self) -> Option<Result<ChainHead>> {
        Some(self.0.head().await.map(ChainHead).map_err(|error| ApiError::from(error).into()))
    }

    /// How much an address has. Any number of these in one operation are read together.
    #[graphql(directive = rate_limit::apply(6000, 60))]
    async fn balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "On EVM chains `0x` and 40 hexadecimal digits, with a good checksum where both cases are used; on \
            Solana 32 bytes in base 58."
        )]
        address: String,
        #[graphql(desc = "The address of a token's contract or mint; without, the native token.")] token: Option<
            String,
        >,
        #[graphql(desc = "The newest block, or the newest one that cannot be undone.", default)] at: BlockTag,
        #[graphql(desc = "How many endpoints must say the same.", default)] consistency: ReadConsistency,
    ) -> Option<Result<ChainBalance>> {
        let query = BalanceQuery { address, token, finality: at.into(), consistency: consistency.into() };
        let balance = ctx.scope().loaders().balance(&self.0, query).await;
        Some(balance.map(ChainBalance).map_err(|error| ApiError::from(error).into()))
    }

    /// A transaction; null where no endpoint knows it.
    #[graphql(directive = rate_limit::apply(6000, 60))]
    async fn transaction(
        &self,
        #[graphql(
            desc = "On EVM chains its hash, `0x` and 64 hexadecimal digits; on Solana its first signature, 64 bytes in \
            base 58."
        )]
        id: String,
    ) -> Option<Result<ChainTransaction>> {
        let found = self.0.transaction(&id).await.transpose()?;
        Some(found.map(ChainTransaction).map_err(|error| ApiError::from(error).into()))
    }

    /// What it takes to be included in one of the next blocks. Holds at the newest block only.
    #[graphql(directive = rate_limit::apply(6000, 60))]
    async fn estimate_fee(
        &self,
        #[graphql(desc = "What is to be sent; without, a transfer of the native token.")] input: Option<FeeInput>,
    ) -> Option<Result<FeeEstimate>> {
        let fees = self.0.fees(&input.unwrap_or_default().into()).await;
        Some(fees.map(FeeEstimate).map_err(|error| ApiError::from(error).into()))
    }
}

/// What a chain is kin to.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "chains::ChainFamily")]
pub(crate) enum ChainFamily {
    /// Ethereum and what runs its virtual machine.
    Evm,
    /// Solana.
    Solana,
}

/// Which block is read.
#[derive(Enum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BlockTag {
    /// The newest; a reorganisation may still undo it.
    #[default]
    Latest,
    /// The newest that cannot be undone.
    Finalized,
}

impl From<BlockTag> for chains::Finality {
    fn from(tag: BlockTag) -> Self {
        match tag {
            BlockTag::Latest => Self::Latest,
            BlockTag::Finalized => Self::Finalized,
        }
    }
}

/// How many endpoints must say the same.
#[derive(Enum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ReadConsistency {
    /// One is believed.
    #[default]
    One,
    /// More than half of the chain's endpoints, and at least two. Slower, and an error where they disagree.
    Quorum,
}

impl From<ReadConsistency> for chains::Consistency {
    fn from(consistency: ReadConsistency) -> Self {
        match consistency {
            ReadConsistency::One => Self::One,
            ReadConsistency::Quorum => Self::Quorum,
        }
    }
}

/// Whether a block can be undone.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "chains::Finality")]
pub(crate) enum ChainFinality {
    /// It is among the newest: a reorganisation may undo it.
    Latest,
    /// It cannot be undone.
    Finalized,
}

pub(crate) struct ChainToken(pub(crate) Arc<model::Token>);

/// Something that is counted on a chain.
#[Object]
impl ChainToken {
    /// The address of its contract or mint; null for the native token.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    /// What people call it; its address, where it does not say. Several tokens may share one.
    async fn symbol(&self) -> &str {
        &self.0.symbol
    }

    /// How many digits of an amount in base units lie after the point.
    async fn decimals(&self) -> i32 {
        self.0.decimals.into()
    }

    /// The id of the coin that it is one of, for `price`; null where that is not known.
    async fn coin(&self) -> Option<&str> {
        self.0.coin.as_ref().map(model::AssetId::as_str)
    }
}

pub(crate) struct ChainBalance(Arc<chains::Balance>);

/// How much an address has of a token.
#[Object]
impl ChainBalance {
    /// The address, as the chain's explorers write it.
    async fn address(&self) -> &str {
        &self.0.address
    }

    /// The token.
    async fn token(&self) -> ChainToken {
        ChainToken(Arc::clone(&self.0.token))
    }

    /// In base units.
    async fn amount(&self) -> BigInt {
        BigInt(self.0.amount)
    }

    /// In whole tokens, exactly, such as `1.5`.
    async fn formatted(&self) -> String {
        self.0.amount.in_tokens(self.0.token.decimals)
    }

    /// Who said so.
    async fn provenance(&self) -> ChainProvenance {
        ChainProvenance(self.0.provenance.clone())
    }
}

pub(crate) struct ChainHead(pub(crate) chains::ChainHead);

/// How far a chain has come.
#[Object]
impl ChainHead {
    /// The number of the newest block; the slot on Solana.
    async fn number(&self) -> BigInt {
        BigInt(self.0.latest.block_number.into())
    }

    /// Its hash; null on Solana, which is not read by hash.
    async fn hash(&self) -> Option<&str> {
        self.0.latest.block_hash.as_deref()
    }

    /// When it was made; null where the chain does not say.
    async fn timestamp(&self) -> Option<DateTime> {
        self.0.timestamp.map(DateTime)
    }

    /// The number of the newest block that cannot be undone.
    async fn finalized_number(&self) -> BigInt {
        BigInt(self.0.finalized.into())
    }

    /// Who said so.
    async fn provenance(&self) -> ChainProvenance {
        ChainProvenance(self.0.latest.clone())
    }
}

pub(crate) struct ChainProvenance(pub(crate) chains::Provenance);

/// Where a value of a chain comes from, and how far it can be relied on.
#[Object]
impl ChainProvenance {
    /// The endpoint that said so, by its name in the configuration.
    async fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The number of the block at which the value holds; the slot on Solana.
    async fn block_number(&self) -> BigInt {
        BigInt(self.0.block_number.into())
    }

    /// The hash of that block; null on Solana, which is not read by hash.
    async fn block_hash(&self) -> Option<&str> {
        self.0.block_hash.as_deref()
    }

    /// Whether that block can be undone.
    async fn finality(&self) -> ChainFinality {
        self.0.finality.into()
    }

    /// When it was fetched. What is kept for a block is not fetched again.
    async fn fetched_at(&self) -> DateTime {
        DateTime(self.0.fetched_at)
    }

    /// How many endpoints were asked, and how many said so.
    async fn agreement(&self) -> ChainAgreement {
        ChainAgreement { asked: int(self.0.asked), agreed: int(self.0.agreed) }
    }

    /// Whether it was made up by a stand-in.
    async fn simulated(&self) -> bool {
        self.0.simulated
    }
}

/// How many endpoints said the same.
#[derive(SimpleObject)]
pub(crate) struct ChainAgreement {
    /// Endpoints that were asked.
    asked: i32,
    /// Endpoints that gave this value.
    agreed: i32,
}

/// An endpoint of a chain.
#[derive(SimpleObject)]
pub(crate) struct ChainEndpoint {
    /// Its name in the configuration.
    name: String,
    /// The newest block that it knows; null before it has said so.
    head: Option<BigInt>,
    /// How many blocks it is behind the one that the chain is read at; null where either is not known.
    lag: Option<BigInt>,
    /// Whether it is asked: it is of the right chain, and not too far behind.
    usable: bool,
    /// What was wrong the last time; null when nothing was.
    trouble: Option<String>,
}

impl From<EndpointStatus> for ChainEndpoint {
    fn from(status: EndpointStatus) -> Self {
        let EndpointStatus { name, head, lag, usable, trouble } = status;
        let number = |number: u64| BigInt(number.into());
        Self {
            name: name.to_string(),
            head: head.map(number),
            lag: lag.map(number),
            usable,
            trouble: trouble.map(|why| why.to_string()),
        }
    }
}
