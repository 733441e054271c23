//! Every source against recorded replies and the ways in which vendors fail, over a real connection.
//!
//! The replies are in `tests/fixtures/<source>/`. A new source adds its name to [`SOURCES`] and its expected quotes.

use std::sync::Arc;

use chrono::SubsecRound;

use super::{Observation, PriceSource, build};
use crate::{
    config::{MarketConfig, ResilienceConfig, Secret},
    market::{
        Catalogue, Coin,
        recorded::{Heads, asked_at, callers, fixture, http, vendor},
    },
    model::{AssetId, Chance, Clock, Decimal, Timestamp, parse_decimal},
    resilience::{CallError, Outbound, Upstreams},
};

const SOURCES: [&str; 3] = ["coingecko", "coinbase", "defillama"];

/// One vendor that gives the same answer to every request, and remembers the requests' heads.
struct Responder {
    source: Arc<dyn PriceSource>,
    heads: Heads,
}

async fn responder(source: &str, answer: Vec<u8>) -> Responder {
    configured(source, answer, |_| {}).await
}

async fn configured(source: &str, answer: Vec<u8>, change: impl FnOnce(&mut MarketConfig)) -> Responder {
    let (base, heads) = vendor(answer).await;
    let mut config = MarketConfig::defaults();
    config.coingecko.base_url = base.clone();
    config.coinbase.base_url = base.clone();
    config.defillama.base_url = base;
    change(&mut config);
    let (upstreams, outbound, clock) = callers();
    let built = build(&config, &upstreams, &outbound, &clock);
    let found = built.into_iter().find(|built| built.adapter.name() == source).unwrap();
    Responder { source: found.adapter, heads }
}

fn coins() -> Vec<Coin> {
    ["bitcoin", "shiba-inu"].map(|id| Catalogue::embedded().coin(&AssetId::new(id).unwrap())).into()
}

/// Amount, seconds of the observation, daily change, uncertainty and trust of bitcoin, then of shiba-inu.
type Row = Option<(Option<&'static str>, i64, Option<&'static str>, &'static str, &'static str)>;

fn row(quote: Row) -> Option<Observation> {
    let dec = |text| parse_decimal(text).unwrap();
    quote.map(|(amount, seconds, change, uncertainty, trust)| Observation {
        amount: amount.map(dec),
        observed_at: Timestamp::from_timestamp(seconds, 0).unwrap(),
        change24h: change.map(dec),
        uncertainty: dec(uncertainty),
        trust: dec(trust),
    })
}

#[tokio::test]
async fn recorded_replies_are_read_exactly() {
    let now = asked_at().timestamp();
    let gecko = Some((Some("67187.3358936566"), 1_711_356_300, Some("3.637278946773539"), "0", "1"));
    let base = Some((Some("67190.12"), now, Some("3.58129912345678"), "0.5", "1"));
    let llama = Some((Some("67185.01"), 1_711_356_280, None, "0", "0.99"));
    let rows: [(&str, &str, [Row; 2]); 12] = [
        ("coingecko", "ok", [gecko, Some((Some("0.000012"), 1_711_356_301, Some("-0.5"), "0", "1"))]),
        ("coingecko", "missing", [gecko, None]),
        (
            "coingecko",
            "null",
            [Some((Some("67187.3358936566"), now, None, "0", "1")), Some((None, now, None, "0", "1"))],
        ),
        ("coingecko", "none", [None, None]),
        ("coinbase", "ok", [base, Some((Some("0.000012"), now, Some("-0.5"), "0", "1"))]),
        ("coinbase", "missing", [base, None]),
        ("coinbase", "null", [base, Some((None, now, None, "0", "1"))]),
        ("coinbase", "none", [None, None]),
        ("defillama", "ok", [llama, Some((Some("0.000012000000000000001"), 1_711_356_281, None, "0", "0.9"))]),
        ("defillama", "missing", [llama, None]),
        ("defillama", "null", [llama, Some((None, 1_711_356_281, None, "0", "1"))]),
        ("defillama", "none", [None, None]),
    ];
    for (source, reply, expected) in rows {
        let body = fixture(source, &format!("{reply}.json"));
        let vendor = responder(source, http("200 OK", "application/json", &body)).await;
        let mut quotes = vendor.source.quotes(&coins()).await.unwrap();
        let whole_seconds =
            |quote: Observation| Observation { observed_at: quote.observed_at.trunc_subsecs(0), ..quote };
        let got: Vec<_> = coins().iter().map(|coin| quotes.remove(&coin.id).map(whole_seconds)).collect();
        assert_eq!(got, expected.map(row), "{source} {reply}");
        assert!(quotes.is_empty(), "{source} {reply}: {quotes:?}");
    }
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
        ("429.html", "200 OK", "text/html; charset=UTF-8", undecodable),
        ("garbage.txt", "200 OK", "application/json", undecodable),
        ("truncated.json", "200 OK", "application/json", undecodable),
    ];
    for source in SOURCES {
        for (name, line, kind, expected) in cases {
            let vendor = responder(source, http(line, kind, &fixture(source, name))).await;
            let error = vendor.source.quotes(&coins()).await.unwrap_err();
            assert!(expected(&error), "{source} {name} with {line}: {error:?}");
        }
        let whole = http("200 OK", "application/json", &fixture(source, "ok.json"));
        let cut_off = whole[..whole.len() - 20].to_vec();
        let error = responder(source, cut_off).await.source.quotes(&coins()).await.unwrap_err();
        assert!(error.is_failure(), "{source} cut off: {error:?}");
    }
}

