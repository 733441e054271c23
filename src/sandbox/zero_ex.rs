//! 0x's `GET /swap/allowance-holder/price`: texts of digits, and `liquidityAvailable: false` alone where there is none.

use std::collections::HashMap;

use axum::{
    Router,
    extract::RawQuery,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::get,
};

use super::{
    blocks::number_at,
    evm_node::BLOCK_MS,
    exchange::{Swap, arguments, token},
    faults::json,
    vendor::Stand,
};
use crate::{
    market::Tokens,
    model::{Timestamp, Units},
};

const NATIVE: &str = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE";
/// A number, our name of it, and what a unit of gas costs there, in wei.
const CHAINS: [(u32, &str, u64); 5] = [
    (1, "ethereum", 2_400_000_000),
    (10, "optimism", 1_200_000),
    (137, "polygon", 31_000_000_000),
    (8_453, "base", 9_000_000),
    (42_161, "arbitrum", 12_000_000),
];
const KEPT_BPS: u32 = 15;
const GAS_UNITS: u64 = 187_000;

struct Asked {
    sell_token: String,
    buy_token: String,
    sell_amount: Units,
    slippage_bps: u32,
    chain: &'static str,
    gas_price: u64,
}

impl Asked {
    /// None for what the vendor would refuse.
    fn read(headers: &HeaderMap, given: &HashMap<String, String>) -> Option<Self> {
        headers.get("0x-version").filter(|version| *version == "v2")?;
        let (_, chain, gas_price) =
            CHAINS.iter().find(|(number, ..)| given.get("chainId") == Some(&number.to_string()))?;
        Some(Self {
            sell_token: given.get("sellToken")?.clone(),
            buy_token: given.get("buyToken")?.clone(),
            sell_amount: given.get("sellAmount")?.parse().ok()?,
            slippage_bps: given.get("slippageBps").map_or(Ok(100), |points| points.parse()).ok()?,
            chain,
            gas_price: *gas_price,
        })
    }
}

pub(super) fn router(stand: Stand) -> Router {
    let tokens = Tokens::embedded();
    let answer =
        async move |headers: HeaderMap, RawQuery(query): RawQuery| match Asked::read(&headers, &arguments(query)) {
            Some(asked) => price(&stand, &tokens, &asked).await,
            None => json(StatusCode::BAD_REQUEST, r#"{"name":"INPUT_INVALID","message":"The input is invalid"}"#),
        };
    Router::new().route("/swap/allowance-holder/price", get(answer))
}

async fn price(stand: &Stand, tokens: &Tokens, asked: &Asked) -> Response {
    let named = |text: &str| token(tokens, asked.chain, text, NATIVE);
    let swap = named(&asked.sell_token).zip(named(&asked.buy_token));
    let swap = swap.map(|(sell, buy)| Swap { sell, buy, amount: asked.sell_amount, kept_bps: KEPT_BPS });
    let none = || json(StatusCode::OK, r#"{"liquidityAvailable":false}"#);
    let now = stand.clock.now();
    stand.answer_swap(swap.as_ref(), none, |out| write(asked, out, now)).await
}

fn write(asked: &Asked, out: Units, now: Timestamp) -> String {
    let least = out.basis_points(10_000_u32.saturating_sub(asked.slippage_bps)).unwrap_or_default();
    let fill = |source: &str, bps: u32| {
        serde_json::json!({
            "from": asked.sell_token, "to": asked.buy_token, "source": source, "proportionBps": bps.to_string(),
        })
    };
    serde_json::json!({
        "blockNumber": number_at(now, BLOCK_MS).to_string(),
        "buyAmount": out,
        "buyToken": asked.buy_token.to_lowercase(),
        "fees": { "integratorFee": null, "zeroExFee": null, "gasFee": null },
        "gas": GAS_UNITS.to_string(),
        "gasPrice": asked.gas_price.to_string(),
        "issues": { "allowance": null, "balance": null, "simulationIncomplete": false, "invalidSourcesPassed": [] },
        "liquidityAvailable": true,
        "minBuyAmount": least,
        "route": { "fills": [fill("Uniswap_V3", 7_000), fill("Curve", 3_000)], "tokens": [] },
        "sellAmount": asked.sell_amount,
        "sellToken": asked.sell_token.to_lowercase(),
        "tokenMetadata": null,
        "totalNetworkFee": (GAS_UNITS * asked.gas_price).to_string(),
        "zid": "0x111111111111111111111111",
    })
    .to_string()
}
