//! From what venues said to quotes that can be compared: fees, values by our own prices, and what speaks against each.

use std::time::Duration;

use uuid::Uuid;

use super::{
    quote::{Gas, Issue, IssueCode, SwapQuote},
    value::{Round, deviation_bps, in_dollars},
};
use crate::{
    market::venues::{QuoteAsk, VenueGas, VenueQuote},
    model::{Decimal, Timestamp, Token, Units},
};

/// How far a quote may be off our own price, in hundredths of a percent.
const OUTLIER_BPS: u64 = 500;
/// A reference price is there to be looked at; more digits would say nothing.
const REFERENCE_DIGITS: u32 = 12;

/// Our own prices of one whole token each, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OwnPrices {
    pub(super) sell: Option<Decimal>,
    pub(super) buy: Option<Decimal>,
    pub(super) native: Option<Decimal>,
}

/// What quotes of one round are held against.
pub(super) struct Appraiser<'a> {
    pub(super) ask: &'a QuoteAsk,
    pub(super) native: &'a Token,
    pub(super) prices: OwnPrices,
    /// For venues that know how much gas a swap uses, and not what gas costs: a chain has one price, whoever says it.
    /// The highest that was said, so that nobody gains by leaving it out.
    pub(super) gas_price: Option<Units>,
    pub(super) quote_lifetime: Duration,
}

/// Who gave a quote, and when.
pub(super) struct Given {
    pub(super) provider: &'static str,
    pub(super) simulated: bool,
    pub(super) at: Timestamp,
}

impl Appraiser<'_> {
    pub(super) fn appraise(&self, given: &Given, said: VenueQuote) -> SwapQuote {
        let ask = self.ask;
        let gas = self.gas(&said.gas);
        // Rounded down: the chain would not hold the swap to a part of a base unit.
        let least = said.buy_amount.basis_points(10_000 - ask.slippage_bps).unwrap_or_default();
        SwapQuote {
            id: Uuid::now_v7(),
            provider: given.provider.into(),
            sell: ask.sell.clone(),
            buy: ask.buy.clone(),
            sell_amount: ask.sell_amount,
            buy_amount: said.buy_amount,
            min_received: said.min_received.unwrap_or(least),
            slippage_bps: ask.slippage_bps,
            price_impact_bps: said.price_impact_bps,
            reference_price: self.reference_price(),
            net_buy_value: self.net_value(said.buy_amount, &gas),
            issues: self.issues(said.buy_amount, &gas),
            gas,
            route: said.route,
            block_number: said.block_number,
            quoted_at: given.at,
            expires_at: said.expires_at.unwrap_or(given.at + self.quote_lifetime),
            simulated: given.simulated,
        }
    }

    fn gas(&self, said: &VenueGas) -> Gas {
        let price = said.price.or(said.units.and(self.gas_price));
        let worked_out = || price?.checked_mul(said.units?);
        let fee_native = said.fee.or_else(worked_out);
        let in_dollars = |fee| in_dollars(fee, self.native.decimals, self.prices.native?, Round::Up);
        Gas { units: said.units, price, fee_native, fee_usd: fee_native.and_then(in_dollars) }
    }

    fn reference_price(&self) -> Option<Decimal> {
        let price = self.prices.sell?.checked_div(self.prices.buy?)?;
        price.round_sf(REFERENCE_DIGITS).map(|price| price.normalize())
    }

    /// May be below zero: a swap that costs more than it brings.
    fn net_value(&self, buy_amount: Units, gas: &Gas) -> Option<Decimal> {
        let value = in_dollars(buy_amount, self.ask.buy.decimals, self.prices.buy?, Round::Down)?;
        value.checked_sub(gas.fee_usd?).map(|net| net.normalize())
    }

    fn issues(&self, buy_amount: Units, gas: &Gas) -> Vec<Issue> {
        let issue = |code, message: &str| Issue { code, message: message.into(), deviation_bps: None };
        let price_issue = match self.deviation(buy_amount) {
            None => Some(issue(IssueCode::Unverified, "this quote could not be held against a price of our own")),
            Some(bps) => (bps.unsigned_abs() > OUTLIER_BPS).then(|| outlier(bps)),
        };
        let unknown = || issue(IssueCode::GasUnknown, "the fee of the network is not known, so there is no net value");
        price_issue.into_iter().chain(gas.fee_native.is_none().then(unknown)).collect()
    }

    fn deviation(&self, buy_amount: Units) -> Option<i64> {
        let ask = self.ask;
        let given = in_dollars(ask.sell_amount, ask.sell.decimals, self.prices.sell?, Round::Down)?;
        let got = in_dollars(buy_amount, ask.buy.decimals, self.prices.buy?, Round::Down)?;
        deviation_bps(given, got)
    }
}

fn outlier(bps: i64) -> Issue {
    let than = if bps > 0 { "more" } else { "less" };
    let off = bps.unsigned_abs();
    let message = format!("brings {}.{:02} % {than} than by our own prices", off / 100, off % 100);
    Issue { code: IssueCode::Outlier, message, deviation_bps: Some(bps) }
}
