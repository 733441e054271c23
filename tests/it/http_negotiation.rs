//! What callers say they take and send, and what they get.

use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH},
};
use serde_json::json;

use crate::harness::{TYPENAME, TestApp, send};

const RESPONSE: &str = "application/graphql-response+json; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const GET_TYPENAME: &str = "/graphql?query=%7B%20__typename%20%7D";

#[tokio::test]
async fn the_accept_header_chooses_the_media_type() {
    let app = TestApp::start().await;
    for (accept, status, content_type) in [
        ("application/graphql-response+json", 200, RESPONSE),
        ("application/json", 200, JSON),
        ("*/*", 200, JSON),
        ("application/json;q=0.5, application/graphql-response+json;q=0.4", 200, JSON),
        ("text/html", 406, JSON),
    ] {
        for method in [Method::GET, Method::POST] {
            let mut request = app.anon().request(method.clone(), GET_TYPENAME).header(ACCEPT, accept);
            if method == Method::POST {
                let body = json!({"query": TYPENAME}).to_string();
                request = request.header(CONTENT_TYPE, "application/json").body(body);
            }
            let reply = send(request).await;
            assert_eq!((reply.status.as_u16(), reply.header("content-type")), (status, content_type), "{accept}");
            if status == 406 {
                reply.refused(406, "BAD_USER_INPUT");
            } else {
                assert!(reply.header("vary").contains("Accept"), "{accept}");
            }
        }
    }
}

#[tokio::test]
async fn only_json_in_utf8_is_taken() {
    let app = TestApp::start().await;
    let body = json!({"query": TYPENAME}).to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"] {
        let request = app.anon().request(Method::POST, "/graphql").header(CONTENT_TYPE, content_type);
        send(request.body(body.clone())).await.refused(415, "BAD_USER_INPUT");
    }
    send(app.anon().request(Method::POST, "/graphql").body(body)).await.refused(415, "BAD_USER_INPUT");
}

#[tokio::test]
async fn refusals_by_graphql_are_200_in_plain_json_only() {
    let app = TestApp::start().await;
    for (accept, status) in [("application/json", 200), ("application/graphql-response+json", 400)] {
        let request = app.anon().request(Method::POST, "/graphql").header(ACCEPT, accept);
        let request = request.header(CONTENT_TYPE, "application/json").body(json!({"query": "{"}).to_string());
        send(request).await.refused(status, "GRAPHQL_PARSE_FAILED");
    }
}

#[tokio::test]
async fn a_get_has_an_entity_tag_and_is_not_sent_twice() {
    let app = TestApp::start().await;
    let first = app.anon().get(GET_TYPENAME).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
    let again = send(app.anon().request(Method::GET, GET_TYPENAME).header(IF_NONE_MATCH, &tag)).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), tag);
    assert_eq!(again.header("cache-control"), first.header("cache-control"));
    let other = send(app.anon().request(Method::GET, GET_TYPENAME).header(IF_NONE_MATCH, "\"other\"")).await;
    assert_eq!(other.status.as_u16(), 200);
}

#[tokio::test]
async fn a_head_is_a_get_without_the_body() {
    let app = TestApp::start().await;
    let get = app.anon().get(GET_TYPENAME).await;
    let head = send(app.anon().request(Method::HEAD, GET_TYPENAME)).await;
    assert_eq!((head.status, head.text.as_str()), (get.status, ""));
    assert_eq!(head.header("etag"), get.header("etag"));
    assert_eq!(head.header("content-length"), get.text.len().to_string());
}
