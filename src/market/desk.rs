//! One round of pricing: ask the panel, weigh the answers, say what is worth keeping and for how long.
//!
//! Queries and the feed go through the same rounds and the same cache, so they cannot tell different stories.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use metrics::counter;

use super::{
    Catalogue, Coin, Price, PriceError, RejectReason, SourcePrice,
    aggregate::{Rules, Verdict, is_settled, weigh},
    panel::Panel,
};
use crate::{
    cache::{Cache, CacheValue, Loaded, Tag},
    model::{AssetId, Clock},
};

/// What everything that was made from a coin's price carries; the feed invalidates it with every tick.
///
/// The price itself does not carry it: the last price must outlive the tick that replaces it.
#[must_use]
pub fn price_tag(coin: &AssetId) -> Tag {
    Tag(format!("price:{coin}").into())
}

/// The value cache of prices.
pub type PriceCache = Cache<AssetId, Arc<Price>, PriceError>;

impl CacheValue for Arc<Price> {
    fn weight(&self) -> u32 {
        let bytes = size_of::<Price>() + self.sources.len() * size_of::<SourcePrice>() + self.coin.as_str().len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// What a round found out about each coin, ready to be cached.
pub(super) type Round = HashMap<AssetId, Result<Loaded<Arc<Price>>, PriceError>>;

/// Where prices are made.
pub(super) struct Desk {
    pub(super) panel: Panel,
    pub(super) catalogue: Catalogue,
    pub(super) cache: PriceCache,
    pub(super) rules: Rules,
    pub(super) fresh_for: Duration,
    pub(super) stale_for: Duration,
    pub(super) clock: Clock,
}

impl Desk {
    /// Prices distinct coins. Every one of them is in the answer.
    pub(super) async fn round(&self, ids: &[AssetId]) -> Round {
        let asked: Vec<(Coin, Option<Arc<Price>>)> =
            ids.iter().map(|id| (self.catalogue.coin(id), self.last(id))).collect();
        let coins: Vec<Coin> = asked.iter().map(|(coin, _)| coin.clone()).collect();
        let answers = self
            .panel
            .ask(&coins, |answers| {
                let now = self.clock.now();
                let settled = |(coin, last): &(Coin, Option<Arc<Price>>)| {
                    is_settled(coin, &answers.votes(&coin.id), last.as_deref(), now, &self.rules)
                };
                asked.iter().all(settled)
            })
            .await;
        let now = self.clock.now();
        let verdicts = asked.into_iter().map(|(coin, last)| {
            let verdict = weigh(&coin, &answers.votes(&coin.id), last.as_deref(), now, &self.rules);
            (coin.id, self.record(verdict))
        });
        verdicts.collect()
    }

    /// The last price on which enough sources agreed, unless it is too old or was removed.
    fn last(&self, id: &AssetId) -> Option<Arc<Price>> {
        let kept = TimeDelta::from_std(self.fresh_for + self.stale_for).unwrap_or(TimeDelta::MAX);
        let now = self.clock.now();
        self.cache.last_known(id).map(|hit| hit.value).filter(|price| price.age(now) <= kept)
    }

    fn record(&self, verdict: Verdict) -> Result<Loaded<Arc<Price>>, PriceError> {
        let (outcome, result) = match verdict {
            Verdict::Priced(price) => {
                count_rejections(&price.sources);
                (if price.stale { "stale" } else { "agreed" }, Ok(self.loaded(price)))
            }
            Verdict::Unknown => ("unknown", Ok(Loaded::Missing)),
            Verdict::Failed(error, sources) => {
                count_rejections(&sources);
                ("failed", Err(error))
            }
        };
        counter!("tidegate_price_rounds_total", "outcome" => outcome).increment(1);
        result
    }

    fn loaded(&self, price: Price) -> Loaded<Arc<Price>> {
        let age = price.age(self.clock.now()).to_std().unwrap_or_default();
        // A last price keeps the end it had: giving it once more must not make it live longer.
        let spent = if price.stale { age } else { Duration::ZERO };
        let left = (self.fresh_for + self.stale_for).saturating_sub(spent);
        let fresh_for = self.fresh_for.min(left);
        Loaded::found(Arc::new(price), fresh_for, left.saturating_sub(fresh_for))
    }
}

fn count_rejections(sources: &[SourcePrice]) {
    for source in sources {
        if let Some(reason) = source.reject_reason.filter(|reason| *reason != RejectReason::Unsupported) {
            let labels = [("source", source.source), ("reason", reason.label())];
            counter!("tidegate_price_rejections_total", &labels).increment(1);
        }
    }
}
