//! Who may run what, how often, and how large it may be.

use serde_json::{Value, json};

use crate::harness::{Reply, TestApp};

const UPSTREAMS: &str = "{ upstreams { name state } }";

fn paths(reply: &Reply) -> Vec<Value> {
    reply.json()["errors"].as_array().unwrap().iter().map(|error| error["path"].clone()).collect()
}

#[tokio::test]
async fn roles_are_checked_before_anything_executes() {
    let app = TestApp::start().await;
    for (actor, document, status, code) in [
        (app.anon(), UPSTREAMS, 401, Some("UNAUTHENTICATED")),
        (app.alice(), UPSTREAMS, 403, Some("FORBIDDEN")),
        (app.admin(), UPSTREAMS, 200, None),
        (app.alice(), "{ price(coin: \"bitcoin\") { coin } upstreams { name } }", 403, Some("FORBIDDEN")),
        (app.anon(), "{ ...F } fragment F on Query { hidden: upstreams { name } }", 401, Some("UNAUTHENTICATED")),
        (app.anon(), "{ upstreams @skip(if: true) { name } __typename }", 200, None),
        (
            app.alice(),
            "mutation { upstreamReset(input: {name: \"coingecko\"}) { upstream { name } } }",
            403,
            Some("FORBIDDEN"),
        ),
    ] {
        let reply = actor.query(document).await;
        assert_eq!(reply.status.as_u16(), status, "{document}: {}", reply.text);
        match code {
            Some(code) => drop(reply.refused(status, code)),
            None => assert_eq!(reply.json().get("errors"), None, "{document}"),
        }
    }
    let reply = app.anon().query("{ a: upstreams { name } b: upstreams { name } }").await;
    assert_eq!(paths(&reply), [json!(["a"]), json!(["b"])], "each refused field by its path");
    assert_eq!(app.stand_ins.calls(tidegate::sandbox::Vendor::CoinGecko), 0, "nothing executed");
}

#[tokio::test]
async fn variables_decide_which_fields_demand_a_role() {
    let app = TestApp::start().await;
    let document = "query($all: Boolean!) { __typename upstreams @include(if: $all) { name } }";
    for (all, status) in [(false, 200), (true, 401)] {
        let reply = app.anon().post(&json!({"query": document, "variables": {"all": all}})).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
    }
}

/// What admission takes for left out must not execute, and nothing but a boolean leaves anything out.
#[tokio::test]
async fn conditions_are_no_way_around_roles_and_limits() {
    let app = TestApp::start().await;
    let secret = "upstreams @skip(if: $s) { name }";
    let forced = "upstreamForceOpen(input: {name: \"coinbase\"}) @skip(if: $s) { upstream { forced } }";
    for (document, value) in [
        (format!("query($s: String!) {{ {secret} }}"), json!("true")),
        (format!("query($s: Boolean) {{ {secret} }}"), Value::Null),
        (format!("query($s: Boolean = true) {{ {secret} }}"), Value::Null),
        (format!("query($s: Boolean = null) {{ {secret} }}"), json!(true)),
        (format!("query($s: Int!) {{ {secret} }}"), json!(1)),
        (format!("query($s: [Boolean!]!) {{ {secret} }}"), json!([true])),
        (format!("query($s: UpstreamInput!) {{ {secret} }}"), json!({"name": "x"})),
        ("query($s: String!) { ...F @skip(if: $s) } fragment F on Query { upstreams { name } }".into(), json!("")),
        (format!("mutation($s: String!) {{ {forced} }}"), json!("true")),
        ("query($s: String!) { cryptoPrices(coins: [\"bitcoin\"]) @skip(if: $s) { coin } }".into(), json!("true")),
    ] {
        let reply = app.anon().post(&json!({"query": document, "variables": {"s": value}})).await;
        assert_eq!(reply.status.as_u16(), 400, "{document}: {}", reply.text);
        assert!(reply.json().get("data").is_none(), "{document}: {}", reply.text);
    }
    // Left out means left out, also where another selection of the same field stays.
    let both = "query($s: Boolean!) { a: __typename upstreams @skip(if: $s) { name } }";
    for (value, status) in [(true, 200), (false, 401)] {
        let reply = app.anon().post(&json!({"query": both, "variables": {"s": value}})).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
    }
    let json = app.admin().query("{ upstreams { name forced } }").await.json();
    assert!(
        json["data"]["upstreams"].as_array().unwrap().iter().all(|upstream| upstream["forced"].is_null()),
        "{json}"
    );
}

#[tokio::test]
async fn one_callers_bad_document_is_not_anothers_verdict() {
    let app = TestApp::start().await;
    let (good, name) = ("query A { __typename }", "A");
    app.anon().query(&format!("{good}\0{name}")).await.refused(400, "GRAPHQL_PARSE_FAILED");
    let reply = app.anon().post(&json!({"query": good, "operationName": name})).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
}

