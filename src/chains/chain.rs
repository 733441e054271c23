//! One chain: what can be asked of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Balance, ChainError, ChainFamily, Consistency, Finality, Network, Transaction,
    balance::{BalanceKey, Wanted},
    evm::log::Header,
    family::{Reading, TokenFacts},
    fee::{FeeKey, KeptFees},
    follow::{BlockKey, Following, Logs},
    provenance::Source,
    rpc::{Agreement, BlockRef, Head, Refusal, Rpc, RpcParts},
    signed::{Objection, Signed},
    token::TokenKey,
    transaction::TransactionKey,
};
use crate::{
    cache::{Cache, CacheSettings, LoadLost, Loaded, Lookup, Tags},
    chains::Provenance,
    config::ChainsConfig,
    model::{Chance, Clock, FieldError, Timestamp, Token, Units},
};

/// A balance at a block never changes; the block is soon not the newest any more, and nobody asks for it again.
const BALANCES_KEPT: Duration = Duration::from_mins(2);
/// At a final block more of them are asked for again, as it changes less often.
const FINAL_BALANCES_KEPT: Duration = Duration::from_mins(20);
/// What a token says of itself hardly ever changes.
const TOKENS_KEPT: Duration = Duration::from_hours(24);

/// One chain. Clones share everything.
#[derive(Debug, Clone)]
pub struct Chain {
    pub(super) network: Arc<Network>,
    pub(super) family: ChainFamily,
    pub(super) rpc: Rpc,
    pub(super) memory: Memory,
    clock: Clock,
    pub(super) following: Following,
}

/// What is remembered of all chains.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    balances: Cache<BalanceKey, Arc<Balance>, ChainError>,
    tokens: Cache<TokenKey, Arc<Token>, ChainError>,
    pub(super) transactions: Cache<TransactionKey, Option<Arc<Transaction>>, ChainError>,
    pub(super) fees: Cache<FeeKey, KeptFees, ChainError>,
    pub(super) headers: Cache<BlockKey, Arc<Header>, ChainError>,
    pub(super) logs: Cache<BlockKey, Logs, ChainError>,
}

/// Whose balance of what, at which block, and how sure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BalanceQuery {
    /// The address, in any form that the chain knows.
    pub address: String,
    /// The token's address; none for the native token.
    pub token: Option<String>,
    /// The newest block, or the newest final one.
    pub finality: Finality,
    /// How many endpoints must say the same.
    pub consistency: Consistency,
}

/// How far a chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// The newest block that is read.
    pub latest: Provenance,
    /// The number of the newest block that cannot be undone.
    pub finalized: u64,
    /// When the newest block was made, where the chain says so.
    pub timestamp: Option<Timestamp>,
}

/// One endpoint of a chain, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The newest block that it knows, if it has said so of late.
    pub head: Option<u64>,
    /// How many blocks it is behind what the chain is read at.
    pub lag: Option<u64>,
    /// Whether it is asked at all.
    pub usable: bool,
    /// Why not, or what was wrong the last time.
    pub trouble: Option<Arc<str>>,
}

impl Memory {
    pub(super) fn new(settings: &CacheSettings, tags: &Tags, clock: &Clock, chance: &Chance) -> Self {
        Self {
            balances: Cache::new("balances", *settings, tags, clock.clone(), chance.clone()),
            tokens: Cache::new("tokens", *settings, tags, clock.clone(), chance.clone()),
            transactions: Cache::new("transactions", *settings, tags, clock.clone(), chance.clone()),
            fees: Cache::new("fees", *settings, tags, clock.clone(), chance.clone()),
            headers: Cache::new("headers", *settings, tags, clock.clone(), chance.clone()),
            logs: Cache::new("logs", *settings, tags, clock.clone(), chance.clone()),
        }
    }
}

impl Chain {
    pub(super) fn new(network: Network, config: &ChainsConfig, parts: &RpcParts, memory: &Memory) -> Self {
        let family = ChainFamily::of(&network.identity);
        let rpc = Rpc::new(config, &network.id, ChainFamily::probe(&network.identity), family.pace(), parts);
        Self {
            network: Arc::new(network),
            family,
            rpc,
            memory: memory.clone(),
            clock: parts.clock.clone(),
            following: Following::new(config, family.pace()),
        }
    }

    /// What is known of it before anybody is asked.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Of which family it is.
    #[must_use]
    pub fn family(&self) -> ChainFamily {
        self.family
    }

