//! One follower's way from block to block.

use std::sync::Arc;

use super::{Applied, ChainEvent, News, Place, Seen, following::Counted};
use crate::chains::{
    Chain, ChainError, Finality,
    evm::log::{Header, Log, LogFilter},
    rpc::{BlockRef, Head},
};

/// A follower that is further behind reads ranges of final blocks first.
const NEAR: u64 = 64;
/// As many final blocks are read at once, at most.
const LONGEST_RANGE: u64 = 500;

/// So many blocks are known from the beginning, so that a reorganisation that begins below it is followed as well. Not more
/// than the smallest window.
const BEFORE: usize = 16;

/// One follower.
pub(super) struct Walker {
    chain: Chain,
    filter: LogFilter,
    fingerprint: u64,
    /// None before the first head.
    place: Option<Place>,
    /// The heads at which everything was told; none before, and while there is more.
    heads: Vec<Head>,
    /// As many final blocks are read at once: nodes refuse ranges that hold too much.
    range: u64,
    _counted: Counted,
}

/// The way to a head from a block that is known.
struct Way {
    base: Seen,
    /// The blocks after it, the newest first.
    blocks: Vec<Arc<Header>>,
}

impl Walker {
    pub(super) fn new(chain: Chain, filter: LogFilter, fingerprint: u64, place: Option<Place>) -> Self {
        let counted = Counted::new(&chain.network().id);
        Self { chain, filter, fingerprint, place, heads: Vec::new(), range: LONGEST_RANGE, _counted: counted }
    }

    /// What is new, at least one thing. Waits for it, however long that takes.
    pub(super) async fn next(&mut self) -> Result<Vec<ChainEvent>, ChainError> {
        loop {
            let heads = self.chain.rpc.next_heads(&self.heads).await?;
            let (news, is_done) = self.advance(&heads).await?;
            // Only now: what failed is done again at the same heads.
            self.heads = if is_done { heads } else { Vec::new() };
            if !news.is_empty() {
                return Ok(news);
            }
        }
    }

    /// What is new, and whether that is all. Of the heads the first one counts, and the others say whether it is believed.
    async fn advance(&mut self, heads: &[Head]) -> Result<(Vec<ChainEvent>, bool), ChainError> {
        let head = &heads[0];
        let finalized = head.heads.finalized.number;
        let Some(mut place) = self.place.clone() else { return Ok((vec![self.begin(head).await?], true)) };
        let (mut news, mut is_done) = (Vec::new(), true);
        let latest = head.heads.latest.number;
        let behind = latest.saturating_sub(place.newest().number);
        let most = self.chain.following.max_backfill();
        if behind > most {
            return Err(ChainError::TooFarBehind { blocks: behind, most });
        }
        if behind > NEAR && place.newest().number < finalized {
            self.read_final(&mut place, finalized, &mut news).await?;
            is_done = false;
        } else if latest >= place.newest().number {
            // A head that is lower is of a node that is behind.
            self.read_near(&mut place, heads, &mut news).await?;
            self.chain.following.reached(&self.chain.network().id, place.newest().number);
        }
        let told = finalized.min(place.newest().number);
        if told > place.finalized {
            place.finalized = told;
            news.push(ChainEvent::new(News::Finalized(told), place.cursor(self.fingerprint)));
        }
        self.place = Some(place);
        Ok((news, is_done))
    }

    /// Begins at a head, with a cursor, so that whoever is cut off before anything happens can come back.
    async fn begin(&mut self, head: &Head) -> Result<ChainEvent, ChainError> {
        let BlockRef { mut number, ref hash } = head.heads.latest;
        let mut hash = hash.clone().unwrap_or_default();
        let mut known = vec![Seen { number, hash: Arc::clone(&hash) }];
        while known.len() < BEFORE && number > 0 {
            hash = Arc::clone(&self.chain.header(&hash).await?.parent);
            number -= 1;
            known.push(Seen { number, hash: Arc::clone(&hash) });
        }
        known.reverse();
        let finalized = head.heads.finalized.number;
        let place = Place::of(known, u32::MAX, finalized).expect("each has a number of its own");
        let first = ChainEvent::new(News::Finalized(finalized), place.cursor(self.fingerprint));
        self.place = Some(place);
        Ok(first)
    }

    /// Tells what lies between a block that was told and the head.
    async fn read_near(&self, place: &mut Place, heads: &[Head], news: &mut Vec<ChainEvent>) -> Result<(), ChainError> {
        let Way { base, blocks } = self.way(place, heads).await?;
        if base.number < place.newest().number {
            self.undo(place, base, news);
        } else {
            // Its hash may have been known in part.
            self.tell(place, &base.hash, news).await?;
        }
        for header in blocks.into_iter().rev() {
            place.enter(Seen { number: header.number, hash: Arc::clone(&header.hash) }, self.chain.following.window());
            self.tell(place, &header.hash, news).await?;
        }
        Ok(())
    }

    /// The way to the head. The branch that was told is not left while as many of the endpoints that keep up are on it as
    /// have left it: two nodes that disagree for a while would have it undone and done again, time after time.
    async fn way(&self, place: &Place, heads: &[Head]) -> Result<Way, ChainError> {
        let newest = place.newest().number;
        let way = self.way_to(place, &heads[0].heads.latest).await;
        if way.as_ref().is_ok_and(|way| way.base.number >= newest) {
            return way;
        }
        let (mut stays, mut staying, mut leaving) = (None, 0, 0);
        for other in heads {
            if other.heads.latest.number < newest {
                continue;
            }
            match self.way_to(place, &other.heads.latest).await {
                Ok(way) if way.base.number >= newest => {
                    staying += 1;
                    stays.get_or_insert(way);
                }
                _ => leaving += 1,
            }
        }
        match stays {
            Some(stays) if staying >= leaving => Ok(stays),
            _ => way,
        }
    }

    /// Walks from a head back to a block that is known.
    async fn way_to(&self, place: &Place, latest: &BlockRef) -> Result<Way, ChainError> {
        let (mut hash, mut number) = (latest.hash.clone().unwrap_or_default(), latest.number);
        let mut blocks: Vec<Arc<Header>> = Vec::new();
        while !place.knows(number, &hash) {
            if number <= place.oldest().number {
                return Err(ChainError::TooDeep);
            }
            let header = self.chain.header(&hash).await?;
            (hash, number) = (Arc::clone(&header.parent), header.number.saturating_sub(1));
            blocks.push(header);
        }
        Ok(Way { base: Seen { number, hash }, blocks })
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
        let window = self.chain.following.window();
        for log in logs {
            if log.block_number > place.newest().number {
                place.enter(Seen { number: log.block_number, hash: Arc::clone(&log.block_hash) }, window);
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
            place.enter(Seen { number: upto, hash: Arc::clone(&end.hash) }, window);
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
        let depth = place.newest().number - to.number;
        if let Some(first) = place.first_above(to.number) {
            self.chain.following.undone(&self.chain.network().id, first, depth);
        }
        place.back_to(&to);
        news.push(ChainEvent::new(News::Undone(to), place.cursor(self.fingerprint)));
    }

    fn applied(&self, place: &Place, log: &Log, endpoint: &Arc<str>, block: (u64, &Arc<str>)) -> ChainEvent {
        let provenance = self.chain.provenance_of(endpoint, block, Finality::Latest);
        let applied = Applied { log: log.clone(), provenance };
        ChainEvent::new(News::Applied(Box::new(applied)), place.cursor(self.fingerprint))
    }
}
