//! What is kept of an answer, for how long, and what clients and proxies are told about it.

use futures_util::future::join_all;
use reqwest::{Method, header::IF_NONE_MATCH};
use serde_json::json;
use tidegate::sandbox::Vendor;

use crate::harness::{TestApp, send};

const PRICE: &str = "{ cryptoPrices(coins: [\"bitcoin\"]) { amount stale } }";

#[tokio::test]
async fn an_answer_is_kept_as_long_as_its_shortest_field_allows() {
    let app = TestApp::start().await;
    for (document, kept) in [
        (PRICE, true),
        ("query Named { cryptoPrices(coins: [\"ethereum\"]) { amount } }", true),
        ("{ cryptoPrices(coins: [\"bitcoin\"]) { amount ageMs } }", false),
        ("{ cryptoPrices(coins: [\"bitcoin\"]) { amount } __schema { queryType { name } } }", false),
        ("{ good: price(coin: \"bitcoin\") { coin } bad: price(coin: \"no-such-coin-anywhere\") { coin } }", false),
    ] {
        let (first, second) = (app.anon().query(document).await, app.anon().query(document).await);
        for reply in [&first, &second] {
            let control = reply.header("cache-control");
            if kept {
                let age = control.strip_prefix("max-age=").and_then(|rest| rest.strip_suffix(", public"));
                let age: u32 = age.unwrap_or_else(|| panic!("{document}: {control}")).parse().unwrap();
                assert!((1..=10).contains(&age), "{document}: {control}");
            } else {
                assert_eq!(control, "no-store", "{document}");
            }
        }
        assert_eq!((first.header("age"), !second.header("age").is_empty()), ("", kept), "{document}");
    }
}

#[tokio::test]
async fn layout_does_not_make_another_answer_but_variables_do() {
    let app = TestApp::start().await;
    let ask = |query: &str, coin: &str| json!({"query": query, "variables": {"coin": coin}});
    let document = "query($coin: String!) { price(coin: $coin) { coin amount } }";
    let spread = "query ($coin: String!)\n{ # the same\n  price(coin: $coin) { coin, amount }\n}";
    let anon = app.anon();
    anon.post(&ask(document, "bitcoin")).await;
    assert_ne!(anon.post(&ask(spread, "bitcoin")).await.header("age"), "");
    let other = anon.post(&ask(document, "ethereum")).await;
    assert_eq!((other.header("age"), &other.json()["data"]["price"]["coin"]), ("", &json!("ethereum")));
}

#[tokio::test]
async fn a_kept_answer_costs_tokens_like_a_fresh_one() {
    let app = TestApp::start().await;
    for left in [99, 98, 97] {
        let reply = app.anon().query(PRICE).await;
        assert!(reply.header("ratelimit").starts_with(&format!("\"Query.cryptoPrices\";r={left};")), "{reply:?}");
    }
}

#[tokio::test]
async fn identical_queries_that_arrive_together_execute_once() {
    let app = TestApp::start().await;
    let anon = app.anon();
    let replies = join_all((0..32).map(|_| anon.query(PRICE))).await;
    let data = replies[0].json()["data"].clone();
    assert!(replies.iter().all(|reply| reply.json()["data"] == data));
    assert_eq!(app.stand_ins.calls(Vendor::CoinGecko), 1);
}

#[tokio::test]
async fn a_get_can_be_revalidated() {
    let app = TestApp::start().await;
    let path = "/graphql?query=%7B__typename%7D";
    let first = app.anon().get(path).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 10, "{first:?}");
    let again = send(app.anon().request(Method::GET, path).header(IF_NONE_MATCH, &tag)).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
}

#[tokio::test]
async fn a_persisted_query_is_sent_once() {
    let app = TestApp::start().await;
    let sha = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38";
    let extensions = json!({"persistedQuery": {"version": 1, "sha256Hash": sha}});
    let by_hash = json!({"extensions": extensions});
    app.anon().post(&by_hash).await.refused(200, "PERSISTED_QUERY_NOT_FOUND");
    let registered = app.anon().post(&json!({"query": "{__typename}", "extensions": extensions})).await;
    assert_eq!(registered.json(), json!({"data": {"__typename": "Query"}}));
    assert_eq!(app.anon().post(&by_hash).await.json(), json!({"data": {"__typename": "Query"}}));
    let wrong = json!({"query": "{ __typename }", "extensions": extensions});
    app.anon().post(&wrong).await.refused(400, "BAD_USER_INPUT");
}
