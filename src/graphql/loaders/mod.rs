//! Data loaders, new for every request: a loader that outlived one would mix its callers.

mod turns;

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use async_graphql::dataloader::{DataLoader, Loader};

use self::turns::NoDelay;
pub(crate) use self::turns::Turns;
use crate::{
    market::{Price, PriceError, Prices},
    model::AssetId,
};

/// The loaders of one request.
pub(crate) struct Loaders {
    prices: DataLoader<PriceLoader>,
    turns: Turns,
}

impl Loaders {
    pub(crate) fn new(prices: Prices) -> Self {
        let turns = Turns::default();
        Self { prices: DataLoader::new(PriceLoader(prices), turns.clone(), NoDelay), turns }
    }

    /// What drives the loaders; the execution has to run inside it.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The price of one coin; asked for together with all others that the request needs at this point.
    pub(crate) async fn price(&self, coin: AssetId) -> Result<Arc<Price>, PriceError> {
        let mut found = self.prices(vec![coin.clone()]).await;
        found.remove(&coin).unwrap_or(Err(PriceError::Interrupted))
    }

    /// The prices of several coins.
    pub(crate) async fn prices(&self, coins: Vec<AssetId>) -> HashMap<AssetId, Result<Arc<Price>, PriceError>> {
        self.prices.load_many(coins).await.unwrap_or_else(|never| match never {})
    }
}

struct PriceLoader(Prices);

impl Loader<AssetId> for PriceLoader {
    type Value = Result<Arc<Price>, PriceError>;
    type Error = Infallible;

    async fn load(&self, coins: &[AssetId]) -> Result<HashMap<AssetId, Self::Value>, Infallible> {
        Ok(self.0.many(coins).await)
    }
}
