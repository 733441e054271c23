//! Every venue against recorded replies and the ways in which vendors fail, over a real connection.
//!
//! The replies are in `tests/fixtures/<venue>/`. A new venue adds its name to [`VENUES`] and its expected quote.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{QuoteAsk, QuoteVenue, RouteStep, VenueError, VenueGas, VenueQuote, build};
use crate::{
    chains::Chains,
    config::{MarketConfig, Secret},
    market::{
        Tokens,
        recorded::{Heads, callers, fixture, http, vendor},
    },
    model::{ChainId, Units},
    resilience::CallError,
};

const VENUES: [&str; 2] = ["zero_ex", "jupiter"];

struct Responder {
    venue: Arc<dyn QuoteVenue>,
    heads: Heads,
}

async fn responder(venue: &str, status: &str, kind: &str, body: &[u8]) -> Responder {
    configured(venue, http(status, kind, body), |_| {}).await
}

async fn configured(venue: &str, answer: Vec<u8>, change: impl FnOnce(&mut MarketConfig)) -> Responder {
    let (base, heads) = vendor(answer).await;
    let mut config = MarketConfig::defaults();
    (config.zero_ex.base_url, config.jupiter.base_url) = (base.clone(), base);
    config.zero_ex.api_key = Some(Secret::from("key-0"));
    change(&mut config);
    let (upstreams, outbound, clock) = callers();
    let built = build(&config, &upstreams, &outbound, &clock, &Chains::default());
    let found = built.into_iter().find(|built| built.adapter.name() == venue).unwrap();
    Responder { venue: found.adapter, heads }
}

async fn ok(venue: &str, body: &[u8]) -> Result<VenueQuote, VenueError> {
    responder(venue, "200 OK", "application/json", body).await.venue.quote(&ask(venue)).await
}

