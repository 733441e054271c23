//! The `coins` argument: what it may hold, said once for queries and subscriptions.

use std::collections::HashSet;

use async_graphql::Context;

use crate::{
    graphql::{ErrorCode, context::ContextExt, error::ApiError},
    model::AssetId,
};

/// Checks a list of coins: not empty, not too many, each named once, each a coin's id.
pub(crate) fn coins(ctx: &Context<'_>, given: &[String]) -> Result<Vec<AssetId>, ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::BadUserInput, message));
    let limit = ctx.services().max_coins;
    if given.is_empty() {
        return refuse("coins must name at least one coin".into());
    }
    if given.len() > limit {
        return refuse(format!("coins names {} coins, the limit is {limit}", given.len()));
    }
    within_operation(ctx, given.len())?;
    let mut seen = HashSet::with_capacity(given.len());
    let mut coins = Vec::with_capacity(given.len());
    for text in given {
        let coin = ctx.services().prices.identify(text)?;
        if !seen.insert(coin.clone()) {
            return refuse(format!("coins names {coin} twice"));
        }
        coins.push(coin);
    }
    Ok(coins)
}

/// The id of a single coin.
pub(crate) fn coin(ctx: &Context<'_>, given: &str) -> Result<AssetId, ApiError> {
    within_operation(ctx, 1)?;
    Ok(ctx.services().prices.identify(given)?)
}

/// The limit holds for all lists of an operation together: a hundred aliases must not make it a hundred limits.
fn within_operation(ctx: &Context<'_>, named: usize) -> Result<(), ApiError> {
    let limit = ctx.services().max_coins;
    if ctx.scope().name_coins(named) <= limit {
        return Ok(());
    }
    let message = format!("the operation names more than {limit} coins");
    Err(ApiError::new(ErrorCode::OperationTooComplex, message))
}
