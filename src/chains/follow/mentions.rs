//! One follower's way through the transactions that mention an account.
//!
//! With every head all that is not final yet is read anew: nothing says by itself that a confirmed transaction was dropped.

use std::{collections::HashSet, sync::Arc};

use super::{ChainEvent, Mentioned, News, Seen, cursor, following::Counted, slots::Slots};
use crate::chains::{
    Chain, ChainError, Finality,
    provenance::Source,
    rpc::{Agreement, BlockRef, Head},
    solana::{
        log::{self, Mention, PAGE},
        send,
    },
};

/// Pages that are read at once: an account with more transactions since the last final one is not followed.
const MOST_PAGES: usize = 20;

/// One follower.
pub(super) struct Mentions {
    chain: Chain,
    account: Arc<str>,
    fingerprint: u64,
    /// None before the first head.
    slots: Option<Slots>,
    head: Option<Head>,
    /// Something not newer than the base, so that no more is read.
    anchor: Option<Arc<str>>,
    /// What was told since the last final slot, as far as it is known by name.
    told: Vec<Mention>,
    _counted: Counted,
}

/// All that is above the base, the oldest first, and who said so.
struct There {
    mentions: Vec<Mention>,
    endpoint: Arc<str>,
    /// The newest that is not above it.
    anchor: Option<Arc<str>>,
}

impl Mentions {
    pub(super) fn new(chain: Chain, account: Arc<str>, fingerprint: u64, slots: Option<Slots>) -> Self {
        let counted = Counted::new(&chain.network().id);
        Self { chain, account, fingerprint, slots, head: None, anchor: None, told: Vec::new(), _counted: counted }
    }

    /// What is new, at least one thing. Waits for it, however long that takes.
    pub(super) async fn next(&mut self) -> Result<Vec<ChainEvent>, ChainError> {
        loop {
            let head = self.chain.rpc.next_head(self.head.as_ref()).await?;
            let news = self.advance(&head).await?;
            // Only now: what failed is done again at the same head.
            self.head = Some(head);
            if !news.is_empty() {
                return Ok(news);
            }
        }
    }

    async fn advance(&mut self, head: &Head) -> Result<Vec<ChainEvent>, ChainError> {
        let (latest, finalized) = (head.heads.latest.number, head.heads.finalized.number);
        let Some(mut slots) = self.slots.clone() else { return Ok(vec![self.begin(latest, finalized).await?]) };
        let (behind, most) = (latest.saturating_sub(slots.reached), self.chain.following.max_backfill());
        if behind > most {
            return Err(ChainError::TooFarBehind { blocks: behind, most });
        }
        if latest < slots.reached {
            // It is of a node that is behind.
            return Ok(Vec::new());
        }
        let there = self.read(latest, slots.base).await?;
        let mut news = Vec::new();
        let (known, undone) = slots.compare(&there.mentions);
        if let Some(undone) = undone {
            self.is_dropped(&there).await?;
            self.undo(&mut slots, undone, &mut news);
        }
        let is_all = self.apply(&mut slots, &there, known, &mut news);
        if is_all {
            slots.reached = latest;
            self.chain.following.reached(&self.chain.network().id, latest);
        }
        let told = finalized.min(slots.reached);
        if told > slots.finalized {
            slots.finalize(told);
            news.push(self.event(News::Finalized(told), &slots));
        }
        self.keep(slots, there);
        Ok(news)
    }

    /// Begins at a slot, with a cursor, so that whoever is cut off before anything happens can come back. What is there and not
    /// final is remembered as if it had been told, so that it is noticed when it goes.
    async fn begin(&mut self, latest: u64, finalized: u64) -> Result<ChainEvent, ChainError> {
        let there = self.read(latest, finalized).await?;
        let mut slots = Slots::at(finalized);
        if !there.mentions.iter().all(|mention| slots.enter(mention)) {
            slots = Slots::at(latest);
        }
        (slots.finalized, slots.reached) = (finalized, latest);
        let first = self.event(News::Finalized(finalized), &slots);
        self.keep(slots, there);
        Ok(first)
    }

