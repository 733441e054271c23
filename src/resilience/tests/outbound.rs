//! The outbound client against a server that misbehaves.

use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use http::{HeaderMap, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::{
    config::{OutboundConfig, ResilienceConfig},
    model::Clock,
    resilience::{CallError, Outbound, Reply},
};

const KEY: &str = "CG-0123456789abcdef";

fn config() -> OutboundConfig {
    OutboundConfig { allow_private_addresses: true, max_body_bytes: 1_000, ..ResilienceConfig::defaults().outbound }
}

fn outbound(config: &OutboundConfig) -> Outbound {
    Outbound::new(config, Clock::stepped_from(DateTime::from_timestamp_secs(1_800_000_000).unwrap())).unwrap()
}

/// What the server does with a connection after it has read a request's head.
#[derive(Clone, Copy)]
enum Act {
    Say(&'static [u8]),
    Hang,
    Reset,
    /// Repeats the request's head as the body of a 400.
    Echo,
}

/// A server that acts the same way on every connection. Returns a URL on it, with a key in its query.
async fn server(act: Act) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/price?ids=bitcoin&key={KEY}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(perform(act, stream));
        }
    });
    Url::parse(&url).unwrap()
}

async fn perform(act: Act, mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    match act {
        Act::Say(bytes) => drop(stream.write_all(bytes).await),
        Act::Hang => std::future::pending().await,
        Act::Reset => stream.set_zero_linger().unwrap(),
        Act::Echo => {
            let start = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n", head.len());
            let _ = stream.write_all(start.as_bytes()).await;
            let _ = stream.write_all(&head).await;
        }
    }
}

async fn get(act: Act) -> Result<Reply, CallError> {
    outbound(&config()).get(server(act).await, HeaderMap::new()).await
}

#[tokio::test]
async fn an_answer_is_read_whole() {
    let reply = get(Act::Say(
        b"HTTP/1.1 200 OK\r\nx-ratelimit-remaining: 7\r\nx-ratelimit-reset: 60\r\ncontent-length: 13\r\n\r\n{\"price\":\"1\"}",
    ));
    let reply = reply.await.unwrap();
    let json: serde_json::Value = reply.json().unwrap();
    assert_eq!((reply.status, &json["price"]), (200, &serde_json::json!("1")));
    let hint = reply.rate_hint(DateTime::UNIX_EPOCH).unwrap();
    assert_eq!((hint.remaining, hint.resets_in), (7, Duration::from_mins(1)));
}

