//! `defiSwapQuote` and `swapQuotes`.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::types::{SwapQuote, SwapQuotes};
use crate::{
    graphql::{
        context::ContextExt,
        directives::{Private, RequiredRole, auth, rate_limit},
        error::ApiError,
        scalars::BigInt,
    },
    market::{SwapRequest, SwapRound},
};

const DEFAULT_SLIPPAGE_BPS: i32 = 50;

/// A swap to be quoted: how much of one token comes out for so much of another on the same chain.
#[derive(InputObject)]
pub(crate) struct SwapInput {
    /// The chain, such as `ethereum` or `solana`.
    chain: ID,
    /// What is given: `native`, or the token's address. Symbols lead to an error with candidates.
    sell_token: String,
    /// What is wanted: `native`, or the token's address.
    buy_token: String,
    /// How much is given, in base units (wei, lamports), more than zero.
    sell_amount: BigInt,
    /// How much less than quoted is still taken, in hundredths of a percent, 0 to 5000.
    #[graphql(default_with = "Some(DEFAULT_SLIPPAGE_BPS)")]
    slippage_bps: Option<i32>,
    /// Who would swap, an address of the chain. Venues may quote better for one that they know.
    taker: Option<String>,
}

#[derive(Default)]
pub(crate) struct SwapsQuery;

#[Object]
impl SwapsQuery {
    /// The best quote for a swap, of all venues that answer in time: what comes out, less the fee of the network.
    ///
    /// Nothing is signed, sent or reserved. Fails with `NOT_FOUND` and the reason `NO_LIQUIDITY` where no venue can fill
    /// the swap, and with `UPSTREAM_UNAVAILABLE` where none gave a quote for another reason.
    #[graphql(
        directive = auth::apply(RequiredRole::User),
        directive = rate_limit::apply(60, 60),
        directive = Private::apply()
    )]
    async fn defi_swap_quote(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The swap.")] input: SwapInput,
    ) -> Result<SwapQuote> {
        let round = round(ctx, input).await?;
        let best = round.quotes.into_iter().next();
        Ok(SwapQuote(best.expect("a round without quotes is an error")))
    }

    /// Every quote for a swap that comes in time, the best first, and what the other venues said instead.
    ///
    /// Fails as `defiSwapQuote` does where there is no quote at all.
    #[graphql(
        directive = auth::apply(RequiredRole::User),
        directive = rate_limit::apply(60, 60),
        directive = Private::apply()
    )]
    async fn swap_quotes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The swap.")] input: SwapInput,
    ) -> Result<SwapQuotes> {
        Ok(SwapQuotes(round(ctx, input).await?))
    }
}

async fn round(ctx: &Context<'_>, input: SwapInput) -> Result<SwapRound> {
    let request = SwapRequest {
        chain: input.chain.0,
        sell_token: input.sell_token,
        buy_token: input.buy_token,
        sell_amount: input.sell_amount.0,
        slippage_bps: input.slippage_bps.unwrap_or(DEFAULT_SLIPPAGE_BPS),
        taker: input.taker,
    };
    Ok(ctx.services().swaps.quotes(&request).await.map_err(ApiError::from)?)
}