    /// Remembers what was told, once it will be.
    fn keep(&mut self, slots: Slots, there: There) {
        let is_final = |mention: &&Mention| mention.slot <= slots.base;
        let newest = there.mentions.iter().rev().find(is_final).map(|mention| Arc::clone(&mention.signature));
        self.anchor = newest.or(there.anchor).or_else(|| self.anchor.take());
        let is_told = |mention: &Mention| mention.slot > slots.base && mention.slot <= slots.reached;
        self.told = there.mentions.into_iter().filter(is_told).collect();
        self.slots = Some(slots);
    }

    /// Reads page after page, the newest first. What is above the head is left for the next one, so that every page is from
    /// nodes that have come as far as all that is taken.
    async fn read(&self, latest: u64, base: u64) -> Result<There, ChainError> {
        let mut mentions: Vec<Mention> = Vec::new();
        let mut before: Option<Arc<str>> = None;
        for _ in 0..MOST_PAGES {
            let calls = [log::mentions_of(&self.account, latest, before.as_deref(), self.anchor.as_deref())];
            let answer = self.chain.rpc.read(&calls).await.pop().expect("there is an answer for each call")?;
            let nonsense =
                || ChainError::nonsense(&answer.endpoint, "signatures that lack what all have, or their order");
            let page = log::mentions(&answer.value).ok_or_else(nonsense)?;
            let older = page.iter().find(|mention| mention.slot <= base).map(|mention| Arc::clone(&mention.signature));
            let is_last = older.is_some() || page.len() < PAGE;
            before = page.last().map(|mention| Arc::clone(&mention.signature));
            mentions.extend(page.into_iter().filter(|mention| (base + 1..=latest).contains(&mention.slot)));
            if is_last {
                mentions.reverse();
                return Ok(There { mentions, endpoint: answer.endpoint, anchor: older });
            }
        }
        Err(ChainError::TooBusy)
    }

    /// Makes sure that what is missing was dropped, and not only passed over by the node that was asked: no endpoint has it
    /// where it was.
    async fn is_dropped(&self, there: &There) -> Result<(), ChainError> {
        let found: HashSet<(&str, u64)> = there.mentions.iter().map(|it| (&*it.signature, it.slot)).collect();
        let missing = self.told.iter().find(|mention| !found.contains(&(&*mention.signature, mention.slot)));
        let Some(Mention { signature, slot, .. }) = missing else { return Ok(()) };
        if self.chain.rpc.any(&send::known(signature), |status| log::is_confirmed_in(*slot, status)).await? {
            let reasons = "an endpoint has not all transactions of an account".to_owned();
            return Err(ChainError::Unavailable { reasons, retry_after: None });
        }
        Ok(())
    }

    fn undo(&self, slots: &mut Slots, to: u64, news: &mut Vec<ChainEvent>) {
        let depth = slots.reached.saturating_sub(to);
        let first = Seen { number: to + 1, hash: "".into() };
        self.chain.following.undone(&self.chain.network().id, &first, depth);
        slots.back_to(to);
        news.push(self.event(News::Dropped(to), slots));
    }

    /// Tells what was not told yet, and whether that is all.
    fn apply(&self, slots: &mut Slots, there: &There, known: usize, news: &mut Vec<ChainEvent>) -> bool {
        let upto = slots.told.last().map_or(slots.base, |told| told.slot);
        for mention in there.mentions.iter().skip(known) {
            debug_assert!(mention.slot >= upto, "what is new follows what was told");
            if !slots.enter(mention) {
                return false;
            }
            let (endpoint, block) = (Arc::clone(&there.endpoint), BlockRef { number: mention.slot, hash: None });
            let source = Source { endpoint, block, agreement: Agreement::ALONE };
            let provenance = self.chain.provenance(source, Finality::Latest);
            let mentioned = Mentioned { mention: mention.clone(), provenance };
            news.push(self.event(News::Mentioned(Box::new(mentioned)), slots));
        }
        true
    }

    fn event(&self, news: News, slots: &Slots) -> ChainEvent {
        ChainEvent::new(news, cursor::write_slots(slots, self.fingerprint))
    }
}