    /// Its endpoints, in the order of preference.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.rpc.endpoints()
    }

    /// How far it has come.
    pub async fn head(&self) -> Result<ChainHead, ChainError> {
        Ok(self.told(self.rpc.head().await?))
    }

    pub(super) fn told(&self, Head { heads, endpoint }: Head) -> ChainHead {
        let source = Source { endpoint, block: heads.latest, agreement: Agreement::ALONE };
        let timestamp = heads.timestamp.and_then(|seconds| Timestamp::from_timestamp(seconds, 0));
        let latest = self.provenance(source, Finality::Latest);
        ChainHead { latest, finalized: heads.finalized.number, timestamp }
    }

    /// An address as the chain's explorers write it.
    ///
    /// # Errors
    /// What is wrong with it, as a problem of the input `field`.
    pub fn address(&self, field: &str, text: &str) -> Result<Arc<str>, FieldError> {
        self.family.address(text).map_err(|problem| FieldError::new(&[field], problem))
    }

    /// Balances, each at the newest block of the chain, or the newest final one. One answer for each query.
    pub async fn balances(&self, queries: &[BalanceQuery]) -> Vec<Result<Arc<Balance>, ChainError>> {
        let head = match self.rpc.head().await {
            Ok(head) => head,
            Err(error) => return vec![Err(error.into()); queries.len()],
        };
        let keys: Vec<Result<BalanceKey, ChainError>> = queries.iter().map(|query| self.key(query, &head)).collect();
        // One address may have been written in several forms.
        let mut seen = HashSet::new();
        let wanted: Vec<BalanceKey> = keys.iter().flatten().filter(|key| seen.insert(*key)).cloned().collect();
        let chain = self.clone();
        let found = self.memory.balances.get_many(&wanted, async move |keys| chain.load_balances(keys).await).await;
        keys.into_iter()
            .map(|key| {
                let key = key?;
                match found.get(&key).cloned().unwrap_or(Err(LoadLost::Unanswered.into()))? {
                    Lookup::Found(hit) => Ok(hit.value),
                    Lookup::Missing => Err(ChainError::NoToken(key.wanted.token.unwrap_or_default())),
                }
            })
            .collect()
    }

    /// A token by its address; the native one without.
    pub async fn token(&self, address: Option<&Arc<str>>) -> Result<Arc<Token>, ChainError> {
        let Some(address) = address else { return Ok(Arc::clone(&self.network.native)) };
        let key = TokenKey(self.network.id.clone(), Arc::clone(address));
        let chain = self.clone();
        let found =
            self.memory.tokens.get(&key, async move |TokenKey(_, address)| chain.load_token(&address).await).await?;
        match found {
            Lookup::Found(hit) => Ok(hit.value),
            Lookup::Missing => Err(ChainError::NoToken(Arc::clone(address))),
        }
    }

    /// Reads a transaction that was signed for this chain, or says what is wrong with it.
    pub(super) fn signed(&self, text: &str) -> Result<Signed, String> {
        ChainFamily::signed(&self.network.identity, text)
    }

    /// What a node's no to a transaction means.
    pub(super) fn objection(&self, refusal: &Refusal) -> Objection {
        self.family.objection(refusal)
    }

    /// Whether any endpoint that keeps up knows a transaction.
    pub(super) async fn knows(&self, id: &str) -> Result<bool, ChainError> {
        let (call, place) = self.family.known(id);
        Ok(self.rpc.any(&call, |value| value.pointer(place).is_some_and(|found| !found.is_null())).await?)
    }

    fn key(&self, query: &BalanceQuery, head: &Head) -> Result<BalanceKey, ChainError> {
        let address = self.address("address", &query.address);
        let token = query.token.as_deref().map(|token| self.address("token", token)).transpose();
        let (address, token) = match (address, token) {
            (Ok(address), Ok(token)) => (address, token),
            (address, token) => {
                return Err(ChainError::Invalid(address.err().into_iter().chain(token.err()).collect()));
            }
        };
        let BlockRef { number: block, hash } = match query.finality {
            Finality::Latest => head.heads.latest.clone(),
            Finality::Finalized => head.heads.finalized.clone(),
        };
        let (chain, finality, consistency) = (self.network.id.clone(), query.finality, query.consistency);
        Ok(BalanceKey { chain, wanted: Wanted { address, token }, finality, consistency, block, hash })
    }

    /// Keys that are read the same way are read together.
    async fn load_balances(
        self,
        keys: Vec<BalanceKey>,
    ) -> HashMap<BalanceKey, Result<Loaded<Arc<Balance>>, ChainError>> {
        let mut groups: HashMap<_, Vec<BalanceKey>> = HashMap::new();
        for key in keys {
            groups.entry((key.finality, key.consistency, key.block, key.hash.clone())).or_default().push(key);
        }
        let mut loaded = HashMap::new();
        for ((finality, consistency, number, hash), keys) in groups {
            let block = BlockRef { number, hash };
            let reading = Reading { rpc: &self.rpc, block: &block, finality, consistency };
            let wanted: Vec<Wanted> = keys.iter().map(|key| key.wanted.clone()).collect();
            let found = self.family.balances(&reading, &wanted).await;
            for (key, found) in keys.into_iter().zip(found) {
                let balance = match found {
                    Ok((amount, source)) => self.balance(&key, amount, source).await,
                    Err(error) => Err(error),
                };
                loaded.insert(key, balance);
            }
        }
        loaded
    }

    async fn balance(
        &self,
        key: &BalanceKey,
        amount: Units,
        source: Source,
    ) -> Result<Loaded<Arc<Balance>>, ChainError> {
        let token = self.token(key.wanted.token.as_ref()).await?;
        let provenance = self.provenance(source, key.finality);
        let balance = Arc::new(Balance { address: Arc::clone(&key.wanted.address), token, amount, provenance });
        let kept = match key.finality {
            Finality::Latest => BALANCES_KEPT,
            Finality::Finalized => FINAL_BALANCES_KEPT,
        };
        Ok(Loaded::found(balance, kept, Duration::ZERO))
    }

    async fn load_token(self, address: &Arc<str>) -> Result<Loaded<Arc<Token>>, ChainError> {
        let head = self.rpc.head().await?;
        let reading = Reading::newest(&self.rpc, &head);
        let Some(TokenFacts { symbol, decimals }) = self.family.token(&reading, address).await? else {
            return Ok(Loaded::Missing);
        };
        let symbol = symbol.map_or_else(|| Arc::clone(address), Arc::from);
        let chain = self.network.id.clone();
        let token = Token { chain, address: Some(Arc::clone(address)), symbol, decimals, coin: None };
        Ok(Loaded::found(Arc::new(token), TOKENS_KEPT, Duration::ZERO))
    }

    pub(super) fn provenance(&self, source: Source, finality: Finality) -> Provenance {
        source.into_provenance(finality, self.clock.now(), self.network.simulated)
    }
}