#[tokio::test]
async fn an_error_that_coingecko_reports_with_status_200_is_one() {
    for (name, expected) in [
        ("429.json", CallError::RateLimited { retry_after: None }),
        ("wrong_key.json", CallError::Upstream { status: None, detail: "error code 10010".into() }),
    ] {
        let vendor = responder("coingecko", http("200 OK", "application/json", &fixture("coingecko", name))).await;
        assert_eq!(vendor.source.quotes(&coins()).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn requests_are_as_documented() {
    for (source, expected) in [
        (
            "coingecko",
            "GET /root/api/v3/simple/price?vs_currencies=usd&include_last_updated_at=true&include_24hr_change=true\
             &precision=full&ids=bitcoin%2Cshiba-inu HTTP/1.1\r\n",
        ),
        (
            "coinbase",
            "GET /root/api/v3/brokerage/market/products?product_ids=BTC-USD&product_ids=SHIB-USD HTTP/1.1\r\n",
        ),
        ("defillama", "GET /root/prices/current/coingecko:bitcoin,coingecko:shiba-inu HTTP/1.1\r\n"),
    ] {
        let vendor = responder(source, http("200 OK", "application/json", &fixture(source, "ok.json"))).await;
        vendor.source.quotes(&coins()).await.unwrap();
        let heads = vendor.heads.lock();
        assert_eq!(heads.len(), 1, "{source}");
        assert!(heads[0].starts_with(expected), "{source}: {}", heads[0]);
        assert!(!heads[0].contains("api-key"), "{source} sent a key that it does not have");
    }
}

#[tokio::test]
async fn coingecko_gets_its_key_in_the_header_of_its_plan() {
    type Set = fn(&mut MarketConfig);
    let demo: Set = |config| config.coingecko.demo_key = Some(Secret::from("CG-1"));
    let pro: Set = |config| config.coingecko.pro_key = Some(Secret::from("CG-1"));
    for (set, expected) in [(demo, "x-cg-demo-api-key: CG-1\r\n"), (pro, "x-cg-pro-api-key: CG-1\r\n")] {
        let answer = http("200 OK", "application/json", &fixture("coingecko", "ok.json"));
        let vendor = configured("coingecko", answer, set).await;
        vendor.source.quotes(&coins()).await.unwrap();
        assert!(vendor.heads.lock()[0].contains(expected));
    }
}

#[tokio::test]
async fn one_absurd_number_does_not_cost_the_batch() {
    let body = br#"{"bitcoin":{"usd":1e400},"shiba-inu":{"usd":0.1}}"#;
    let vendor = responder("coingecko", http("200 OK", "application/json", body)).await;
    let quotes = vendor.source.quotes(&coins()).await.unwrap();
    assert_eq!(quotes[&coins()[0].id].amount, None);
    assert_eq!(quotes[&coins()[1].id].amount, Some(Decimal::new(1, 1)));
}

#[tokio::test]
async fn coinbase_is_asked_for_what_it_lists_and_the_others_for_anything() {
    let catalogue = Catalogue::embedded();
    for (id, supported) in [("bitcoin", true), ("monero", false), ("no-such-coin", false)] {
        let coin = catalogue.coin(&AssetId::new(id).unwrap());
        for source in SOURCES {
            let vendor = responder(source, Vec::new()).await;
            assert_eq!(vendor.source.supports(&coin), supported || source != "coinbase", "{source} {id}");
        }
    }
}

#[tokio::test]
async fn a_disabled_source_is_not_built() {
    let config = |enabled| {
        let mut config = MarketConfig::defaults();
        config.coinbase.enabled = enabled;
        config
    };
    let resilience = ResilienceConfig::defaults();
    let clock = Clock::system();
    let outbound = Outbound::new(&resilience.outbound, clock.clone()).unwrap();
    let names = |enabled| -> Vec<&str> {
        let upstreams = Upstreams::new(clock.clone(), Chance::seeded(1), &resilience);
        build(&config(enabled), &upstreams, &outbound, &clock).iter().map(|source| source.adapter.name()).collect()
    };
    assert_eq!(names(true), SOURCES);
    assert_eq!(names(false), ["coingecko", "defillama"]);
}
