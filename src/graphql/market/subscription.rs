//! `priceUpdates`.

use async_graphql::{Context, Result, Subscription};
use futures_util::{Stream, StreamExt};

use super::{coins::coins, types::PriceUpdate};
use crate::graphql::{
    context::ContextExt,
    directives::{RequiredRole, auth},
    error::ApiError,
};

#[derive(Default)]
pub(crate) struct MarketSubscription;

#[Subscription]
impl MarketSubscription {
    /// Every change of the prices of these coins, and first what is known of them now.
    ///
    /// A slow reader skips intermediate ticks of a coin and always gets its newest.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn price_updates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids of coins, such as `bitcoin`; each once, at most 100 in an operation by default.")] coins: Vec<String>,
    ) -> Result<impl Stream<Item = PriceUpdate>> {
        let coins = self::coins(ctx, &coins)?;
        ctx.services().prices.check_known(&coins).await.map_err(ApiError::from)?;
        let scope = ctx.scope().clone();
        let updates = ctx.services().prices.updates(coins).map_err(ApiError::from)?;
        Ok(updates.map(move |update| {
            scope.supersede(update.price.coin.as_str().into());
            PriceUpdate(update)
        }))
    }
}
