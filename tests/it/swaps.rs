//! Quotes for swaps by the front door, over stand-ins that can hang, lie, run dry and talk nonsense.
//!
//! Each chain of the sandbox has one venue; how several are ranked is tested in `src/market/tests/swaps.rs`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::sandbox::{Fault, Vendor};

use crate::harness::{Reply, TestApp};

const USDC: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const USDC_MINT: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";

const QUOTE: &str = "id provider chain sellToken { address symbol decimals } buyToken { address symbol decimals } \
    sellAmount buyAmount minReceived slippageBps priceImpactBps referencePrice \
    gas { units price feeNative feeUsd } netBuyValue route { venue portionBps } blockNumber quotedAt expiresAt \
    simulated issues { code message deviationBps }";

fn best() -> String {
    format!("query ($input: SwapInput!) {{ defiSwapQuote(input: $input) {{ {QUOTE} }} }}")
}

fn all() -> String {
    format!(
        "query ($input: SwapInput!) {{ swapQuotes(input: $input) {{ rankedBy best {{ provider }} all {{ {QUOTE} }} \
         failures {{ provider code message }} }} }}"
    )
}

fn one_ether() -> Value {
    json!({ "chain": "ethereum", "sellToken": "native", "buyToken": USDC, "sellAmount": "1000000000000000000" })
}

fn ten_sol() -> Value {
    json!({ "chain": "solana", "sellToken": "native", "buyToken": USDC_MINT, "sellAmount": "10000000000" })
}

async fn app() -> TestApp {
    let app = TestApp::builder().config(|config| {
        config.market.swap_deadline_ms = 800;
        config.resilience.retry.max_tries = 1;
    });
    app.start().await
}

async fn ask(app: &TestApp, document: &str, input: &Value) -> Reply {
    app.alice().post(&json!({ "query": document, "variables": { "input": input } })).await
}

async fn quote(app: &TestApp, input: &Value) -> Value {
    let json = ask(app, &best(), input).await.json();
    assert_eq!(json.get("errors"), None, "{json}");
    json["data"]["defiSwapQuote"].clone()
}

fn whole(value: &Value) -> u128 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).parse().unwrap()
}

fn decimal(value: &Value) -> f64 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).parse().unwrap()
}

#[tokio::test]
async fn ether_and_sol_are_quoted_in_the_sandbox() {
    let app = app().await;
    for (input, provider, symbol, dollars, impact) in
        [(one_ether(), "zero_ex", "ETH", 3_420.0, json!(null)), (ten_sol(), "jupiter", "SOL", 1_820.0, json!(2))]
    {
        let quote = quote(&app, &input).await;
        assert!(quote["id"].as_str().unwrap().starts_with("quote_"), "{quote}");
        assert_eq!((&quote["provider"], &quote["chain"]), (&json!(provider), &input["chain"]));
        assert_eq!((&quote["sellToken"]["symbol"], &quote["sellToken"]["address"]), (&json!(symbol), &Value::Null));
        let usdc = json!({ "address": input["buyToken"], "symbol": "USDC", "decimals": 6 });
        assert_eq!((&quote["buyToken"], &quote["sellAmount"]), (&usdc, &input["sellAmount"]));
        let (buy, least) = (whole(&quote["buyAmount"]), whole(&quote["minReceived"]));
        assert_eq!((least, &quote["slippageBps"]), (buy * 9_950 / 10_000, &json!(50)), "rounded down");
        let value = decimal(&quote["netBuyValue"]);
        assert!((value / dollars - 1.0).abs() < 0.22, "within the leash of the walk: {quote}");
        assert!(whole(&quote["gas"]["feeNative"]) > 0 && decimal(&quote["gas"]["feeUsd"]) > 0.0, "{quote}");
        assert!(whole(&quote["blockNumber"]) > 0 && decimal(&quote["referencePrice"]) > 100.0, "{quote}");
        assert_eq!((&quote["priceImpactBps"], &quote["simulated"]), (&impact, &json!(true)));
        assert_eq!(quote["issues"], json!([]), "near our own price: {quote}");
        let portions: i64 = quote["route"].as_array().unwrap().iter().map(|s| s["portionBps"].as_i64().unwrap()).sum();
        assert_eq!(portions, 10_000);
        let time = |field: &str| quote[field].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert_eq!(time("expiresAt") - time("quotedAt"), chrono::TimeDelta::seconds(15));

        let json = ask(&app, &all(), &input).await.json();
        let quotes = &json["data"]["swapQuotes"];
        assert_eq!((&quotes["rankedBy"], &quotes["failures"]), (&json!("NET_BUY_VALUE"), &json!([])), "{json}");
        assert_eq!(quotes["best"]["provider"], quotes["all"][0]["provider"]);
        assert_ne!(quotes["all"][0]["id"], quote["id"], "every quote is a new one");
    }
}

