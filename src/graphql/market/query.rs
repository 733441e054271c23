//! `cryptoPrices` and `price`.

use async_graphql::{Context, Object, Result};

use super::{
    coins::{coin, coins},
    types::Price,
};
use crate::{
    graphql::{
        context::{ContextExt, Scope},
        directives::rate_limit,
        error::ApiError,
        rows::Rows,
    },
    market::PriceError,
};

#[derive(Default)]
pub(crate) struct MarketQuery;

#[Object]
impl MarketQuery {
    /// Prices of several coins, in the order asked for.
    ///
    /// Fails as a whole when one coin is unknown or has no price; `price` fails alone.
    #[graphql(directive = rate_limit::apply(100, 60))]
    async fn crypto_prices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids of coins, such as `bitcoin`; each once, at most 100 in an operation by default.")] coins: Vec<String>,
    ) -> Result<Rows<Price>> {
        let coins = self::coins(ctx, &coins)?;
        let mut found = ctx.scope().loaders().prices(coins.clone()).await;
        let prices = coins.iter().map(|coin| {
            let price = found.remove(coin).unwrap_or(Err(PriceError::Interrupted)).map_err(ApiError::from)?;
            Ok(answered(ctx, Price::new(price)))
        });
        prices.collect()
    }

    /// The price of one coin; null, with an error beside it, when the coin is unknown or has no price.
    ///
    /// Any number of these in one operation are looked up together.
    #[graphql(directive = rate_limit::apply(600, 60))]
    async fn price(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a coin, such as `bitcoin`.")] coin: String,
    ) -> Option<Result<Price>> {
        let coin = match self::coin(ctx, &coin) {
            Ok(coin) => coin,
            Err(error) => return Some(Err(error.into())),
        };
        let price = ctx.scope().loaders().price(coin).await;
        Some(price.map(|price| answered(ctx, Price::new(price))).map_err(|error| ApiError::from(error).into()))
    }
}

/// Notes what the answer depends on: how long this price is good for, and what makes it out of date.
fn answered(ctx: &Context<'_>, price: Price) -> Price {
    let scope: &Scope = ctx.scope();
    scope.restrict_age(price.good_for(ctx.services()));
    scope.tag(price.tag());
    price
}
