//! The `coins` argument: what it may hold, said once for queries and subscriptions.

use std::collections::HashSet;

use crate::{
    graphql::{ErrorCode, context::Services, error::ApiError},
    model::AssetId,
};

/// Checks a list of coins: not empty, not too many, each named once, each a coin's id.
pub(crate) fn coins(services: &Services, given: &[String]) -> Result<Vec<AssetId>, ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::BadUserInput, message));
    let limit = services.max_coins;
    if given.is_empty() {
        return refuse("coins must name at least one coin".into());
    }
    if given.len() > limit {
        return refuse(format!("coins names {} coins, the limit is {limit}", given.len()));
    }
    let mut seen = HashSet::with_capacity(given.len());
    let mut coins = Vec::with_capacity(given.len());
    for text in given {
        let coin = services.prices.identify(text)?;
        if !seen.insert(coin.clone()) {
            return refuse(format!("coins names {coin} twice"));
        }
        coins.push(coin);
    }
    Ok(coins)
}