#[tokio::test]
async fn quotes_are_for_users_and_kept_by_nobody() {
    let app = app().await;
    let body = json!({ "query": best(), "variables": { "input": one_ether() } });
    app.anon().post(&body).await.refused(401, "UNAUTHENTICATED");
    app.anon()
        .post(&json!({ "query": all(), "variables": { "input": one_ether() } }))
        .await
        .refused(401, "UNAUTHENTICATED");
    assert_eq!(app.stand_ins.calls(Vendor::ZeroEx), 0, "nobody was asked");
    let reply = app.alice().post(&body).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(reply.header("ratelimit-policy").contains("\"Query.defiSwapQuote\";q=60;w=60"), "{:?}", reply.headers);
    app.alice().post(&body).await;
    assert_eq!(app.stand_ins.calls(Vendor::ZeroEx), 2, "each is asked for anew");
}

#[tokio::test]
async fn slippage_may_be_left_out_null_or_nothing() {
    let app = app().await;
    for (given, expected) in [(json!(null), 50), (json!(0), 0), (json!(5_000), 5_000)] {
        let mut input = one_ether();
        input["slippageBps"] = given;
        let quote = quote(&app, &input).await;
        assert_eq!(quote["slippageBps"].as_u64().map(u128::from), Some(expected));
        assert_eq!(whole(&quote["minReceived"]), whole(&quote["buyAmount"]) * (10_000 - expected) / 10_000);
    }
    let mut taken = one_ether();
    (taken["taker"], taken["buyToken"]) =
        (json!("0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"), json!(USDC.to_lowercase()));
    assert_eq!(quote(&app, &taken).await["buyToken"]["address"], USDC);
}

/// The extensions of the error with which a swap failed.
async fn failed(app: &TestApp, input: &Value) -> Value {
    let json = ask(app, &best(), input).await.json();
    assert_eq!(json["data"], Value::Null, "{json}");
    let also = ask(app, &all(), input).await.json();
    let (one, other) = (&json["errors"][0]["extensions"], &also["errors"][0]["extensions"]);
    assert_eq!((&one["code"], &one["failures"]), (&other["code"], &other["failures"]), "both fields fail alike");
    one.clone()
}

#[tokio::test]
async fn every_failure_of_a_venue_is_told_and_others_go_on() {
    for (fault, code) in [
        (Fault::Hang, "TIMEOUT"),
        (Fault::Latency { ms: 2_000 }, "TIMEOUT"),
        (Fault::Garbage, "UNDECODABLE"),
        (Fault::Disconnect, "UNAVAILABLE"),
        (Fault::ServerError { status: 503 }, "UNAVAILABLE"),
        (Fault::RateLimitedJson { retry_after: 30 }, "RATE_LIMITED"),
        (Fault::RateLimitedHtml { retry_after: 30 }, "RATE_LIMITED"),
    ] {
        let app = app().await;
        app.stand_ins.faults(Vendor::ZeroEx).set(fault.clone());
        let began = Instant::now();
        let told = failed(&app, &one_ether()).await;
        // Twice the deadline, with room; without it each would take a whole try of three seconds.
        assert!(began.elapsed() < Duration::from_secs(5), "{fault:?}: {:?}", began.elapsed());
        assert_eq!(told["code"], "UPSTREAM_UNAVAILABLE", "{fault:?}");
        assert_eq!(told["failures"], json!([{ "provider": "zero_ex", "code": code }]), "{fault:?}");
        let waits = told["retryAfterMs"].as_u64();
        assert_eq!(waits.is_some(), code == "RATE_LIMITED", "{fault:?}: {waits:?}");
        assert_eq!(quote(&app, &ten_sol()).await["provider"], "jupiter", "{fault:?}");
        app.stand_ins.faults(Vendor::ZeroEx).set(Fault::None);
    }
}

