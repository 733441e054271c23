//! What is served beside GraphQL, and what every answer carries.

use reqwest::{Method, header::ORIGIN};
use serde_json::json;

use crate::harness::{TYPENAME, TestApp, send};

#[tokio::test]
async fn machines_are_told_how_the_server_is() {
    let app = TestApp::start().await;
    let health = app.anon().get("/health").await;
    assert_eq!((health.status.as_u16(), health.json()), (200, json!({"status": "ok"})));
    let ready = app.anon().get("/ready").await;
    assert_eq!((ready.status.as_u16(), ready.json()["status"].as_str()), (200, Some("ready")));
    let metrics = app.anon().get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text.contains("tidegate_"), "{}", metrics.text);
}

#[tokio::test]
async fn graphiql_brings_everything_it_needs() {
    let app = TestApp::start().await;
    let page = app.anon().get("/graphiql").await;
    // 503 is the page that says how to build it, where it was not.
    assert!(matches!(page.status.as_u16(), 200 | 503), "{}", page.status);
    assert!(page.header("content-type").starts_with("text/html"));
    let settings = app.anon().get("/graphiql/settings.json").await;
    assert_eq!(settings.header("cache-control"), "no-store");
    let settings = settings.json();
    assert_eq!((&settings["endpoint"], &settings["subscriptionUrl"]), (&json!("/graphql"), &json!("/graphql")));
    assert!(settings["tokens"][0]["label"].is_string() && settings["tokens"][0]["token"].is_string(), "{settings}");
    for path in ["/graphiql/assets/none.js", "/graphiql/../Cargo.toml", "/graphiql/%2e%2e/%2e%2e/Cargo.toml"] {
        assert_eq!(app.anon().get(path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn graphiql_is_absent_where_it_is_off() {
    let app = TestApp::builder().config(|config| config.http.graphiql = false).start().await;
    for path in ["/", "/graphiql", "/graphiql/settings.json", "/nowhere"] {
        app.anon().get(path).await.refused(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let app = TestApp::start().await;
    for path in ["/health", "/graphql", "/graphiql", "/nowhere"] {
        let reply = app.anon().get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert!(reply.header("content-security-policy").contains("default-src"), "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn other_origins_are_let_in_by_name_only() {
    let listed = "https://app.example.com";
    let app = TestApp::builder().config(|config| config.http.allowed_origins = vec![listed.into()]).start().await;
    for (origin, allowed) in [(listed, listed), ("https://evil.example", "")] {
        let preflight = app.anon().request(Method::OPTIONS, "/graphql").header(ORIGIN, origin);
        let preflight = preflight
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,authorization");
        let preflight = send(preflight).await;
        assert_eq!(preflight.header("access-control-allow-origin"), allowed, "{origin}");
        let answer = send(app.anon().request(Method::GET, "/health").header(ORIGIN, origin)).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
    let sockets = [(listed, None), ("https://evil.example", Some(403))];
    for (origin, refused) in sockets {
        let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("origin", origin)];
        assert_eq!(app.anon().dial_with(&headers).await.err(), refused, "{origin}");
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_open_a_socket_by_default() {
    let app = TestApp::start().await;
    let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
    let own = format!("http://{}", app.address);
    assert!(app.anon().dial_with(&[protocol, ("origin", &own)]).await.is_ok());
    assert_eq!(app.anon().dial_with(&[protocol, ("origin", "https://evil.example")]).await.err(), Some(403));
    assert_eq!(app.anon().query(TYPENAME).await.header("access-control-allow-origin"), "");
}
