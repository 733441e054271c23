//! One vendor's stand-in: its prices, its faults, and what it was asked.

use std::{collections::VecDeque, sync::Arc};

use axum::response::Response;
use parking_lot::Mutex;

use super::{
    Fault, Faults, Vendor,
    exchange::Swap,
    walk::{Quote, Walks},
};
use crate::{
    market::Catalogue,
    model::{AssetId, Clock, Decimal, Units},
};

/// The most calls that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// A vendor's stand-in; clones share it.
#[derive(Clone)]
pub(super) struct Stand {
    pub(super) vendor: Vendor,
    pub(super) catalogue: Catalogue,
    pub(super) faults: Faults,
    pub(super) clock: Clock,
    walks: Arc<Mutex<Walks>>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    count: usize,
    coins: VecDeque<usize>,
}

/// A coin as the vendor's answer has it; without an amount, its price is `null`.
pub(super) struct Listed {
    pub(super) coin: AssetId,
    pub(super) amount: Option<Decimal>,
    pub(super) quote: Quote,
}

impl Stand {
    pub(super) fn new(vendor: Vendor, catalogue: Catalogue, clock: Clock, walks: Arc<Mutex<Walks>>) -> Self {
        Self { vendor, catalogue, faults: Faults::default(), clock, walks, calls: Arc::default() }
    }

    /// Answers one call for these coins; those outside the catalogue are unknown to every stand-in.
    pub(super) async fn answer(&self, asked: &[AssetId], write: impl FnOnce(&[Listed]) -> String) -> Response {
        self.remember(asked.len());
        let fault = self.faults.current();
        let answer = write(&self.listed(asked, &fault));
        fault.apply(answer).await
    }

    /// Answers one call for a swap; `write` turns what comes out into the vendor's answer, and `none` says, in the vendor's
    /// words, that nothing does.
    pub(super) async fn answer_swap(
        &self,
        swap: Option<&Swap>,
        none: impl FnOnce() -> Response,
        write: impl FnOnce(Units) -> String,
    ) -> Response {
        self.remember(2);
        let fault = self.faults.current();
        let out = swap.filter(|_| fault != Fault::NoLiquidity).and_then(|swap| {
            let mut walks = self.walks.lock();
            swap.brings(|coin| walks.middle(coin), &fault)
        });
        match out {
            Some(out) => fault.apply(write(out)).await,
            None => none(),
        }
    }

    /// Answers one request with so many calls to a node.
    pub(super) async fn answer_calls(&self, calls: usize, answers: String) -> Response {
        self.remember(calls);
        self.faults.current().apply(answers).await
    }

    fn listed(&self, asked: &[AssetId], fault: &Fault) -> Vec<Listed> {
        let mut walks = self.walks.lock();
        let known = asked.iter().filter(|coin| self.catalogue.find(coin.as_str()).is_some());
        known
            .filter_map(|coin| {
                let (amount, quote) = fault.distort(coin, walks.quote(coin, self.vendor as usize))?;
                Some(Listed { coin: coin.clone(), amount, quote })
            })
            .collect()
    }

    fn remember(&self, coins: usize) {
        let mut calls = self.calls.lock();
        calls.count += 1;
        if calls.coins.len() == MAX_REMEMBERED {
            calls.coins.pop_front();
        }
        calls.coins.push_back(coins);
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.lock().count
    }

    pub(super) fn coins_per_call(&self) -> Vec<usize> {
        self.calls.lock().coins.iter().copied().collect()
    }
}
