//! Asks every source at once, and knows when to stop waiting.
//!
//! A call that is no longer waited for is left to end by itself, bounded by its policy's deadline: a call that were
//! cancelled could never time out, and a source that hangs would never trip its breaker.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep_until;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Coin,
    aggregate::{Answer, Seat, Vote},
    sources::{Observation, Source},
};
use crate::{
    config::MarketConfig,
    model::{AssetId, Clock},
    resilience::CallError,
};

/// The sources, asked together.
pub(super) struct Panel {
    sources: Vec<Source>,
    round_timeout: Duration,
    straggler_grace: Duration,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What every source has answered so far.
pub(super) struct Answers {
    /// Per source, in the panel's order. A coin without an entry is not answered yet.
    by_source: Vec<HashMap<AssetId, Answer>>,
    seats: Vec<Seat>,
}

type Called = Result<HashMap<AssetId, Observation>, CallError>;

impl Panel {
    pub(super) fn new(
        sources: Vec<Source>,
        config: &MarketConfig,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let round_timeout = Duration::from_millis(config.round_timeout_ms);
        let straggler_grace = Duration::from_millis(config.straggler_grace_ms);
        Self { sources, round_timeout, straggler_grace, clock, tasks, stop }
    }

    /// Asks about distinct coins. Waits for every source, but not past the round's timeout, and once `settled` says
    /// that the answers will do, not past the grace for stragglers.
    pub(super) async fn ask(&self, coins: &[Coin], settled: impl Fn(&Answers) -> bool) -> Answers {
        let mut answers = self.unasked(coins);
        let mut calls: FuturesUnordered<_> = self
            .sources
            .iter()
            .enumerate()
            .flat_map(|(place, source)| {
                let supported: Vec<Coin> = coins.iter().filter(|coin| source.adapter.supports(coin)).cloned().collect();
                let batches: Vec<_> =
                    supported.chunks(source.adapter.batch_limit()).map(|batch| self.call(source, batch)).collect();
                batches.into_iter().map(move |call| async move { (place, call.await) })
            })
            .collect();
        let mut waits_until = self.clock.instant() + self.round_timeout;
        let mut will_do = false;
        while !calls.is_empty() {
            tokio::select! {
                biased;
                Some((place, (batch, called))) = calls.next() => answers.record(place, &batch, called),
                () = sleep_until(waits_until) => break,
            }
            if !will_do && settled(&answers) {
                will_do = true;
                waits_until = waits_until.min(self.clock.instant() + self.straggler_grace);
            }
        }
        answers
    }

    /// Starts a call that goes on when nobody waits for it any more.
    fn call(&self, source: &Source, batch: &[Coin]) -> impl Future<Output = (Arc<[Coin]>, Called)> + use<> {
        let batch: Arc<[Coin]> = batch.into();
        let (adapter, asked, stop) = (Arc::clone(&source.adapter), Arc::clone(&batch), self.stop.clone());
        let task = self.tasks.spawn(async move { stop.run_until_cancelled(adapter.quotes(&asked)).await });
        let lost = |detail: &str| Err(CallError::Upstream { status: None, detail: detail.into() });
        async move {
            let called = match task.await {
                Ok(Some(called)) => called,
                Ok(None) => lost("the server is stopping"),
                Err(_) => lost("the source's adapter panicked"),
            };
            (batch, called)
        }
    }

    fn unasked(&self, coins: &[Coin]) -> Answers {
        let unsupported = |source: &Source| -> HashMap<AssetId, Answer> {
            let unlisted = coins.iter().filter(|coin| !source.adapter.supports(coin));
            unlisted.map(|coin| (coin.id.clone(), Answer::Unsupported)).collect()
        };
        let seat = |source: &Source| Seat {
            name: source.adapter.name(),
            weight: source.weight,
            max_age: TimeDelta::from_std(source.max_age).unwrap_or(TimeDelta::MAX),
            simulated: source.simulated,
        };
        Answers {
            by_source: self.sources.iter().map(unsupported).collect(),
            seats: self.sources.iter().map(seat).collect(),
        }
    }
}

impl Answers {
    fn record(&mut self, place: usize, batch: &[Coin], called: Called) {
        let mut called = called;
        for coin in batch {
            let answer = match &mut called {
                Ok(quotes) => quotes.remove(&coin.id).map_or(Answer::Missing, Answer::Quote),
                Err(error) => Answer::Failed(error.clone()),
            };
            self.by_source[place].insert(coin.id.clone(), answer);
        }
    }

    /// What each source says about a coin, in the panel's order.
    pub(super) fn votes(&self, coin: &AssetId) -> Vec<Vote> {
        let seated = self.seats.iter().zip(&self.by_source);
        seated
            .map(|(seat, answers)| Vote { seat: *seat, answer: answers.get(coin).cloned().unwrap_or(Answer::Late) })
            .collect()
    }
}