#[tokio::test]
async fn a_limit_counts_aliases_and_says_when_to_come_back() {
    let app = TestApp::start().await;
    let aliases: String = (0..30).map(|at| format!("a{at}: cryptoPrices(coins: [\"bitcoin\"]) {{ coin }} ")).collect();
    let document = format!("{{ {aliases} }}");
    for left in [70, 40, 10] {
        let reply = app.alice().query(&document).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        assert_eq!(reply.header("ratelimit-policy"), "\"Query.cryptoPrices\";q=100;w=60");
        assert!(reply.header("ratelimit").starts_with(&format!("\"Query.cryptoPrices\";r={left};t=")), "{reply:?}");
    }
    let reply = app.alice().query(&document).await;
    let message = reply.refused(429, "RATE_LIMITED");
    assert!(message.contains("Query.cryptoPrices allows 100"), "{message}");
    let json = reply.json();
    let wait = json["errors"][0]["extensions"]["retryAfterMs"].as_u64().unwrap();
    assert!((1..=12_000).contains(&wait), "20 tokens come back in 12 s: {wait}");
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert_eq!(seconds, wait.div_ceil(1_000), "whole seconds, rounded up");
    // Whoever is not alice has a full account, and so has a smaller wish of hers.
    assert_eq!(app.anon().query(&document).await.status.as_u16(), 200);
    assert_eq!(app.alice().query("{ cryptoPrices(coins: [\"bitcoin\"]) { coin } }").await.status.as_u16(), 200);
}

#[tokio::test]
async fn operations_that_are_too_large_are_refused_by_name() {
    use std::fmt::Write as _;
    let app = TestApp::start().await;
    let mut bomb = String::from("{...F0}");
    for level in 0..22 {
        write!(bomb, " fragment F{level} on Query{{...F{0} ...F{0}}}", level + 1).unwrap();
    }
    bomb.push_str(" fragment F22 on Query{price(coin:\"bitcoin\"){amount}}");
    let aliases: String = (0..10_000).map(|at| format!("a{at}:__typename ")).collect();
    let deep = "__schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } }";
    for (document, code) in [
        (bomb, "OPERATION_TOO_COMPLEX"),
        (format!("{{ {aliases} }}"), "OPERATION_TOO_COMPLEX"),
        (format!("{}a{}", "{a".repeat(200), "}".repeat(200)), "OPERATION_TOO_COMPLEX"),
        (format!("{{ {} }}", "x".repeat(70_000)), "OPERATION_TOO_COMPLEX"),
        (format!("{{ {deep} }}"), "OPERATION_TOO_COMPLEX"),
        ("{ ...A } fragment A on Query { ...A }".into(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ nothing }".into(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ price(coin: 5) { coin } }".into(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ price(coin: \"bitcoin\") }".into(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ price(coin: \"bitcoin\" { coin } }".into(), "GRAPHQL_PARSE_FAILED"),
    ] {
        let reply = app.anon().query(&document).await;
        // Twice: the second answer comes from the kept verdict.
        let again = app.anon().query(&document).await;
        let (first, second) = (reply.refused(400, code), again.refused(400, code));
        assert_eq!(first, second);
        assert!(first.lines().count() == 1 && first.len() < 300, "{first}");
    }
}

#[tokio::test]
async fn variables_are_checked_on_a_kept_plan_as_on_a_fresh_one() {
    let app = TestApp::start().await;
    let document = "query($coins: [String!]!) { cryptoPrices(coins: $coins) { coin } }";
    for (variables, status) in [
        (json!({"coins": ["bitcoin"]}), 200),
        (json!({}), 400),
        (json!({"coins": null}), 400),
        (json!({"coins": [1]}), 400),
        (json!({"coins": "ethereum"}), 200),
    ] {
        let reply = app.anon().post(&json!({"query": document, "variables": variables})).await;
        assert_eq!(reply.status.as_u16(), status, "{variables}: {}", reply.text);
        if status == 400 {
            let message = reply.refused(400, "BAD_USER_INPUT");
            assert!(message.starts_with("Variable \"$coins\""), "{message}");
        }
    }
}

#[tokio::test]
async fn introspection_is_the_operators_choice() {
    let document = "{ __schema { queryType { name } } }";
    let open = TestApp::start().await;
    let json = open.anon().query(document).await.json();
    assert_eq!(json["data"]["__schema"]["queryType"]["name"], "Query", "{json}");
    let closed = TestApp::builder().config(|config| config.graphql.introspection = false).start().await;
    closed.anon().query(document).await.refused(400, "GRAPHQL_VALIDATION_FAILED");
    let hint = closed.anon().query("{ prise(coin: \"bitcoin\") { coin } }").await;
    let message = hint.refused(400, "GRAPHQL_VALIDATION_FAILED");
    assert!(!message.contains("Did you mean"), "{message}");
}
