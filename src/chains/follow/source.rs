//! Where followers read: what one of them has read of a block, the others need not.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{
    cache::{CacheKey, CacheValue, Loaded},
    chains::{
        Chain, ChainError, Finality, Provenance,
        error::found,
        evm::log::{self, Header, Log, LogFilter},
        provenance::Source,
        rpc::{Agreement, Answer, BlockRef, Call},
    },
    model::ChainId,
};

/// A block by its hash never changes; followers are done with it soon.
const KEPT: Duration = Duration::from_mins(10);

/// The logs of a block, and who said so.
pub(in crate::chains) type Logs = Arc<(Vec<Log>, Arc<str>)>;

/// A block of a chain by its hash; with a filter, what that lets through of its logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::chains) struct BlockKey {
    chain: ChainId,
    hash: Arc<str>,
    filter: Option<u64>,
}

impl CacheKey for BlockKey {
    fn shared_name(&self) -> Cow<'_, str> {
        let Self { chain, hash, filter } = self;
        format!("{chain}/{hash}/{}", filter.unwrap_or_default()).into()
    }
}

/// Kept on this node only.
impl CacheValue for Arc<Header> {
    fn weight(&self) -> u32 {
        256
    }
}

impl CacheValue for Logs {
    fn weight(&self) -> u32 {
        let bytes: usize =
            self.0.iter().map(|log| size_of::<Log>() + log.data.len() + 66 * (log.topics.len() + 3)).sum();
        u32::try_from(bytes + 128).unwrap_or(u32::MAX)
    }
}

impl Chain {
    /// A block by its hash.
    pub(in crate::chains) async fn header(&self, hash: &Arc<str>) -> Result<Arc<Header>, ChainError> {
        let (chain, hash) = (self.clone(), Arc::clone(hash));
        let key = BlockKey { chain: self.network().id.clone(), hash: Arc::clone(&hash), filter: None };
        let load = async move |_: BlockKey| {
            let (header, endpoint) = chain.read_header(log::by_hash(&hash)).await?;
            if header.hash != hash {
                return Err(ChainError::nonsense(&endpoint, "a block has another hash than was asked for"));
            }
            Ok(Loaded::found(Arc::new(header), KEPT, Duration::ZERO))
        };
        found(self.memory.headers.get(&key, load).await?)
    }

    /// A final block by its number.
    pub(in crate::chains) async fn header_at(&self, number: u64) -> Result<Header, ChainError> {
        Ok(self.read_header(log::by_number(number)).await?.0)
    }

    /// The logs of a block that a filter lets through.
    pub(in crate::chains) async fn logs_of(&self, hash: &Arc<str>, filter: &LogFilter) -> Result<Logs, ChainError> {
        let fingerprint = filter.fingerprint(self.network().id.as_str());
        let key = BlockKey { chain: self.network().id.clone(), hash: Arc::clone(hash), filter: Some(fingerprint) };
        let (chain, call) = (self.clone(), log::logs_of(hash, filter));
        let load = async move |key: BlockKey| {
            let (logs, endpoint) = chain.read_logs(call).await?;
            if logs.iter().any(|log| log.block_hash != key.hash) {
                return Err(ChainError::nonsense(&endpoint, "logs are of another block than was asked for"));
            }
            let logs: Logs = Arc::new((logs, endpoint));
            Ok(Loaded::found(logs, KEPT, Duration::ZERO))
        };
        found(self.memory.logs.get(&key, load).await?)
    }

    /// The logs of a range of final blocks, the ends included.
    pub(in crate::chains) async fn logs_between(
        &self,
        from: u64,
        upto: u64,
        filter: &LogFilter,
    ) -> Result<(Vec<Log>, Arc<str>), ChainError> {
        self.read_logs(log::logs_between(from, upto, filter)).await
    }

    /// Whose word something is that holds at a block.
    pub(in crate::chains) fn provenance_of(
        &self,
        endpoint: &Arc<str>,
        (number, hash): (u64, &Arc<str>),
        finality: Finality,
    ) -> Provenance {
        let block = BlockRef { number, hash: Some(Arc::clone(hash)) };
        self.provenance(Source { endpoint: Arc::clone(endpoint), block, agreement: Agreement::ALONE }, finality)
    }

    async fn read_header(&self, call: Call) -> Result<(Header, Arc<str>), ChainError> {
        let Answer { value, endpoint } = self.answer(call, Some("")).await?;
        if value.is_null() {
            // It was undone since, or will be known in a moment.
            return Err(ChainError::Unavailable {
                reasons: "no endpoint knows the block".to_owned(),
                retry_after: None,
            });
        }
        let header = log::header(&value);
        let header = header.ok_or_else(|| ChainError::nonsense(&endpoint, "a block lacks what all have"))?;
        Ok((header, endpoint))
    }

    async fn read_logs(&self, call: Call) -> Result<(Vec<Log>, Arc<str>), ChainError> {
        let Answer { value, endpoint } = self.answer(call, None).await?;
        let logs = log::logs(&value).ok_or_else(|| ChainError::nonsense(&endpoint, "logs lack what all have"))?;
        Ok((logs, endpoint))
    }

    async fn answer(&self, call: Call, sought: Option<&'static str>) -> Result<Answer, ChainError> {
        let calls = [call];
        let mut answers = match sought {
            Some(sought) => self.rpc.find(&calls, sought).await,
            None => self.rpc.read(&calls).await,
        };
        Ok(answers.pop().expect("there is an answer for each call")?)
    }
}
