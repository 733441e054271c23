//! `priceUpdates`.

use async_graphql::{Context, Result, Subscription};
use futures_util::{Stream, StreamExt};

use super::{coins::coins, types::PriceUpdate};
use crate::{
    graphql::{
        ErrorCode,
        context::{ContextExt, Standing},
        directives::{RequiredRole, auth},
        error::ApiError,
    },
    market::{Cursor, PriceTick},
    model::AssetId,
};

#[derive(Default)]
pub(crate) struct MarketSubscription;

#[Subscription]
impl MarketSubscription {
    /// Every change of the prices of these coins, and first what is known of them now.
    ///
    /// A slow reader skips intermediate ticks of a coin and always gets its newest. Who comes back with `after` gets the
    /// updates that it missed, in order and each once, for as long as they are remembered; where they are not, the next
    /// update of that coin has `gap`.
    #[graphql(directive = auth::apply(RequiredRole::User))]
    async fn price_updates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids of coins, such as `bitcoin`; each once, at most 100 in an operation by default.")] coins: Vec<String>,
        #[graphql(
            desc = "The `cursor` of the last update that arrived, to go on after it. Coins that it does not know begin now."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = PriceUpdate>> {
        let coins = self::coins(ctx, &coins)?;
        let resumed = after.is_some();
        let after = cursor(after, &coins)?;
        ctx.services().prices.check_known(&coins).await.map_err(ApiError::from)?;
        let scope = ctx.scope().clone();
        let ticks = ctx.services().prices.updates(coins, after).map_err(ApiError::from)?;
        Ok(ticks.map(move |tick| {
            scope.stand(standing(&tick, resumed));
            PriceUpdate(tick)
        }))
    }
}

fn cursor(after: Option<String>, coins: &[AssetId]) -> Result<Cursor, ApiError> {
    let Some(text) = after else { return Ok(Cursor::start()) };
    Cursor::decode(&text, coins).map_err(|error| {
        ApiError::new(ErrorCode::BadUserInput, format!("after is {error}")).detail("argument", "after")
    })
}

/// A tick supersedes the one before, but not for who missed it: those come each, and so does the news of a gap.
fn standing(tick: &PriceTick, resumed: bool) -> Standing {
    let kept = tick.replayed || tick.gap;
    Standing { supersedes: (!kept).then(|| tick.update.price.coin.as_str().into()), resumed }
}