#[tokio::test]
async fn a_429_is_a_rate_limit_whatever_its_body() {
    for (answer, seconds) in [
        (&b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 42\r\ncontent-length: 2\r\n\r\n{}"[..], Some(42)),
        (
            b"HTTP/1.1 429 x\r\nretry-after: Fri, 15 Jan 2027 08:00:30 GMT\r\ncontent-type: text/html\r\n\r\n<html>",
            Some(30),
        ),
        (b"HTTP/1.1 429 x\r\ncontent-type: text/html\r\ncontent-length: 20\r\n\r\n<html>slow down</ht", None),
    ] {
        let error = get(Act::Say(answer)).await.unwrap_err();
        let CallError::RateLimited { retry_after } = error else { panic!("{error:?}") };
        let expected = seconds.map(Duration::from_secs);
        // The wait until a date shrinks while the test runs.
        let shortest = expected.map(|wait| wait.saturating_sub(Duration::from_secs(20)));
        assert!(retry_after <= expected && retry_after >= shortest, "{retry_after:?} instead of {expected:?}");
    }
}

#[tokio::test]
async fn another_status_is_told_with_the_beginning_of_its_body() {
    for (answer, code, detail) in [
        (&b"HTTP/1.1 503 x\r\ncontent-length: 20\r\n\r\n<html>\n no\x07 </html>."[..], 503, "<html> no </html>."),
        (b"HTTP/1.1 500 x\r\ncontent-length: 900\r\n\r\nbroken off", 500, "broken off"),
        (b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n", 404, ""),
        (b"HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 302, ""),
    ] {
        let expected = CallError::Upstream { status: Some(code), detail: detail.into() };
        assert_eq!(get(Act::Say(answer)).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn garbage_is_an_error_that_counts() {
    let not_json = get(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>")).await.unwrap();
    let error = not_json.json::<serde_json::Value>().unwrap_err();
    assert!(matches!(error, CallError::Decode { .. }), "{error:?}");
    let not_gzip = get(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nplain")).await;
    assert!(matches!(not_gzip, Err(CallError::Decode { .. })), "{not_gzip:?}");
    let not_http = get(Act::Say(b"SSH-2.0-OpenSSH_9.2\r\n")).await;
    assert!(matches!(not_http, Err(CallError::Upstream { status: None, .. })), "{not_http:?}");
    let broken_off = get(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"price\":")).await.unwrap_err();
    assert!(broken_off.is_failure(), "{broken_off:?}");
}

#[tokio::test]
async fn a_body_is_cut_off_at_its_limit_whether_or_not_it_names_its_length() {
    let expected = CallError::Decode { detail: "the body is larger than 1000 bytes".into() };
    let named = get(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n")).await;
    assert_eq!(named.unwrap_err(), expected, "refused before it is read");
    let mut streamed = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    streamed.resize(100_000, b'x');
    assert_eq!(get(Act::Say(streamed.leak())).await.unwrap_err(), expected);
    let exact = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_000));
    assert_eq!(get(Act::Say(exact.leak().as_bytes())).await.unwrap().body.len(), 1_000);
}

#[tokio::test]
async fn a_hang_times_out() {
    let config = OutboundConfig { request_timeout_ms: 50, ..config() };
    let result = outbound(&config).get(server(Act::Hang).await, HeaderMap::new()).await;
    assert_eq!(result.unwrap_err(), CallError::Timeout);
}

#[tokio::test]
async fn no_error_repeats_a_key() {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static(KEY));
    let refused = Url::parse(&format!("http://127.0.0.1:1/?key={KEY}")).unwrap();
    let garbage = Act::Say(b"HTTP/1.1 2000 OK\r\n\r\n");
    for url in [server(Act::Reset).await, server(Act::Echo).await, server(garbage).await, refused] {
        let error = outbound(&config()).get(url.clone(), headers.clone()).await.unwrap_err();
        assert!(matches!(error, CallError::Upstream { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains(KEY) && !text.contains("ids=bitcoin"), "{text}");
    }
}

#[tokio::test]
async fn only_allowed_addresses_and_schemes_are_called() {
    let url = server(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let mut by_name = url.clone();
    by_name.set_host(Some("localhost")).unwrap();
    let strict = outbound(&OutboundConfig { allow_private_addresses: false, ..config() });
    let expected = CallError::Upstream { status: None, detail: "the address is not allowed".into() };
    for url in [url, by_name.clone()] {
        assert_eq!(strict.get(url, HeaderMap::new()).await.unwrap_err(), expected);
    }
    assert!(outbound(&config()).get(by_name, HeaderMap::new()).await.is_ok());
    let file = strict.get(Url::parse("file:///etc/passwd").unwrap(), HeaderMap::new()).await.unwrap_err();
    assert_eq!(file, CallError::Upstream { status: None, detail: "only http and https are called".into() });
}

#[tokio::test]
async fn redirects_stay_with_the_host_and_end() {
    let config = OutboundConfig { max_redirects: 2, ..config() };
    let found = |location: &str| -> Act {
        let answer =
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        Act::Say(answer.leak().as_bytes())
    };
    let other = server(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let stopped = CallError::Upstream { status: Some(302), detail: "".into() };
    for location in [other.as_str(), "/again", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"] {
        let result = outbound(&config).get(server(found(location)).await, HeaderMap::new()).await;
        assert_eq!(result.unwrap_err(), stopped, "{location}");
    }
}

#[tokio::test]
async fn a_post_carries_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{\"a\":1}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let reply = outbound(&config()).post(url, headers, Bytes::from_static(b"{\"a\":1}")).await.unwrap();
    let request = served.await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (201, &b"ok"[..]));
    assert!(request.starts_with("POST / HTTP/1.1") && request.contains("user-agent: tidegate"), "{request}");
    assert!(
        request.contains("content-type: application/json") && request.contains("accept-encoding: gzip"),
        "{request}"
    );
}