#[tokio::test]
async fn without_liquidity_there_is_nothing_to_be_found() {
    let app = app().await;
    for (vendor, input) in [(Vendor::ZeroEx, one_ether()), (Vendor::Jupiter, ten_sol())] {
        app.stand_ins.faults(vendor).set(Fault::NoLiquidity);
        // More often than any breaker would stand for: to have none is no failure.
        for _ in 0..6 {
            let told = failed(&app, &input).await;
            assert_eq!((&told["code"], &told["reason"]), (&json!("NOT_FOUND"), &json!("NO_LIQUIDITY")), "{vendor:?}");
        }
        app.stand_ins.faults(vendor).set(Fault::None);
        quote(&app, &input).await;
    }
    let wrapping = json!({
        "chain": "solana", "sellToken": "native", "buyToken": "So11111111111111111111111111111111111111112",
        "sellAmount": "1",
    });
    assert_eq!(failed(&app, &wrapping).await["reason"], "NO_LIQUIDITY");
}

#[tokio::test]
async fn a_venue_that_lies_is_found_out() {
    let app = app().await;
    for (factor, low, high) in [("1.1", 900, 1_030), ("0.9", -1_050, -950)] {
        app.stand_ins.faults(Vendor::ZeroEx).set(Fault::Lie { factor: factor.parse().unwrap() });
        let quote = quote(&app, &one_ether()).await;
        let issue = &quote["issues"][0];
        assert_eq!(issue["code"], "OUTLIER", "{quote}");
        let off = issue["deviationBps"].as_i64().unwrap();
        assert!((low..=high).contains(&off), "{quote}");
    }
}

