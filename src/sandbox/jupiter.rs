//! Jupiter's `GET /swap/v1/quote`: texts of digits, and status 400 with a code where there is no route.

use std::collections::HashMap;

use axum::{Router, extract::RawQuery, http::StatusCode, response::Response, routing::get};

use super::{
    blocks::number_at,
    exchange::{Swap, arguments, token},
    faults::json,
    solana_node::SLOT_MS,
    vendor::Stand,
};
use crate::{
    market::Tokens,
    model::{Timestamp, Units},
};

const KEPT_BPS: u32 = 8;

struct Asked {
    input_mint: String,
    output_mint: String,
    amount: Units,
    slippage_bps: u32,
}

impl Asked {
    /// None for what the vendor would refuse.
    fn read(given: &HashMap<String, String>) -> Option<Self> {
        Some(Self {
            input_mint: given.get("inputMint")?.clone(),
            output_mint: given.get("outputMint")?.clone(),
            amount: given.get("amount")?.parse().ok()?,
            slippage_bps: given.get("slippageBps").map_or(Ok(50), |points| points.parse()).ok()?,
        })
    }
}

pub(super) fn router(stand: Stand) -> Router {
    let tokens = Tokens::embedded();
    let answer = async move |RawQuery(query): RawQuery| match Asked::read(&arguments(query)) {
        Some(asked) => quote(&stand, &tokens, &asked).await,
        None => {
            json(StatusCode::BAD_REQUEST, r#"{"error":"Query parameter is invalid","errorCode":"INVALID_REQUEST"}"#)
        }
    };
    Router::new().route("/swap/v1/quote", get(answer))
}

async fn quote(stand: &Stand, tokens: &Tokens, asked: &Asked) -> Response {
    // The native token goes by its wrapped mint, which is in the list by itself.
    let named = |text: &str| token(tokens, "solana", text, "");
    let swap = named(&asked.input_mint).zip(named(&asked.output_mint));
    let swap = swap.map(|(sell, buy)| Swap { sell, buy, amount: asked.amount, kept_bps: KEPT_BPS });
    let none = || {
        let body = r#"{"error":"Could not find any route","errorCode":"COULD_NOT_FIND_ANY_ROUTE"}"#;
        json(StatusCode::BAD_REQUEST, body)
    };
    let now = stand.clock.now();
    stand.answer_swap(swap.as_ref(), none, |out| write(asked, out, now)).await
}

fn write(asked: &Asked, out: Units, now: Timestamp) -> String {
    let least = out.basis_points(10_000_u32.saturating_sub(asked.slippage_bps)).unwrap_or_default();
    let step = |label: &str, percent: u32| {
        serde_json::json!({
            "swapInfo": {
                "ammKey": "11111111111111111111111111111111",
                "label": label,
                "inputMint": asked.input_mint,
                "outputMint": asked.output_mint,
            },
            "percent": percent,
        })
    };
    serde_json::json!({
        "inputMint": asked.input_mint,
        "inAmount": asked.amount,
        "outputMint": asked.output_mint,
        "outAmount": out,
        "otherAmountThreshold": least,
        "swapMode": "ExactIn",
        "slippageBps": asked.slippage_bps,
        "platformFee": null,
        "priceImpactPct": "0.0002",
        "routePlan": [step("Raydium CLMM", 60), step("Whirlpool", 40)],
        "contextSlot": number_at(now, SLOT_MS),
        "timeTaken": 0.004,
    })
    .to_string()
}
