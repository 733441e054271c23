//! One follower's way from block to block.

use std::sync::Arc;

use metrics::counter;

use super::{Applied, ChainEvent, News, Place, Seen};
use crate::chains::{
    Chain, ChainError, Finality,
    evm::log::{Header, Log, LogFilter},
    rpc::Head,
};

/// A follower that is further behind reads ranges of final blocks first.
const NEAR: u64 = 64;
/// As many final blocks are read at once, at most.
const LONGEST_RANGE: u64 = 500;

/// One follower.
pub(super) struct Walker {
    chain: Chain,
    filter: LogFilter,
    fingerprint: u64,
    /// None before the first head.
    place: Option<Place>,
    head: Option<Head>,
    /// As many final blocks are read at once: nodes refuse ranges that hold too much.
    range: u64,
}

impl Walker {
    pub(super) fn new(chain: Chain, filter: LogFilter, fingerprint: u64, place: Option<Place>) -> Self {
        Self { chain, filter, fingerprint, place, head: None, range: LONGEST_RANGE }
    }

    /// What is new, at least one thing. Waits for it, however long that takes.
    pub(super) async fn next(&mut self) -> Result<Vec<ChainEvent>, ChainError> {
        loop {
            let head = self.chain.rpc().next_head(self.head.as_ref()).await?;
            let news = self.advance(&head).await?;
            // Only now: what failed is done again at the same head.
            self.head = self.is_at(&head).then_some(head);
            if !news.is_empty() {
                return Ok(news);
            }
        }
    }

    fn is_at(&self, head: &Head) -> bool {
        let (latest, newest) = (&head.heads.latest, self.place.as_ref().map(Place::newest));
        newest.is_some_and(|newest| newest.number >= latest.number)
    }

    async fn advance(&mut self, head: &Head) -> Result<Vec<ChainEvent>, ChainError> {
        let finalized = head.heads.finalized.number;
        let Some(mut place) = self.place.clone() else {
            let (number, hash) = (head.heads.latest.number, head.heads.latest.hash.clone().unwrap_or_default());
            let place = Place::at(Seen { number, hash }, finalized);
            // So that whoever is cut off before anything happens can come back.
            let first = ChainEvent::new(News::Finalized(finalized), &place, self.fingerprint);
            self.place = Some(place);
            return Ok(vec![first]);
        };
        let mut news = Vec::new();
        let latest = head.heads.latest.number;
        let behind = latest.saturating_sub(place.newest().number);
        if behind > self.chain.max_backfill() {
            return Err(ChainError::TooFarBehind { blocks: behind, most: self.chain.max_backfill() });
        }
        if behind > NEAR && place.newest().number < finalized {
            self.read_final(&mut place, finalized, &mut news).await?;
        } else if latest >= place.newest().number {
            // A head that is lower is of a node that is behind.
            self.read_near(&mut place, head, &mut news).await?;
        }
        let told = finalized.min(place.newest().number);
        if told > place.finalized {
            place.finalized = told;
            news.push(ChainEvent::new(News::Finalized(told), &place, self.fingerprint));
        }
        self.place = Some(place);
        Ok(news)
    }

    /// Walks from the head back to a block that was told, and tells what lies between.
    async fn read_near(&self, place: &mut Place, head: &Head, news: &mut Vec<ChainEvent>) -> Result<(), ChainError> {
        let mut branch: Vec<Arc<Header>> = Vec::new();
        let mut hash = head.heads.latest.hash.clone().unwrap_or_default();
        let mut number = head.heads.latest.number;
        while !place.knows(number, &hash) {
            if number < place.since {
                // Nothing of it was told: it does for an ancestor.
                break;
            }
            if number <= place.oldest().number && place.oldest().number > place.since {
                return Err(ChainError::TooDeep);
            }
            let header = self.chain.header(&hash).await?;
            (hash, number) = (Arc::clone(&header.parent), header.number.saturating_sub(1));
            branch.push(header);
        }
        if number < place.newest().number {
            self.undo(place, Seen { number, hash }, news);
        } else {
            // Its hash may have been known in part.
            self.tell(place, &hash, news).await?;
        }
        for header in branch.into_iter().rev() {
            place.enter(Seen { number: header.number, hash: Arc::clone(&header.hash) });
            self.tell(place, &header.hash, news).await?;
        }
        Ok(())
    }

    /// Tells what is left of the newest block.
    async fn tell(&self, place: &mut Place, hash: &Arc<str>, news: &mut Vec<ChainEvent>) -> Result<(), ChainError> {
        if place.told == u32::MAX {
            return Ok(());
        }
        let number = place.newest().number;
        let (logs, endpoint) = &*self.chain.logs_of(hash, &self.filter).await?;
        for log in logs.iter().skip(place.told as usize) {
            place.told += 1;
            news.push(self.applied(place, log, endpoint, (number, hash)));
        }
        place.told = u32::MAX;
        Ok(())
    }

    /// Tells what lies between the newest block and the newest final one, a range of it.
    async fn read_final(
        &mut self,
        place: &mut Place,
        finalized: u64,
        news: &mut Vec<ChainEvent>,
    ) -> Result<(), ChainError> {
        let base = self.final_base(place).await?;
        if base.number < place.newest().number {
            self.undo(place, base, news);
        }
        let from = place.newest().number + u64::from(place.told == u32::MAX);
        let upto = finalized.min(place.newest().number + self.range);
        let end = self.chain.header_at(upto).await?;
        let read = self.chain.logs_between(from, upto, &self.filter).await;
        // The next try is of fewer blocks, or again of more.
        self.range = if read.is_ok() { (self.range * 2).min(LONGEST_RANGE) } else { (self.range / 2).max(1) };
        let (logs, endpoint) = read?;
        for log in logs {
            if log.block_number > place.newest().number {
                place.enter(Seen { number: log.block_number, hash: Arc::clone(&log.block_hash) });
            } else if log.block_number < place.newest().number {
                return Err(ChainError::nonsense(&endpoint, "logs are not in the order of their blocks"));
            }
            if log.position < place.told {
                continue;
            }
            place.told = log.position + 1;
            let (number, hash) = (log.block_number, Arc::clone(&log.block_hash));
            news.push(self.applied(place, &log, &endpoint, (number, &hash)));
        }
        if place.newest().number < upto {
            place.enter(Seen { number: upto, hash: Arc::clone(&end.hash) });
        }
        place.told = u32::MAX;
        Ok(())
    }

    /// The newest block of the place that the chain still has, of those that are final by now.
    async fn final_base(&self, place: &Place) -> Result<Seen, ChainError> {
        for seen in place.blocks() {
            let header = self.chain.header_at(seen.number).await?;
            if seen.is(header.number, &header.hash) {
                return Ok(seen.clone());
            }
        }
        Err(ChainError::TooDeep)
    }

    fn undo(&self, place: &mut Place, to: Seen, news: &mut Vec<ChainEvent>) {
        let (chain, depth) = (&self.chain.network().id, place.newest().number - to.number);
        counter!("tidegate_chain_reorgs_total", "chain" => chain.to_string()).increment(1);
        tracing::info!(%chain, depth, "blocks were undone");
        place.back_to(to.clone());
        news.push(ChainEvent::new(News::Undone(to), place, self.fingerprint));
    }

    fn applied(&self, place: &Place, log: &Log, endpoint: &Arc<str>, block: (u64, &Arc<str>)) -> ChainEvent {
        let provenance = self.chain.provenance_of(endpoint, block, Finality::Latest);
        let applied = Applied { log: log.clone(), provenance };
        ChainEvent::new(News::Applied(Box::new(applied)), place, self.fingerprint)
    }
}