/// The swap that the recorded replies answer.
fn ask(venue: &str) -> QuoteAsk {
    let tokens = Tokens::embedded();
    let (chain, sell, buy) = match venue {
        "zero_ex" => {
            ("ethereum", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "0xdac17f958d2ee523a2206206994597c13d831ec7")
        }
        _ => ("solana", "native", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
    };
    let chain = tokens.chain(chain).unwrap();
    let token = |text| chain.find(text).unwrap().clone();
    let sell_amount = Units::from(100_000_000_u64);
    QuoteAsk { sell: token(sell), buy: token(buy), sell_amount, slippage_bps: 100, taker: None }
}

fn units(text: &str) -> Units {
    text.parse().unwrap()
}

fn route(steps: &[(&str, u32)]) -> Vec<RouteStep> {
    steps.iter().map(|(venue, portion_bps)| RouteStep { venue: (*venue).into(), portion_bps: *portion_bps }).collect()
}

#[tokio::test]
async fn recorded_replies_are_read_exactly() {
    let zero_ex = VenueQuote {
        buy_amount: units("100037537"),
        min_received: Some(units("99037162")),
        price_impact_bps: None,
        gas: VenueGas { units: Some(288_079), price: Some(units("7062490000")), fee: Some(units("2034555056710000")) },
        route: route(&[("SolidlyV3", 7_500), ("Curve", 2_500)]),
        block_number: Some(20_114_676),
        expires_at: None,
    };
    let jupiter = VenueQuote {
        buy_amount: units("16198753"),
        min_received: Some(units("16117760")),
        price_impact_bps: Some(2),
        gas: VenueGas { units: None, price: None, fee: Some(units("5000")) },
        route: route(&[("Meteora DLMM", 6_000), ("Whirlpool", 4_000)]),
        block_number: Some(299_283_763),
        expires_at: None,
    };
    let bare = VenueQuote { gas: VenueGas::default(), route: Vec::new(), ..zero_ex.clone() };
    let sparse = VenueQuote {
        price_impact_bps: None,
        block_number: None,
        route: route(&[("unnamed", 10_000)]),
        ..jupiter.clone()
    };
    for (venue, reply, expected) in [
        ("zero_ex", "ok", Ok(zero_ex)),
        ("zero_ex", "sparse", Ok(bare)),
        ("zero_ex", "none", Err(VenueError::NoLiquidity)),
        ("jupiter", "ok", Ok(jupiter)),
        ("jupiter", "sparse", Ok(sparse)),
    ] {
        assert_eq!(ok(venue, &fixture(venue, &format!("{reply}.json"))).await, expected, "{venue} {reply}");
    }
}

#[tokio::test]
async fn numbers_that_cannot_be_money_cost_the_quote() {
    let above = format!("{}0", ruint::aliases::U256::MAX);
    let malformed =
        [json!("-1"), json!(-1), json!("1.5"), json!(1.5), json!("1e9"), json!(above), json!("many"), json!({})];
    for (venue, fields, bare) in [
        (
            "zero_ex",
            &["buyAmount", "minBuyAmount", "sellAmount", "blockNumber", "gas", "gasPrice", "totalNetworkFee"][..],
            &["buyAmount", "minBuyAmount", "sellAmount", "blockNumber"][..],
        ),
        (
            "jupiter",
            &["inAmount", "outAmount", "otherAmountThreshold", "contextSlot"],
            &["inAmount", "outAmount", "otherAmountThreshold", "routePlan"],
        ),
    ] {
        let good: Value = serde_json::from_slice(&fixture(venue, "ok.json")).unwrap();
        let mut bad: Vec<(String, Value)> = Vec::new();
        for field in fields {
            for value in &malformed {
                let mut reply = good.clone();
                reply[*field] = value.clone();
                bad.push((format!("{field} = {value}"), reply));
            }
        }
        for field in bare {
            let mut reply = good.clone();
            reply.as_object_mut().unwrap().remove(*field);
            bad.push((format!("no {field}"), reply));
        }
        for (what, reply) in bad {
            let got = ok(venue, reply.to_string().as_bytes()).await;
            assert!(matches!(got, Err(VenueError::Call(CallError::Decode { .. }))), "{venue} {what}: {got:?}");
        }
    }
}

#[tokio::test]
async fn answers_that_contradict_the_question_or_themselves_are_refused() {
    for (venue, pointer, value) in [
        ("zero_ex", "/sellAmount", json!("100000001")),
        ("zero_ex", "/minBuyAmount", json!("100037538")),
        ("zero_ex", "/route/fills/0/proportionBps", json!("10001")),
        ("zero_ex", "/route/fills/0/proportionBps", json!(null)),
        ("jupiter", "/inAmount", json!("1")),
        ("jupiter", "/otherAmountThreshold", json!("16198754")),
        ("jupiter", "/routePlan/0/percent", json!(101)),
        ("jupiter", "/routePlan/0/percent", json!(null)),
        ("jupiter", "/priceImpactPct", json!("NaN")),
    ] {
        let mut reply: Value = serde_json::from_slice(&fixture(venue, "ok.json")).unwrap();
        *reply.pointer_mut(pointer).unwrap() = value.clone();
        let got = ok(venue, reply.to_string().as_bytes()).await;
        assert!(matches!(got, Err(VenueError::Call(CallError::Decode { .. }))), "{venue} {pointer} {value}: {got:?}");
    }
}

#[tokio::test]
async fn nothing_that_comes_out_is_no_liquidity() {
    for (venue, out, least) in
        [("zero_ex", "buyAmount", "minBuyAmount"), ("jupiter", "outAmount", "otherAmountThreshold")]
    {
        let mut reply: Value = serde_json::from_slice(&fixture(venue, "ok.json")).unwrap();
        (reply[out], reply[least]) = (json!("0"), json!("0"));
        assert_eq!(ok(venue, reply.to_string().as_bytes()).await, Err(VenueError::NoLiquidity), "{venue}");
    }
    for reply in ["none.json", "not_tradable.json"] {
        let responder = responder("jupiter", "400 Bad Request", "application/json", &fixture("jupiter", reply)).await;
        assert_eq!(responder.venue.quote(&ask("jupiter")).await, Err(VenueError::NoLiquidity), "{reply}");
    }
    // To wrap the native token is no swap: nobody is asked.
    let responder = responder("jupiter", "200 OK", "application/json", &fixture("jupiter", "ok.json")).await;
    let tokens = Tokens::embedded();
    let wrapped = tokens.chain("solana").unwrap().find("So11111111111111111111111111111111111111112").unwrap().clone();
    let ask = QuoteAsk { buy: wrapped, ..ask("jupiter") };
    assert_eq!(responder.venue.quote(&ask).await, Err(VenueError::NoLiquidity));
    assert!(responder.heads.lock().is_empty());
}

#[tokio::test]
async fn every_failure_is_named() {
    fn limited(error: &CallError) -> bool {
        matches!(error, CallError::RateLimited { .. })
    }
    fn undecodable(error: &CallError) -> bool {
        matches!(error, CallError::Decode { .. })
    }
    fn status<const CODE: u16>(error: &CallError) -> bool {
        matches!(error, CallError::Upstream { status: Some(code), .. } if *code == CODE)
    }
    type Case = (&'static str, &'static str, &'static str, fn(&CallError) -> bool);
    let cases: [Case; 7] = [
        ("429.json", "429 Too Many Requests", "application/json", limited),
        ("429.html", "429 Too Many Requests", "text/html; charset=UTF-8", limited),
        ("404.json", "404 Not Found", "application/json", status::<404>),
        ("500.json", "500 Internal Server Error", "application/json", status::<500>),
        ("wrong_key.json", "401 Unauthorized", "application/json", status::<401>),
        ("garbage.txt", "200 OK", "application/json", undecodable),
        ("truncated.json", "200 OK", "application/json", undecodable),
    ];
    for venue in VENUES {
        for (name, line, kind, expected) in cases {
            let responder = responder(venue, line, kind, &fixture(venue, name)).await;
            let got = responder.venue.quote(&ask(venue)).await.unwrap_err();
            assert!(matches!(&got, VenueError::Call(error) if expected(error)), "{venue} {name}: {got:?}");
        }
    }
    let responder =
        responder("jupiter", "400 Bad Request", "application/json", &fixture("jupiter", "invalid.json")).await;
    let got = responder.venue.quote(&ask("jupiter")).await.unwrap_err();
    assert!(
        matches!(&got, VenueError::Call(error) if status::<400>(error)),
        "what we asked wrong is not for lack: {got:?}"
    );
}

#[tokio::test]
async fn requests_are_as_documented() {
    for (venue, expected) in [
        (
            "zero_ex",
            "GET /root/swap/allowance-holder/price?chainId=1&sellToken=0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48\
             &buyToken=0xdAC17F958D2ee523a2206206994597C13D831ec7&sellAmount=100000000&slippageBps=100 HTTP/1.1\r\n",
        ),
        (
            "jupiter",
            "GET /root/swap/v1/quote?inputMint=So11111111111111111111111111111111111111112\
             &outputMint=EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v&amount=100000000&slippageBps=100\
             &swapMode=ExactIn HTTP/1.1\r\n",
        ),
    ] {
        let responder = responder(venue, "200 OK", "application/json", &fixture(venue, "ok.json")).await;
        responder.venue.quote(&ask(venue)).await.unwrap();
        let heads = responder.heads.lock();
        assert_eq!(heads.len(), 1, "{venue}");
        assert!(heads[0].starts_with(expected), "{venue}: {}", heads[0]);
        let (versioned, with_key) =
            (heads[0].contains("0x-version: v2\r\n"), heads[0].contains("0x-api-key: key-0\r\n"));
        assert_eq!((versioned, with_key), (venue == "zero_ex", venue == "zero_ex"), "{}", heads[0]);
        assert!(!heads[0].contains("x-api-key: \r\n") && heads[0].contains("api-key") == (venue == "zero_ex"));
    }
    let taker: Arc<str> = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045".into();
    let responder = responder("zero_ex", "200 OK", "application/json", &fixture("zero_ex", "ok.json")).await;
    responder.venue.quote(&QuoteAsk { taker: Some(Arc::clone(&taker)), ..ask("zero_ex") }).await.unwrap();
    assert!(responder.heads.lock()[0].contains(&format!("&taker={taker} HTTP")));
}

#[tokio::test]
async fn jupiter_gets_its_key_where_there_is_one() {
    let answer = http("200 OK", "application/json", &fixture("jupiter", "ok.json"));
    let responder = configured("jupiter", answer, |config| config.jupiter.api_key = Some(Secret::from("key-1"))).await;
    responder.venue.quote(&ask("jupiter")).await.unwrap();
    assert!(responder.heads.lock()[0].contains("x-api-key: key-1\r\n"));
}

#[tokio::test]
async fn venues_are_asked_about_the_chains_that_they_serve() {
    for venue in VENUES {
        let responder = responder(venue, "200 OK", "application/json", b"").await;
        for chain in ["ethereum", "base", "arbitrum", "optimism", "polygon", "solana", "bitcoin"] {
            let expected = match chain {
                "solana" => venue == "jupiter",
                "bitcoin" => false,
                _ => venue == "zero_ex",
            };
            assert_eq!(responder.venue.serves(&ChainId::new(chain).unwrap()), expected, "{venue} {chain}");
        }
    }
}

#[tokio::test]
async fn zero_ex_is_asked_with_a_key_or_as_a_stand_in() {
    let names = |change: fn(&mut MarketConfig)| {
        let mut config = MarketConfig::defaults();
        // It has no upstream of its own, but its chain's.
        config.uniswap.enabled = false;
        change(&mut config);
        let (upstreams, outbound, clock) = callers();
        let built = build(&config, &upstreams, &outbound, &clock, &Chains::default());
        assert_eq!(upstreams.list().len(), built.len(), "who is not asked is no upstream");
        built.iter().map(|venue| venue.adapter.name()).collect::<Vec<_>>()
    };
    assert_eq!(names(|_| {}), ["jupiter"]);
    assert_eq!(names(|config| config.zero_ex.simulated = true), VENUES);
    assert_eq!(names(|config| config.zero_ex.api_key = Some("key".into())), VENUES);
    assert_eq!(names(|config| (config.zero_ex.simulated, config.zero_ex.enabled) = (true, false)), ["jupiter"]);
    assert_eq!(names(|config| config.jupiter.enabled = false), [""; 0]);
}