#[tokio::test]
async fn without_prices_of_our_own_a_quote_is_unverified() {
    let app = app().await;
    for vendor in Vendor::SOURCES {
        app.stand_ins.faults(vendor).set(Fault::ServerError { status: 503 });
    }
    let json = ask(&app, &all(), &one_ether()).await.json();
    let quotes = &json["data"]["swapQuotes"];
    assert_eq!(quotes["rankedBy"], "BUY_AMOUNT", "{json}");
    let quote = &quotes["all"][0];
    assert_eq!(quote["issues"][0]["code"], "UNVERIFIED");
    assert_eq!((&quote["netBuyValue"], &quote["referencePrice"]), (&Value::Null, &Value::Null));
    assert!(whole(&quote["gas"]["feeNative"]) > 0);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_with_its_path() {
    let app = app().await;
    let with = |changes: Value| {
        let mut input = one_ether();
        input.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        input
    };
    for (input, fields) in [
        (with(json!({ "chain": "dogechain" })), vec!["chain"]),
        (with(json!({ "chain": "" })), vec!["chain"]),
        (with(json!({ "sellToken": "ETH" })), vec!["sellToken"]),
        (with(json!({ "sellToken": "" })), vec!["sellToken"]),
        (with(json!({ "buyToken": "0x12" })), vec!["buyToken"]),
        (with(json!({ "buyToken": format!("0x{}", "1".repeat(40)) })), vec!["buyToken"]),
        (with(json!({ "buyToken": USDC_MINT })), vec!["buyToken"]),
        (with(json!({ "buyToken": "native" })), vec!["buyToken"]),
        (with(json!({ "sellToken": USDC.to_lowercase() })), vec!["buyToken"]),
        (with(json!({ "sellAmount": "0" })), vec!["sellAmount"]),
        (with(json!({ "slippageBps": -1 })), vec!["slippageBps"]),
        (with(json!({ "slippageBps": 5_001 })), vec!["slippageBps"]),
        (with(json!({ "taker": USDC_MINT })), vec!["taker"]),
        (with(json!({ "taker": "" })), vec!["taker"]),
        (
            with(json!({ "sellToken": "ETH", "buyToken": "🚀", "sellAmount": 0, "slippageBps": 9_999, "taker": "me" })),
            vec!["sellToken", "buyToken", "taker", "sellAmount", "slippageBps"],
        ),
        (
            with(json!({ "chain": "?", "sellAmount": "0", "slippageBps": -5 })),
            vec!["chain", "sellAmount", "slippageBps"],
        ),
    ] {
        let told = failed(&app, &input).await;
        assert_eq!(told["code"], "BAD_USER_INPUT", "{input}");
        let found: Vec<&Value> = told["fields"].as_array().unwrap().iter().map(|field| &field["field"]).collect();
        let expected: Vec<Value> = fields.iter().map(|field| json!(["input", field])).collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{input}: {told}");
    }
    let told = failed(&app, &with(json!({ "sellToken": "ETH", "buyToken": "usdc" }))).await;
    let candidates: Vec<&Value> = told["fields"].as_array().unwrap().iter().map(|field| &field["candidates"]).collect();
    assert_eq!(candidates, [&json!(["native"]), &json!([USDC])], "{told}");
    let told = failed(&app, &with(json!({ "chain": "dogechain" }))).await;
    assert_eq!(told["fields"][0]["candidates"].as_array().unwrap().len(), 6, "{told}");
    assert_eq!(app.stand_ins.calls(Vendor::ZeroEx), 0, "nobody was asked");
}

#[tokio::test]
async fn amounts_are_whole_numbers_as_text() {
    let app = app().await;
    for bad in [
        json!("-1"),
        json!(-1),
        json!("1.5"),
        json!(1.5),
        json!("1e18"),
        json!("0x1"),
        json!("9".repeat(79)),
        json!(""),
    ] {
        let mut input = one_ether();
        input["sellAmount"] = bad.clone();
        let reply = ask(&app, &best(), &input).await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{bad}: {}", reply.text);
    }
    // More than there is of anything: amounts are exact all the same, and too large for dollars.
    let mut input = one_ether();
    input["sellAmount"] = json!("9".repeat(77));
    let quote = quote(&app, &input).await;
    assert_eq!((&quote["sellAmount"], &quote["netBuyValue"]), (&input["sellAmount"], &Value::Null));
    assert_eq!(quote["issues"][0]["code"], "UNVERIFIED", "{quote}");
    assert!(quote["buyAmount"].as_str().unwrap().len() > 60, "{quote}");
}

#[tokio::test]
async fn a_chain_that_no_venue_serves_is_refused_by_its_field() {
    let app = TestApp::builder().config(|config| config.market.jupiter.enabled = false).start().await;
    let told = failed(&app, &ten_sol()).await;
    assert_eq!((&told["code"], &told["fields"][0]["field"]), (&json!("BAD_USER_INPUT"), &json!(["input", "chain"])));
}

#[tokio::test]
async fn a_venue_that_keeps_failing_is_not_asked_for_a_while() {
    let app = app().await;
    app.stand_ins.faults(Vendor::Jupiter).set(Fault::ServerError { status: 500 });
    let mut told = Value::Null;
    for _ in 0..6 {
        told = ask(&app, &best(), &ten_sol()).await.json()["errors"][0]["extensions"].clone();
    }
    assert_eq!(told["failures"][0]["code"], "BREAKER_OPEN", "{told}");
    assert!(told["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0), "{told}");
    let names = app.admin().query("{ upstreams { name state } }").await.json();
    assert!(names["data"]["upstreams"].as_array().unwrap().contains(&json!({ "name": "jupiter", "state": "OPEN" })));
    assert!(
        app.metric("tidegate_swap_quotes_total").await > 0.0 && app.metric("tidegate_swap_rounds_total").await > 0.0
    );
}
