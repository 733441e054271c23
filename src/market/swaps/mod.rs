//! What a swap would bring: every venue of a chain asked at once, and the answers compared by what is left after fees.
//!
//! [`Swaps`] is the way in. A quote is what the venue said, in whole base units, beside what our own prices say about it.
//! Nothing here holds keys, signs or sends. `market/tests/swaps.rs` has the promises over scripted venues,
//! `tests/it/swaps.rs` over the stand-ins.

mod appraise;
mod check;
mod quote;
mod rank;
mod round;
mod value;

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use metrics::counter;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use quote::{
    FailureCode, Gas, Issue, IssueCode, RankedBy, SwapError, SwapFailure, SwapQuote, SwapRequest, SwapRound,
};

use self::{
    appraise::{Appraiser, Given, OwnPrices},
    check::{Checked, check},
    rank::rank,
    round::{Round, Said},
};
use super::{
    Price, Prices, Tokens,
    venues::{QuoteAsk, Venue, VenueError},
};
use crate::{
    config::MarketConfig,
    model::{AssetId, Clock, Decimal, Token},
    resilience::CallError,
};

/// What [`Swaps`] is built from.
pub struct SwapParts {
    /// Who is asked, from [`super::venues::build`].
    pub venues: Vec<Venue>,
    /// The tokens known by heart.
    pub tokens: Tokens,
    /// What the quotes are held against.
    pub prices: Prices,
    /// The time.
    pub clock: Clock,
    /// Keeps the calls that nobody waits for any more.
    pub tasks: TaskTracker,
    /// Ends those calls.
    pub stop: CancellationToken,
}

/// What swaps would bring; clones share everything.
#[derive(Clone)]
pub struct Swaps(Arc<Inner>);

struct Inner {
    round: Round,
    tokens: Tokens,
    prices: Prices,
    quote_lifetime: Duration,
    /// The oldest stale price that a quote is held against.
    recent: TimeDelta,
}

impl Swaps {
    /// Must be asked inside a tokio runtime.
    #[must_use]
    pub fn new(parts: SwapParts, config: &MarketConfig) -> Self {
        let SwapParts { venues, tokens, prices, clock, tasks, stop } = parts;
        let deadline = Duration::from_millis(config.swap_deadline_ms);
        let quote_lifetime = Duration::from_millis(config.quote_lifetime_ms);
        let recent = i64::try_from(config.recent_seconds).ok().and_then(TimeDelta::try_seconds);
        let recent = recent.unwrap_or(TimeDelta::MAX);
        let round = Round { venues, deadline, clock, tasks, stop };
        Self(Arc::new(Inner { round, tokens, prices, quote_lifetime, recent }))
    }

    /// Every quote that could be had within the deadline, the best first.
    ///
    /// # Errors
    /// [`SwapError::Invalid`] with all that is wrong with the request, or what stood in the way of even one quote.
    pub async fn quotes(&self, request: &SwapRequest) -> Result<SwapRound, SwapError> {
        let inner = &*self.0;
        let Checked { ask, native } = check(request, &inner.tokens, &inner.round.venues)?;
        let ask = Arc::new(ask);
        let (said, prices) = tokio::join!(inner.round.ask(&ask), inner.own_prices(&ask, &native));
        let result = inner.appraised(&ask, &native, prices, said);
        let outcome = match &result {
            Ok(round) if round.failures.is_empty() => "complete",
            Ok(_) => "partial",
            Err(SwapError::NoLiquidity) => "no_liquidity",
            Err(_) => "failed",
        };
        counter!("tidegate_swap_rounds_total", "outcome" => outcome).increment(1);
        result
    }
}

impl Inner {
    /// Our own prices, as far as they can be had while the venues are asked.
    async fn own_prices(&self, ask: &QuoteAsk, native: &Token) -> OwnPrices {
        let coins: Vec<AssetId> = [&ask.sell, &ask.buy, native].iter().filter_map(|token| token.coin.clone()).collect();
        let found = timeout(self.round.deadline, self.prices.many(&coins)).await.unwrap_or_default();
        let now = self.round.clock.now();
        // A price on which nobody has agreed for long convicts and clears nobody.
        let vouches = |price: &Arc<Price>| !price.stale || price.age(now) <= self.recent;
        let vouching = found.into_iter().filter_map(|(coin, price)| Some((coin, price.ok().filter(vouches)?.amount)));
        let amounts: HashMap<AssetId, Decimal> = vouching.collect();
        let of = |token: &Token| amounts.get(token.coin.as_ref()?).copied();
        OwnPrices { sell: of(&ask.sell), buy: of(&ask.buy), native: of(native) }
    }

    fn appraised(
        &self,
        ask: &QuoteAsk,
        native: &Token,
        prices: OwnPrices,
        said: Vec<Said>,
    ) -> Result<SwapRound, SwapError> {
        let gas_price = said.iter().filter_map(|said| said.answer.as_ref().ok()?.gas.price).max();
        let appraiser = Appraiser { ask, native, prices, gas_price, quote_lifetime: self.quote_lifetime };
        let (mut quotes, mut failures) = (Vec::new(), Vec::new());
        for Said { provider, simulated, at, answer } in said {
            match answer {
                Ok(quote) => quotes.push(appraiser.appraise(&Given { provider, simulated, at }, quote)),
                Err(error) => failures.push(failure(provider, &error)),
            }
        }
        count(&quotes, &failures);
        if quotes.is_empty() {
            return Err(no_quote(failures));
        }
        let ranked_by = rank(&mut quotes);
        Ok(SwapRound { quotes, failures, ranked_by })
    }
}

fn failure(provider: &'static str, error: &VenueError) -> SwapFailure {
    let retry_after = match error {
        VenueError::NoLiquidity => None,
        VenueError::Call(error) => CallError::retry_after(error),
    };
    SwapFailure { provider: provider.into(), code: error.into(), retry_after }
}

/// Only where every venue says so is there no liquidity: one that failed might have had it.
fn no_quote(failures: Vec<SwapFailure>) -> SwapError {
    if failures.iter().all(|failure| failure.code == FailureCode::NoLiquidity) {
        return SwapError::NoLiquidity;
    }
    SwapError::Unavailable { retry_after: failures.iter().filter_map(|failure| failure.retry_after).min(), failures }
}

fn count(quotes: &[SwapQuote], failures: &[SwapFailure]) {
    let outcome = |quote: &SwapQuote| if quote.outlies_by().is_some() { "outlier" } else { "quoted" };
    let given = quotes.iter().map(|quote| (&quote.provider, outcome(quote)));
    let missing = failures.iter().map(|failure| (&failure.provider, failure.code.label()));
    for (venue, outcome) in given.chain(missing) {
        counter!("tidegate_swap_quotes_total", "venue" => Arc::clone(venue), "outcome" => outcome).increment(1);
    }
}
