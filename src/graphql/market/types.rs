//! How a price shows in the schema.

use std::sync::Arc;

use async_graphql::{Context, Enum, Object};
use chrono::TimeDelta;

use crate::{
    cache::Tag,
    graphql::{
        context::{ContextExt, Services},
        directives::{CacheControl, Inherit},
        rows::Rows,
        scalars::{DateTime, Decimal, int},
    },
    market::{self, Currency, PriceTick, SourcePrice},
};

pub(crate) struct Price(Arc<market::Price>);

impl Price {
    pub(crate) fn new(price: Arc<market::Price>) -> Self {
        Self(price)
    }

    /// Whole seconds for which an answer with this price may be kept.
    pub(crate) fn good_for(&self, services: &Services) -> u32 {
        if self.0.stale {
            return 0;
        }
        let left = services.prices.fresh_until(&self.0) - services.clock.now();
        left.num_seconds().clamp(0, i64::from(u32::MAX)).try_into().unwrap_or(0)
    }

    /// What makes answers with this price out of date.
    pub(crate) fn tag(&self) -> Tag {
        market::price_tag(&self.0.coin)
    }
}

/// What a coin is worth, with everything needed to judge it: how sure, how old, and who said what.
#[Object(directive = CacheControl::apply(10))]
impl Price {
    /// The id of the coin, such as `bitcoin`.
    async fn coin(&self) -> &str {
        self.0.coin.as_str()
    }

    /// The currency of every amount in here: `USD`.
    async fn currency(&self) -> String {
        match self.0.currency {
            Currency::Usd => "USD".to_owned(),
        }
    }

    /// What one whole coin is worth.
    async fn amount(&self) -> Decimal {
        Decimal(self.0.amount)
    }

    /// How much the price moved in 24 hours, in percent; null when no source says.
    async fn change24h(&self) -> Option<Decimal> {
        self.0.change24h.map(Decimal)
    }

    /// The range in which the accepted sources put the price.
    async fn confidence(&self) -> PriceConfidence {
        PriceConfidence(self.0.confidence)
    }

    /// When the price was observed.
    async fn as_of(&self) -> DateTime {
        DateTime(self.0.as_of)
    }

    /// The age of the price in milliseconds when the answer was made. Answers with this field are not cached.
    #[graphql(directive = CacheControl::apply(0))]
    async fn age_ms(&self, ctx: &Context<'_>) -> i32 {
        let age: TimeDelta = self.0.age(ctx.services().clock.now());
        int(age.num_milliseconds())
    }

    /// Whether too few sources agree now, so that this is the last price on which enough of them did.
    async fn stale(&self) -> bool {
        self.0.stale
    }

    /// How many sources stand behind the price.
    async fn quorum(&self) -> PriceQuorum {
        PriceQuorum(self.0.quorum)
    }

    /// What every source contributed in the latest round, those that failed included.
    async fn sources(&self) -> Rows<PriceSource> {
        self.0.sources.iter().cloned().map(PriceSource).collect()
    }
}

pub(crate) struct PriceConfidence(market::Confidence);

/// A range around a price, in its currency.
#[Object(directive = Inherit::apply())]
impl PriceConfidence {
    /// The lower end; never negative.
    async fn low(&self) -> Decimal {
        Decimal(self.0.low)
    }

    /// The upper end.
    async fn high(&self) -> Decimal {
        Decimal(self.0.high)
    }
}

pub(crate) struct PriceQuorum(market::Quorum);

/// How many sources agreed on a price.
#[Object(directive = Inherit::apply())]
impl PriceQuorum {
    /// Sources whose quote was accepted.
    async fn used(&self) -> i32 {
        int(self.0.used)
    }

    /// Sources that can quote the coin.
    async fn total(&self) -> i32 {
        int(self.0.total)
    }

    /// Sources that have to agree.
    async fn min(&self) -> i32 {
        int(self.0.min)
    }
}

pub(crate) struct PriceSource(SourcePrice);

/// One source's part in a price.
#[Object(directive = Inherit::apply())]
impl PriceSource {
    /// The source, such as `coingecko`.
    async fn name(&self) -> &str {
        &self.0.source
    }

    /// What it quoted; null when it quoted nothing.
    async fn price(&self) -> Option<Decimal> {
        self.0.price.map(Decimal)
    }

    /// When it observed that.
    async fn observed_at(&self) -> Option<DateTime> {
        self.0.observed_at.map(DateTime)
    }

    /// How much its vote counts.
    async fn weight(&self) -> Decimal {
        Decimal(self.0.weight)
    }

    /// Whether the quote went into the price.
    async fn accepted(&self) -> bool {
        self.0.accepted()
    }

    /// Why the quote did not go into the price; null when it did.
    async fn reject_reason(&self) -> Option<PriceRejectReason> {
        self.0.reject_reason.map(Into::into)
    }

    /// Whether the quote is the market's or invented by a stand-in.
    async fn provenance(&self) -> Provenance {
        if self.0.simulated { Provenance::Simulated } else { Provenance::Live }
    }
}

/// Where a value comes from.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// From the real service.
    Live,
    /// Invented by a stand-in of the sandbox.
    Simulated,
}

/// Why a source did not count towards a price.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "market::RejectReason")]
pub(crate) enum PriceRejectReason {
    /// The source does not list the coin, so it was not asked.
    Unsupported,
    /// The source was asked and does not know the coin.
    Missing,
    /// The source knows the coin and has no price for it.
    NullPrice,
    /// The price is zero or negative.
    NotPositive,
    /// The quote is older than the source may be.
    TooOld,
    /// The source itself has no confidence in the quote.
    Unsure,
    /// The quote lies too many deviations away from the others.
    Outlier,
    /// The quote contradicts the only other one, or the last price.
    Disagrees,
    /// The others agreed before this source answered.
    Late,
    /// The source did not answer in time.
    Timeout,
    /// The source's breaker is open; it was not asked.
    BreakerOpen,
    /// The source refused for too many calls, or would.
    RateLimited,
    /// The source could not be reached or answered with an error.
    Unavailable,
    /// The source's answer could not be read.
    Undecodable,
    /// Too many calls to the source are in flight already.
    Saturated,
}

pub(crate) struct PriceUpdate(pub(crate) PriceTick);

/// A change of a coin's price.
#[Object(directive = Inherit::apply())]
impl PriceUpdate {
    /// The id of the coin.
    async fn coin(&self) -> &str {
        self.0.update.price.coin.as_str()
    }

    /// The price now.
    async fn price(&self) -> Price {
        Price::new(Arc::clone(&self.0.update.price))
    }

    /// The amount of the tick before; null for the first tick of a coin, and for the first after the feed has moved to
    /// another node that did not know it.
    async fn previous_amount(&self) -> Option<Decimal> {
        self.0.update.previous.map(Decimal)
    }

    /// When the tick was published.
    async fn published_at(&self) -> DateTime {
        DateTime(self.0.update.published_at)
    }

    /// Where this update stands among those of all coins of the subscription. Pass the last one as `after` to go on
    /// where a connection was lost. It is not to be taken apart, and good for these coins only.
    async fn cursor(&self) -> String {
        self.0.cursor.encode()
    }

    /// Whether updates of this coin between `after` and this one are lost.
    async fn gap(&self) -> bool {
        self.0.gap
    }
}
