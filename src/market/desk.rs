//! One round of pricing: ask the panel, weigh the answers, say what is worth keeping and for how long.
//!
//! Queries and the feed go through the same rounds and the same cache, so they cannot tell different stories.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use metrics::counter;

use super::{
    Catalogue, Coin, Price, PriceError, PriceUpdate, RejectReason, SourcePrice,
    aggregate::{Rules, Verdict, is_settled, weigh},
    panel::Panel,
};
use crate::{
    cache::{Cache, CacheKey, CacheValue, Loaded, Tag, Tags},
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

impl CacheKey for AssetId {
    const NAMED: bool = true;

    fn shared_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.as_str())
    }
}

impl CacheValue for Arc<Price> {
    fn weight(&self) -> u32 {
        let bytes = size_of::<Price>() + self.sources.len() * size_of::<SourcePrice>() + self.coin.as_str().len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn follows(&self) -> Option<Tag> {
        Some(price_tag(&self.coin))
    }

    /// `shared_prices_are_read_by_every_version` says when this must grow.
    const SCHEMA: Option<u16> = Some(1);

    fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self.as_ref()).expect("every part of a price can be written")
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (price, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then(|| Self::new(price))
    }
}

/// What a round found out about each coin, ready to be cached.
pub(super) type Round = HashMap<AssetId, Result<Loaded<Arc<Price>>, PriceError>>;

/// Where prices are made.
pub(super) struct Desk {
    pub(super) panel: Panel,
    pub(super) catalogue: Catalogue,
    pub(super) cache: PriceCache,
    pub(super) tags: Tags,
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
                (if price.stale { "stale" } else { "agreed" }, Ok(self.loaded(Arc::new(price), Duration::ZERO)))
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

    /// Whether a tick was published too long ago to be news.
    pub(super) fn is_old(&self, update: &PriceUpdate) -> bool {
        (self.clock.now() - update.published_at).to_std().unwrap_or_default() >= self.fresh_for
    }

    /// Takes in a tick that another node published, so that queries here are not behind it.
    pub(super) fn learn(&self, update: &PriceUpdate, replayed: bool) {
        let price = &update.price;
        let age = (self.clock.now() - update.published_at).to_std().unwrap_or_default();
        // What comes late may come after a query that asked the sources since.
        let known = self.cache.last_known(&price.coin).filter(|_| replayed);
        if age >= self.fresh_for || known.is_some_and(|known| known.value.as_of >= price.as_of) {
            return;
        }
        let ticket = self.cache.begin();
        // The other nodes hear of both from whoever published the tick.
        self.cache.put_here(ticket, &price.coin, self.loaded(Arc::clone(price), age));
        self.tags.invalidate_here(&[price_tag(&price.coin)]);
    }

    /// How a price that was made `age` ago is kept.
    fn loaded(&self, price: Arc<Price>, age: Duration) -> Loaded<Arc<Price>> {
        // A last price keeps the end it had: giving it once more must not make it live longer.
        let observed = || price.age(self.clock.now()).to_std().unwrap_or_default();
        let spent = if price.stale { observed().max(age) } else { age };
        let left = (self.fresh_for + self.stale_for).saturating_sub(spent);
        let fresh_for = self.fresh_for.saturating_sub(age).min(left);
        Loaded::found(price, fresh_for, left.saturating_sub(fresh_for))
    }
}

fn count_rejections(sources: &[SourcePrice]) {
    for source in sources {
        if let Some(reason) = source.reject_reason.filter(|reason| *reason != RejectReason::Unsupported) {
            let name = Arc::clone(&source.source);
            counter!("tidegate_price_rejections_total", "source" => name, "reason" => reason.label()).increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        market::{Confidence, Currency, Quorum},
        model::Timestamp,
    };

    /// Nodes of several versions share prices. What these bytes are made of must not change under the same schema: when
    /// this fails, count `SCHEMA` up and pin the new bytes.
    #[test]
    fn shared_prices_are_read_by_every_version() {
        let price = Arc::new(Price {
            coin: AssetId::new("bitcoin").unwrap(),
            currency: Currency::Usd,
            amount: "97000.50".parse().unwrap(),
            change24h: Some("-1.5".parse().unwrap()),
            confidence: Confidence { low: "96900".parse().unwrap(), high: "97100".parse().unwrap() },
            as_of: Timestamp::from_timestamp_millis(1_800_000_000_123).unwrap(),
            stale: false,
            quorum: Quorum { used: 2, total: 3, min: 2 },
            sources: vec![SourcePrice {
                source: "coinbase".into(),
                price: Some("97000.50".parse().unwrap()),
                observed_at: Some(Timestamp::from_timestamp(1_800_000_000, 0).unwrap()),
                weight: "1".parse().unwrap(),
                reject_reason: Some(RejectReason::Saturated),
                simulated: true,
            }],
        });
        let bytes = price.encode();
        let schema_1 = [
            "\u{7}bitcoin\0\u{8}97000.50\u{1}\u{4}-1.5\u{5}96900\u{5}97100",
            "\u{18}2027-01-15T08:00:00.123Z\0\u{2}\u{3}\u{2}",
            "\u{1}\u{8}coinbase\u{1}\u{8}97000.50\u{1}\u{14}2027-01-15T08:00:00Z\u{1}1\u{1}\u{e}\u{1}",
        ];
        assert_eq!(String::from_utf8_lossy(&bytes), schema_1.concat());
        assert_eq!(Arc::<Price>::decode(&bytes), Some(price));
        assert_eq!(Arc::<Price>::decode(&bytes[1..]), None);
        assert_eq!(Arc::<Price>::decode(&[bytes, vec![0]].concat()), None);
    }
}
