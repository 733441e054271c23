//! The heads of a chain, each once.

use futures_util::Stream;
use tokio::time::sleep;

use super::PAUSE;
use crate::chains::{
    Chain, ChainHead,
    evm::log,
    rpc::{BlockRef, Head},
};

/// A head that is lower than this many blocks is looked into no further: it is of a node that is behind.
const DEEPEST: u64 = 64;

impl Chain {
    /// The heads of the chain as they come; a slow reader misses some. For ever.
    pub fn heads(&self) -> impl Stream<Item = ChainHead> + Send + use<> {
        let chain = self.clone();
        async_stream::stream! {
            let (mut seen, mut told) = (None, None);
            loop {
                match chain.rpc.next_head(seen.as_ref()).await {
                    Ok(head) => {
                        if chain.is_news(told.as_ref(), &head).await {
                            yield chain.told(head.clone());
                            told = Some(head.clone());
                        }
                        seen = Some(head);
                    }
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
    }

    /// Whether the chain has gone on, or has left the block that was told. It has not where a node is behind another.
    async fn is_news(&self, told: Option<&Head>, head: &Head) -> bool {
        let Some(told) = told else { return true };
        let (old, new) = (&told.heads.latest, &head.heads.latest);
        if new.number > old.number {
            return true;
        }
        if old == new {
            return false;
        }
        if new.number == old.number {
            // While an endpoint is on the branch that was told, the other one is no better.
            return !self.rpc.abreast().iter().any(|other| other.heads.latest == *old);
        }
        head.endpoint == told.endpoint && self.has_left(old, new).await
    }

    /// Whether a lower block is on another branch; that is not known where nobody can be asked.
    async fn has_left(&self, old: &BlockRef, new: &BlockRef) -> bool {
        let (Some(hash), Some(wanted)) = (&old.hash, &new.hash) else { return false };
        match self.rpc.any(&log::by_hash(hash), |block| !block.is_null()).await {
            Ok(true) if old.number - new.number <= DEEPEST => {}
            Ok(true) | Err(_) => return false,
            Ok(false) => return true,
        }
        let (mut hash, mut number) = (hash.clone(), old.number);
        while number > new.number {
            let Ok(header) = self.header(&hash).await else { return false };
            (hash, number) = (header.parent.clone(), number - 1);
        }
        hash != *wanted
    }
}
