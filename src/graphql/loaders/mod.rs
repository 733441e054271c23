//! Data loaders, new for every request: a loader that outlived one would mix its callers.

mod turns;

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use async_graphql::dataloader::{DataLoader, Loader};
use futures_util::future::join_all;

use self::turns::NoDelay;
pub(crate) use self::turns::Turns;
use crate::{
    cache::LoadLost,
    chains::{Balance, BalanceQuery, Chain, ChainError, Chains},
    market::{Price, PriceError, Prices},
    model::{AssetId, ChainId},
};

/// The loaders of one request.
pub(crate) struct Loaders {
    prices: DataLoader<PriceLoader>,
    balances: DataLoader<BalanceLoader>,
    turns: Turns,
}

impl Loaders {
    pub(crate) fn new(prices: Prices, chains: Chains) -> Self {
        let turns = Turns::default();
        let prices = DataLoader::new(PriceLoader(prices), turns.clone(), NoDelay);
        let balances = DataLoader::new(BalanceLoader(chains), turns.clone(), NoDelay);
        Self { prices, balances, turns }
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

    /// A balance; asked for together with all others that the request needs at this point.
    pub(crate) async fn balance(&self, chain: &Chain, query: BalanceQuery) -> Result<Arc<Balance>, ChainError> {
        let found = self.balances.load_one((chain.network().id.clone(), query)).await;
        found.unwrap_or_else(|never| match never {}).unwrap_or(Err(LoadLost::Unanswered.into()))
    }

    /// The prices of several coins.
    pub(crate) async fn prices(&self, coins: Vec<AssetId>) -> HashMap<AssetId, Result<Arc<Price>, PriceError>> {
        self.prices.load_many(coins).await.unwrap_or_else(|never| match never {})
    }
}

struct PriceLoader(Prices);

struct BalanceLoader(Chains);

/// Whose balance on which chain.
type BalanceKey = (ChainId, BalanceQuery);

impl Loader<BalanceKey> for BalanceLoader {
    type Value = Result<Arc<Balance>, ChainError>;
    type Error = Infallible;

    async fn load(&self, keys: &[BalanceKey]) -> Result<HashMap<BalanceKey, Self::Value>, Infallible> {
        let mut by_chain: HashMap<&ChainId, Vec<BalanceQuery>> = HashMap::new();
        for (chain, query) in keys {
            by_chain.entry(chain).or_default().push(query.clone());
        }
        let read = by_chain.into_iter().map(|(id, queries)| self.read(id, queries));
        Ok(join_all(read).await.into_iter().flatten().collect())
    }
}

impl BalanceLoader {
    async fn read(
        &self,
        id: &ChainId,
        queries: Vec<BalanceQuery>,
    ) -> Vec<(BalanceKey, Result<Arc<Balance>, ChainError>)> {
        let balances = match self.0.find(id.as_str()) {
            Ok(chain) => chain.balances(&queries).await,
            Err(error) => vec![Err(error); queries.len()],
        };
        queries.into_iter().map(|query| (id.clone(), query)).zip(balances).collect()
    }
}

impl Loader<AssetId> for PriceLoader {
    type Value = Result<Arc<Price>, PriceError>;
    type Error = Infallible;

    async fn load(&self, coins: &[AssetId]) -> Result<HashMap<AssetId, Self::Value>, Infallible> {
        Ok(self.0.many(coins).await)
    }
}
