//! Asks every venue of a chain at once, and knows when to stop waiting.
//!
//! As with the price sources, a call that is no longer waited for is left to end by itself, bounded by its policy's
//! deadline: a call that were cancelled could never time out, and a venue that hangs would never trip its breaker.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep_until;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    market::venues::{QuoteAsk, Venue, VenueError, VenueQuote},
    model::{Clock, Timestamp},
    resilience::CallError,
};

/// The venues, asked together.
pub(super) struct Round {
    pub(super) venues: Vec<Venue>,
    pub(super) deadline: Duration,
    pub(super) clock: Clock,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// What a venue said, and when its answer arrived.
pub(super) struct Said {
    pub(super) provider: &'static str,
    pub(super) simulated: bool,
    pub(super) at: Timestamp,
    pub(super) answer: Result<VenueQuote, VenueError>,
}

impl Round {
    /// Asks every venue that serves the chain, in the order of the configuration. Whoever has not answered at the
    /// deadline has timed out.
    pub(super) async fn ask(&self, ask: &Arc<QuoteAsk>) -> Vec<Said> {
        let asked: Vec<&Venue> = self.venues.iter().filter(|venue| venue.adapter.serves(ask.chain())).collect();
        let mut answers: Vec<_> = asked.iter().map(|_| None).collect();
        let mut calls: FuturesUnordered<_> = asked
            .iter()
            .enumerate()
            .map(|(place, venue)| {
                let call = self.call(venue, ask);
                async move { (place, call.await) }
            })
            .collect();
        let deadline = self.clock.instant() + self.deadline;
        while !calls.is_empty() {
            tokio::select! {
                biased;
                Some((place, answer)) = calls.next() => answers[place] = Some((answer, self.clock.now())),
                () = sleep_until(deadline) => break,
            }
        }
        let said = asked.into_iter().zip(answers).map(|(venue, answer)| {
            let late = || (Err(CallError::Timeout.into()), self.clock.now());
            let (answer, at) = answer.unwrap_or_else(late);
            Said { provider: venue.adapter.name(), simulated: venue.simulated, at, answer }
        });
        said.collect()
    }

    /// Starts a call that goes on when nobody waits for it any more.
    fn call(&self, venue: &Venue, ask: &Arc<QuoteAsk>) -> impl Future<Output = Result<VenueQuote, VenueError>> + use<> {
        let (adapter, ask, stop) = (Arc::clone(&venue.adapter), Arc::clone(ask), self.stop.clone());
        let task = self.tasks.spawn(async move { stop.run_until_cancelled(adapter.quote(&ask)).await });
        let lost = |detail: &str| Err(CallError::Upstream { status: None, detail: detail.into() }.into());
        async move {
            match task.await {
                Ok(Some(answer)) => answer,
                Ok(None) => lost("the server is stopping"),
                Err(_) => lost("the venue's adapter panicked"),
            }
        }
    }
}
