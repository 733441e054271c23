//! 0x: many exchanges of the EVM chains in one route.
//!
//! `GET /swap/allowance-holder/price`, as documented at
//! <https://0x.org/docs/api-reference/openapi-json/swap/allowanceholder-getprice>: numbers are texts of digits, and
//! without liquidity `liquidityAvailable: false` stands alone.

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::{
    QuoteAsk, QuoteVenue, RouteStep, VenueError, VenueGas, VenueQuote,
    numbers::{basis_points, required, small, unreadable, whole},
};
use crate::{
    config::ZeroExConfig,
    market::wire::{Line, Raw, address},
    model::{ChainId, Token},
    resilience::{CallError, Reply},
};

pub(super) const NAME: &str = "zero_ex";
/// What stands for the native token where others have their address.
const NATIVE: &str = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE";
/// The chains that are asked about, and the numbers by which EVM chains know each other.
const CHAINS: [(&str, &str); 5] =
    [("ethereum", "1"), ("base", "8453"), ("arbitrum", "42161"), ("optimism", "10"), ("polygon", "137")];

pub(super) struct ZeroEx {
    line: Line,
    address: Url,
    headers: HeaderMap,
}

impl ZeroEx {
    pub(super) fn new(config: &ZeroExConfig, line: Line) -> Self {
        let address = address(&config.base_url, "swap/allowance-holder/price");
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("0x-version"), HeaderValue::from_static("v2"));
        let key = config.api_key.as_ref().and_then(|key| HeaderValue::from_str(key.expose()).ok());
        if let Some(mut key) = key {
            key.set_sensitive(true);
            headers.insert(HeaderName::from_static("0x-api-key"), key);
        }
        Self { line, address, headers }
    }
}

impl QuoteVenue for ZeroEx {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, chain: &ChainId) -> bool {
        number(chain).is_some()
    }

    fn quote<'a>(&'a self, ask: &'a QuoteAsk) -> BoxFuture<'a, Result<VenueQuote, VenueError>> {
        Box::pin(async move {
            let chain = number(ask.chain()).ok_or(VenueError::NoLiquidity)?;
            let mut url = self.address.clone();
            url.query_pairs_mut()
                .append_pair("chainId", chain)
                .append_pair("sellToken", token(&ask.sell))
                .append_pair("buyToken", token(&ask.buy))
                .append_pair("sellAmount", &ask.sell_amount.to_string())
                .append_pair("slippageBps", &ask.slippage_bps.to_string())
                .extend_pairs(ask.taker.as_deref().map(|taker| ("taker", taker)));
            let found = self.line.fetch(&url, &self.headers, |reply| read(reply, ask)).await?;
            found.ok_or(VenueError::NoLiquidity)
        })
    }
}

fn number(chain: &ChainId) -> Option<&'static str> {
    CHAINS.iter().find(|(id, _)| *id == chain.as_str()).map(|(_, number)| *number)
}

fn token(token: &Token) -> &str {
    token.address.as_deref().unwrap_or(NATIVE)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    liquidity_available: bool,
    block_number: Raw,
    sell_amount: Raw,
    buy_amount: Raw,
    min_buy_amount: Raw,
    gas: Raw,
    gas_price: Raw,
    total_network_fee: Raw,
    route: Option<Route>,
}

#[derive(Deserialize)]
struct Route {
    fills: Vec<Fill>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fill {
    source: String,
    proportion_bps: Raw,
}

/// The quote in a reply; none where there is no liquidity.
fn read(reply: &Reply, ask: &QuoteAsk) -> Result<Option<VenueQuote>, CallError> {
    let offer: Offer = reply.json()?;
    if !offer.liquidity_available {
        return Ok(None);
    }
    // The answer to another question is no answer.
    if required(&offer.sell_amount, "sellAmount")? != ask.sell_amount {
        return Err(unreadable("sellAmount"));
    }
    let buy_amount = required(&offer.buy_amount, "buyAmount")?;
    let min_received = required(&offer.min_buy_amount, "minBuyAmount")?;
    if min_received > buy_amount {
        return Err(unreadable("minBuyAmount"));
    }
    let step = |fill: Fill| {
        let portion_bps = basis_points(&fill.proportion_bps, "proportionBps")?;
        let portion_bps = portion_bps.ok_or_else(|| unreadable("proportionBps"))?;
        Ok(RouteStep { venue: fill.source.into(), portion_bps })
    };
    let quote = VenueQuote {
        buy_amount,
        min_received: Some(min_received),
        price_impact_bps: None,
        gas: VenueGas {
            units: small(&offer.gas, "gas")?,
            price: whole(&offer.gas_price, "gasPrice")?,
            fee: whole(&offer.total_network_fee, "totalNetworkFee")?,
        },
        route: offer.route.into_iter().flat_map(|route| route.fills).map(step).collect::<Result<_, CallError>>()?,
        block_number: Some(small(&offer.block_number, "blockNumber")?.ok_or_else(|| unreadable("blockNumber"))?),
        expires_at: None,
    };
    // So little is sold that nothing comes out.
    Ok((!buy_amount.0.is_zero()).then_some(quote))
}
