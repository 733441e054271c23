//! Jupiter: the exchanges of Solana in one route.
//!
//! `GET /swap/v1/quote`, as documented at <https://dev.jup.ag/docs/swap-api/get-quote>: amounts are texts of digits, the
//! price impact is a share, and no route is status 400 with a code. It says nothing about the network's fee.

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::{
    QuoteAsk, QuoteVenue, RouteStep, VenueError, VenueGas, VenueQuote,
    numbers::{basis_points, loss, required, small, unreadable},
};
use crate::{
    config::JupiterConfig,
    market::wire::{Line, Raw, address},
    model::{ChainId, Token, Units},
    resilience::{CallError, Reply},
};

pub(super) const NAME: &str = "jupiter";
const CHAIN: &str = "solana";
/// Jupiter takes the wrapped token for the native one, and wraps and unwraps it on the way.
const WRAPPED_SOL: &str = "So11111111111111111111111111111111111111112";
/// Lamports for the one signature of a swap: the network's own rule. What is paid for precedence comes on top, and is up
/// to whoever swaps.
const SIGNATURE_FEE: u64 = 5_000;
/// Codes that say that there is nothing to swap with, and no fault.
const NO_ROUTE: [&str; 3] = ["COULD_NOT_FIND_ANY_ROUTE", "NO_ROUTES_FOUND", "TOKEN_NOT_TRADABLE"];

pub(super) struct Jupiter {
    line: Line,
    address: Url,
    headers: HeaderMap,
}

impl Jupiter {
    pub(super) fn new(config: &JupiterConfig, line: Line) -> Self {
        let address = address(&config.base_url, "swap/v1/quote");
        let key = config.api_key.as_ref().and_then(|key| HeaderValue::from_str(key.expose()).ok());
        let headers = key.map(|mut key| {
            key.set_sensitive(true);
            (HeaderName::from_static("x-api-key"), key)
        });
        Self { line, address, headers: headers.into_iter().collect() }
    }
}

impl QuoteVenue for Jupiter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, chain: &ChainId) -> bool {
        chain.as_str() == CHAIN
    }

    fn quote<'a>(&'a self, ask: &'a QuoteAsk) -> BoxFuture<'a, Result<VenueQuote, VenueError>> {
        Box::pin(async move {
            let (from, to) = (mint(&ask.sell), mint(&ask.buy));
            if from == to {
                // To wrap is no swap.
                return Err(VenueError::NoLiquidity);
            }
            let mut url = self.address.clone();
            url.query_pairs_mut()
                .append_pair("inputMint", from)
                .append_pair("outputMint", to)
                .append_pair("amount", &ask.sell_amount.to_string())
                .append_pair("slippageBps", &ask.slippage_bps.to_string())
                .append_pair("swapMode", "ExactIn");
            let found = self.line.fetch(&url, &self.headers, |reply| read(reply, ask)).await;
            found.map_err(refusal)?.ok_or(VenueError::NoLiquidity)
        })
    }
}

fn mint(token: &Token) -> &str {
    token.address.as_deref().unwrap_or(WRAPPED_SOL)
}

/// The code stands within the excerpt of the body that an error carries, as these bodies are short.
fn refusal(error: CallError) -> VenueError {
    let no_route = matches!(&error, CallError::Upstream { status: Some(400 | 404), detail }
        if NO_ROUTE.iter().any(|code| detail.contains(code)));
    if no_route { VenueError::NoLiquidity } else { VenueError::Call(error) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quote {
    in_amount: Raw,
    out_amount: Raw,
    other_amount_threshold: Raw,
    price_impact_pct: Raw,
    route_plan: Vec<Step>,
    context_slot: Raw,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    swap_info: SwapInfo,
    percent: Raw,
    bps: Raw,
}

#[derive(Deserialize)]
struct SwapInfo {
    label: Option<String>,
}

/// The quote in a reply; none where nothing would come out.
fn read(reply: &Reply, ask: &QuoteAsk) -> Result<Option<VenueQuote>, CallError> {
    let quote: Quote = reply.json()?;
    // The answer to another question is no answer.
    if required(&quote.in_amount, "inAmount")? != ask.sell_amount {
        return Err(unreadable("inAmount"));
    }
    let buy_amount = required(&quote.out_amount, "outAmount")?;
    let min_received = required(&quote.other_amount_threshold, "otherAmountThreshold")?;
    if min_received > buy_amount {
        return Err(unreadable("otherAmountThreshold"));
    }
    let read = VenueQuote {
        buy_amount,
        min_received: Some(min_received),
        price_impact_bps: loss(&quote.price_impact_pct, "priceImpactPct")?,
        gas: VenueGas { units: None, price: None, fee: Some(Units::from(SIGNATURE_FEE)) },
        route: quote.route_plan.into_iter().map(step).collect::<Result<_, CallError>>()?,
        block_number: small(&quote.context_slot, "contextSlot")?,
        expires_at: None,
    };
    Ok((!buy_amount.0.is_zero()).then_some(read))
}

/// Newer replies say hundredths of a percent, older ones percent.
fn step(step: Step) -> Result<RouteStep, CallError> {
    let percent = small(&step.percent, "percent")?.filter(|percent| *percent <= 100);
    let from_percent = percent.and_then(|percent| u32::try_from(percent * 100).ok());
    let portion_bps = basis_points(&step.bps, "bps")?.or(from_percent).ok_or_else(|| unreadable("percent"))?;
    Ok(RouteStep { venue: step.swap_info.label.unwrap_or_else(|| "unnamed".into()).into(), portion_bps })
}
